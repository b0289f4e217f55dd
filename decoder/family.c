/* The list of families, and what they have in common. */
#include "decoder/family.h"

#include <stdio.h>
#include <string.h>

#define WEFT_FAMILY(stem) extern const weft_family weft_family_##stem;
#include "weft_families.def"
#undef WEFT_FAMILY

#define WEFT_FAMILY(stem) &weft_family_##stem,
static const weft_family *const families[] = {
#include "weft_families.def"
    NULL};
#undef WEFT_FAMILY

const weft_family *weft_family_find(weft_text name) {
    for (size_t i = 0; families[i]; i++)
        if (strlen(families[i]->name) == name.size && memcmp(families[i]->name, name.bytes, name.size) == 0) return families[i];
    return NULL;
}

void weft_family_names(char *text, size_t size) {
    size_t n = 0;
    if (size > 0) text[0] = 0;
    for (size_t i = 0; families[i] && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? ", " : "", families[i]->name);
}

#define VECTOR .n = {.one = 1}

const weft_family_part weft_part_usual[WEFT_PART_COUNT] = {
    [WEFT_PART_ATTN_NORM] = {WEFT_REQUIRED, "attn_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_ATTN_NORM_BIAS] = {WEFT_ABSENT, "attn_norm.bias", {.embd = 1}, VECTOR},
    [WEFT_PART_Q] = {WEFT_REQUIRED, "attn_q.weight", {.embd = 1}, {.q = 1}},
    [WEFT_PART_K] = {WEFT_REQUIRED, "attn_k.weight", {.embd = 1}, {.kv = 1}},
    [WEFT_PART_V] = {WEFT_REQUIRED, "attn_v.weight", {.embd = 1}, {.kv = 1}},
    [WEFT_PART_Q_BIAS] = {WEFT_OPTIONAL, "attn_q.bias", {.q = 1}, VECTOR},
    [WEFT_PART_K_BIAS] = {WEFT_OPTIONAL, "attn_k.bias", {.kv = 1}, VECTOR},
    [WEFT_PART_V_BIAS] = {WEFT_OPTIONAL, "attn_v.bias", {.kv = 1}, VECTOR},
    [WEFT_PART_Q_NORM] = {WEFT_ABSENT, "attn_q_norm.weight", {.head = 1}, VECTOR},
    [WEFT_PART_K_NORM] = {WEFT_ABSENT, "attn_k_norm.weight", {.head = 1}, VECTOR},
    [WEFT_PART_ATTN_OUTPUT] = {WEFT_REQUIRED, "attn_output.weight", {.q = 1}, {.embd = 1}},
    [WEFT_PART_ATTN_OUTPUT_BIAS] = {WEFT_OPTIONAL, "attn_output.bias", {.embd = 1}, VECTOR},
    [WEFT_PART_ATTN_POST_NORM] = {WEFT_ABSENT, "post_attention_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_FFN_NORM] = {WEFT_REQUIRED, "ffn_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_FFN_NORM_BIAS] = {WEFT_ABSENT, "ffn_norm.bias", {.embd = 1}, VECTOR},
    [WEFT_PART_GATE] = {WEFT_REQUIRED, "ffn_gate.weight", {.embd = 1}, {.ff = 1}},
    [WEFT_PART_GATE_BIAS] = {WEFT_OPTIONAL, "ffn_gate.bias", {.ff = 1}, VECTOR},
    [WEFT_PART_UP] = {WEFT_REQUIRED, "ffn_up.weight", {.embd = 1}, {.ff = 1}},
    [WEFT_PART_UP_BIAS] = {WEFT_OPTIONAL, "ffn_up.bias", {.ff = 1}, VECTOR},
    [WEFT_PART_DOWN] = {WEFT_REQUIRED, "ffn_down.weight", {.ff = 1}, {.embd = 1}},
    [WEFT_PART_DOWN_BIAS] = {WEFT_OPTIONAL, "ffn_down.bias", {.embd = 1}, VECTOR},
    [WEFT_PART_FFN_POST_NORM] = {WEFT_ABSENT, "post_ffw_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_EMBEDDING] = {WEFT_REQUIRED, "token_embd.weight", {.embd = 1}, {.vocab = 1}},
    [WEFT_PART_OUTPUT_NORM] = {WEFT_REQUIRED, "output_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_OUTPUT_NORM_BIAS] = {WEFT_ABSENT, "output_norm.bias", {.embd = 1}, VECTOR},
    [WEFT_PART_OUTPUT] = {WEFT_OPTIONAL, "output.weight", {.embd = 1}, {.vocab = 1}},
};

int64_t weft_extent_of(weft_extent extent, const weft_hyperparameters *hyper) {
    const int64_t head = hyper->head_dim;
    return extent.one + (int64_t)extent.embd * hyper->n_embd + (int64_t)extent.ff * hyper->n_ff + extent.head * head +
           (int64_t)extent.vocab * hyper->n_vocab + extent.q * head * hyper->n_heads + extent.kv * head * hyper->n_kv_heads;
}

static bool is_given(weft_extent extent) {
    return memcmp(&extent, &(weft_extent){0}, sizeof extent) != 0;
}

bool weft_part_find(const weft_family *family, const weft_hyperparameters *hyper, weft_model_part part, weft_part_place *place) {
    const weft_family_part *own = &family->parts[part], *usual = &weft_part_usual[part];
    const weft_presence presence = own->presence == WEFT_AS_USUAL ? usual->presence : own->presence;
    if (presence == WEFT_ABSENT) return false;
    *place = (weft_part_place){
        .stem = own->stem ? own->stem : usual->stem, .optional = presence != WEFT_REQUIRED, .common = presence == WEFT_COMMON};
    place->whole_k = place->k = weft_extent_of(is_given(own->k) ? own->k : usual->k, hyper);
    place->whole_n = place->n = weft_extent_of(is_given(own->n) ? own->n : usual->n, hyper);
    place->sliced = is_given(own->whole);
    if (!place->sliced) return true;
    bool is_vector = place->n == 1;
    *(is_vector ? &place->whole_k : &place->whole_n) = weft_extent_of(own->whole, hyper);
    *(is_vector ? &place->first_k : &place->first_n) = weft_extent_of(own->first, hyper);
    return true;
}

weft_layer_traits weft_family_layer(const weft_family *family, const weft_hyperparameters *hyper, int32_t layer) {
    return family->layer ? family->layer(hyper, layer) : (weft_layer_traits){0};
}

static bool has_window_in(const weft_hyperparameters *hyper, int32_t layer) {
    return hyper->n_window > 0 && (hyper->window_period == 0 || layer % hyper->window_period < hyper->window_period - 1);
}

weft_layer_traits weft_layer_windowed(const weft_hyperparameters *hyper, int32_t layer) {
    return (weft_layer_traits){.window = has_window_in(hyper, layer) ? hyper->n_window : 0};
}

weft_layer_traits weft_layer_windowed_local(const weft_hyperparameters *hyper, int32_t layer) {
    const bool has_window = has_window_in(hyper, layer);
    return (weft_layer_traits){.rope = has_window ? WEFT_LAYER_ROPE_LOCAL : WEFT_LAYER_ROPE,
                               .window = has_window ? hyper->n_window : 0};
}
