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
#define EXPERTS .matrices = {.experts = 1}, .scope = WEFT_OF_ROUTED

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
    [WEFT_PART_GATE] = {WEFT_REQUIRED, "ffn_gate.weight", {.embd = 1}, {.ff = 1}, .scope = WEFT_OF_PLAIN},
    [WEFT_PART_GATE_BIAS] = {WEFT_OPTIONAL, "ffn_gate.bias", {.ff = 1}, VECTOR, .scope = WEFT_OF_PLAIN},
    [WEFT_PART_UP] = {WEFT_REQUIRED, "ffn_up.weight", {.embd = 1}, {.ff = 1}, .scope = WEFT_OF_PLAIN},
    [WEFT_PART_UP_BIAS] = {WEFT_OPTIONAL, "ffn_up.bias", {.ff = 1}, VECTOR, .scope = WEFT_OF_PLAIN},
    [WEFT_PART_DOWN] = {WEFT_REQUIRED, "ffn_down.weight", {.ff = 1}, {.embd = 1}, .scope = WEFT_OF_PLAIN},
    [WEFT_PART_DOWN_BIAS] = {WEFT_OPTIONAL, "ffn_down.bias", {.embd = 1}, VECTOR, .scope = WEFT_OF_PLAIN},
    [WEFT_PART_ROUTER] = {WEFT_REQUIRED, "ffn_gate_inp.weight", {.embd = 1}, {.experts = 1}, .scope = WEFT_OF_ROUTED},
    [WEFT_PART_GATE_EXPERTS] = {WEFT_REQUIRED, "ffn_gate_exps.weight", {.embd = 1}, {.ff_expert = 1}, EXPERTS},
    [WEFT_PART_UP_EXPERTS] = {WEFT_REQUIRED, "ffn_up_exps.weight", {.embd = 1}, {.ff_expert = 1}, EXPERTS},
    [WEFT_PART_DOWN_EXPERTS] = {WEFT_REQUIRED, "ffn_down_exps.weight", {.ff_expert = 1}, {.embd = 1}, EXPERTS},
    [WEFT_PART_SHARED_ROUTER] = {WEFT_ABSENT, "ffn_gate_inp_shexp.weight", {.embd = 1}, VECTOR, .scope = WEFT_OF_SHARED},
    [WEFT_PART_SHARED_GATE] = {WEFT_REQUIRED, "ffn_gate_shexp.weight", {.embd = 1}, {.ff_shared = 1}, .scope = WEFT_OF_SHARED},
    [WEFT_PART_SHARED_UP] = {WEFT_REQUIRED, "ffn_up_shexp.weight", {.embd = 1}, {.ff_shared = 1}, .scope = WEFT_OF_SHARED},
    [WEFT_PART_SHARED_DOWN] = {WEFT_REQUIRED, "ffn_down_shexp.weight", {.ff_shared = 1}, {.embd = 1}, .scope = WEFT_OF_SHARED},
    [WEFT_PART_FFN_POST_NORM] = {WEFT_ABSENT, "post_ffw_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_EMBEDDING] = {WEFT_REQUIRED, "token_embd.weight", {.embd = 1}, {.vocab = 1}},
    [WEFT_PART_OUTPUT_NORM] = {WEFT_REQUIRED, "output_norm.weight", {.embd = 1}, VECTOR},
    [WEFT_PART_OUTPUT_NORM_BIAS] = {WEFT_ABSENT, "output_norm.bias", {.embd = 1}, VECTOR},
    [WEFT_PART_OUTPUT] = {WEFT_OPTIONAL, "output.weight", {.embd = 1}, {.vocab = 1}},
};

int64_t weft_extent_of(weft_extent extent, const weft_hyperparameters *hyper) {
    const int64_t head = hyper->head_dim;
    return extent.one + (int64_t)extent.embd * hyper->n_embd + (int64_t)extent.ff * hyper->n_ff + extent.head * head +
           (int64_t)extent.vocab * hyper->n_vocab + (int64_t)extent.experts * hyper->n_experts +
           (int64_t)extent.ff_expert * hyper->n_ff_expert + (int64_t)extent.ff_shared * hyper->n_ff_shared +
           extent.q * head * hyper->n_heads + extent.kv * head * hyper->n_kv_heads;
}

static bool is_given(weft_extent extent) {
    return memcmp(&extent, &(weft_extent){0}, sizeof extent) != 0;
}

static bool is_in_scope(weft_part_scope scope, const weft_hyperparameters *hyper) {
    return scope == WEFT_OF_ALL || (scope == WEFT_OF_PLAIN && hyper->n_experts == 0) ||
           (scope == WEFT_OF_ROUTED && hyper->n_experts > 0) || (scope == WEFT_OF_SHARED && hyper->n_ff_shared > 0);
}

bool weft_part_find(const weft_family *family, const weft_hyperparameters *hyper, weft_model_part part, weft_part_place *place) {
    const weft_family_part *own = &family->parts[part], *usual = &weft_part_usual[part];
    const weft_presence presence = own->presence == WEFT_AS_USUAL ? usual->presence : own->presence;
    if (presence == WEFT_ABSENT || !is_in_scope(usual->scope, hyper)) return false;
    *place = (weft_part_place){
        .stem = own->stem ? own->stem : usual->stem, .optional = presence != WEFT_REQUIRED, .common = presence == WEFT_COMMON};
    place->whole_k = place->k = weft_extent_of(is_given(own->k) ? own->k : usual->k, hyper);
    place->whole_n = place->n = weft_extent_of(is_given(own->n) ? own->n : usual->n, hyper);
    const weft_extent matrices = is_given(own->matrices) ? own->matrices : usual->matrices;
    place->n_matrices = is_given(matrices) ? weft_extent_of(matrices, hyper) : 1;
    place->sliced = is_given(own->whole);
    if (!place->sliced) return true;
    bool is_vector = place->n == 1 && place->n_matrices == 1;
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

/* A layer adds its result times the residual scale s. The layers here add to x / s instead, which needs no multiplication: each
 * norm divides by the size of what it reads, so that only its epsilon must become epsilon / s^2. Logits are divided by the logit
 * scale. */
void weft_complete_granite(weft_hyperparameters *hyper) {
    if (hyper->residual_scale != 0) {
        hyper->embedding_scale = (hyper->embedding_scale != 0 ? hyper->embedding_scale : 1) / hyper->residual_scale;
        hyper->norm_epsilon /= hyper->residual_scale * hyper->residual_scale;
    }
    hyper->logit_scale = 1 / hyper->logit_scale;
}
