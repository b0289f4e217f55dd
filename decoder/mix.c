/* The types that llama.cpp's quantisation tool chooses without an importance matrix, as rules. */
#include "decoder/mix.h"

#include <stdio.h>
#include <string.h>

typedef enum when {
    ALWAYS,
    IN_FIRST_2,
    IN_FIRST_4,
    IN_FIRST_16TH,
    IN_FIRST_8TH,
    WITH_MORE_BITS,
    WITH_GQA_4,
    WITH_8_EXPERTS
} condition;

typedef struct rule {
    weft_mix_role role;
    condition when;
    weft_type type;
} rule;

#define MAX_RULES 5 /* the array ends with a rule for WEFT_MIX_MATRIX, role 0 */

struct weft_mix {
    const char *name;
    uint32_t file_type;
    weft_type type, head; /* of most matrices, and of the output matrix */
    weft_type experts;    /* of matrices of experts; F32: no type of their own */
    rule rules[MAX_RULES];
};

#define RULE(role, when, type)                                                                                                     \
    { WEFT_MIX_##role, when, WEFT_##type }

/* The first rule that fits counts. */
static const weft_mix mixes[] = {
    {"F32", 0, WEFT_F32, WEFT_F32, WEFT_F32, {{0}}},
    {"F16", 1, WEFT_F16, WEFT_F16, WEFT_F32, {{0}}},
    {"BF16", 32, WEFT_BF16, WEFT_BF16, WEFT_F32, {{0}}},
    {"Q8_0", 7, WEFT_Q8_0, WEFT_Q8_0, WEFT_F32, {{0}}},
    {"Q6_K", 18, WEFT_Q6_K, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"Q5_K_M", 17, WEFT_Q5_K, WEFT_Q6_K, WEFT_F32, {RULE(VALUE, WITH_MORE_BITS, Q6_K), RULE(DOWN, WITH_MORE_BITS, Q6_K)}},
    {"Q5_K_S", 16, WEFT_Q5_K, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"Q5_1", 9, WEFT_Q5_1, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"Q5_0", 8, WEFT_Q5_0, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"Q4_K_M",
     15,
     WEFT_Q4_K,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, WITH_MORE_BITS, Q6_K), RULE(DOWN, WITH_MORE_BITS, Q6_K), RULE(ATTENTION_OUTPUT, WITH_8_EXPERTS, Q5_K)}},
    {"Q4_K_S",
     14,
     WEFT_Q4_K,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, IN_FIRST_4, Q5_K), RULE(DOWN, IN_FIRST_8TH, Q5_K), RULE(ATTENTION_OUTPUT, WITH_8_EXPERTS, Q5_K)}},
    {"Q4_1", 3, WEFT_Q4_1, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"Q4_0", 2, WEFT_Q4_0, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"IQ4_NL",
     25,
     WEFT_IQ4_NL,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, WITH_GQA_4, Q5_K), RULE(DOWN, IN_FIRST_8TH, Q5_K), RULE(ATTENTION_OUTPUT, WITH_8_EXPERTS, Q5_K)}},
    {"IQ4_XS",
     30,
     WEFT_IQ4_XS,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, WITH_GQA_4, Q5_K), RULE(DOWN, IN_FIRST_8TH, Q5_K), RULE(ATTENTION_OUTPUT, WITH_8_EXPERTS, Q5_K)}},
    {"MXFP4", 38, WEFT_MXFP4, WEFT_Q6_K, WEFT_F32, {{0}}},
    {"MXFP4_MOE", 38, WEFT_Q8_0, WEFT_Q8_0, WEFT_MXFP4, {{0}}},
    {"Q3_K_L",
     13,
     WEFT_Q3_K,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, ALWAYS, Q5_K), RULE(DOWN, ALWAYS, Q5_K), RULE(ATTENTION_OUTPUT, ALWAYS, Q5_K)}},
    {"Q3_K_M",
     12,
     WEFT_Q3_K,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, IN_FIRST_2, Q5_K), RULE(VALUE, ALWAYS, Q4_K), RULE(DOWN, IN_FIRST_16TH, Q5_K), RULE(DOWN, ALWAYS, Q4_K),
      RULE(ATTENTION_OUTPUT, ALWAYS, Q4_K)}},
    {"Q3_K_S", 11, WEFT_Q3_K, WEFT_Q6_K, WEFT_F32, {RULE(ATTENTION_OUTPUT, WITH_8_EXPERTS, Q5_K)}},
    {"Q2_K",
     10,
     WEFT_Q2_K,
     WEFT_Q6_K,
     WEFT_F32,
     {RULE(VALUE, WITH_GQA_4, Q4_K), RULE(VALUE, ALWAYS, Q3_K), RULE(DOWN, ALWAYS, Q3_K),
      RULE(ATTENTION_OUTPUT, WITH_8_EXPERTS, Q5_K), RULE(ATTENTION_OUTPUT, ALWAYS, Q3_K)}},
    {"Q2_K_S", 21, WEFT_Q2_K, WEFT_Q6_K, WEFT_F32, {RULE(VALUE, WITH_GQA_4, Q4_K), RULE(DOWN, IN_FIRST_8TH, Q4_K)}},
};
enum { N_MIXES = sizeof mixes / sizeof *mixes };

const weft_mix *weft_mix_find(const char *name) {
    for (size_t i = 0; i < N_MIXES; i++)
        if (strcmp(mixes[i].name, name) == 0) return &mixes[i];
    return NULL;
}

const char *weft_mix_name(size_t index) {
    return index < N_MIXES ? mixes[index].name : NULL;
}

weft_status weft_mix_unknown(const char *name, weft_error *error) {
    char names[256] = "";
    for (size_t i = 0, n = 0; i < N_MIXES && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i == 0 ? "" : i + 1 == N_MIXES ? " and " : ", ", mixes[i].name);
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no mix \"%.60s\"; there are %s", name, names);
}

const char *weft_mix_name_of(const weft_mix *mix) {
    return mix->name;
}

uint32_t weft_mix_file_type(const weft_mix *mix) {
    return mix->file_type;
}

/* ---- Roles ---- */

weft_mix_role weft_mix_role_of(const char *name, bool tied) {
    /* Parts of names, the first that occurs counts. */
    static const struct {
        const char *part;
        weft_mix_role role;
    } parts[] = {
        {"_norm.", WEFT_MIX_KEPT},
        {"ffn_gate_inp", WEFT_MIX_KEPT},
        {"attn_qkv.", WEFT_MIX_VALUE},
        {"attn_kv_b.", WEFT_MIX_VALUE},
        {"attn_v.", WEFT_MIX_VALUE},
        {"attn_k.", WEFT_MIX_KEY},
        {"attn_output.", WEFT_MIX_ATTENTION_OUTPUT},
        {"ffn_down", WEFT_MIX_DOWN},
    };
    const char *dot = strrchr(name, '.');
    if (!dot || strcmp(dot, ".weight") != 0) return WEFT_MIX_KEPT;
    if (strcmp(name, "token_embd.weight") == 0) return tied ? WEFT_MIX_HEAD : WEFT_MIX_EMBEDDING;
    if (strcmp(name, "output.weight") == 0) return WEFT_MIX_HEAD;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i].part)) return parts[i].role;
    return WEFT_MIX_MATRIX;
}

/* ---- Types ---- */

/* The first and the last eighth of the layers, and every third between. */
static bool gets_more_bits(int32_t layer, int32_t n_layers) {
    int32_t eighth = n_layers / 8;
    return layer < eighth || layer >= 7 * n_layers / 8 || (layer - eighth) % 3 == 2;
}

static bool fits(condition when, const weft_mix_place *place) {
    switch (when) {
    case IN_FIRST_2:
        return place->layer < 2;
    case IN_FIRST_4:
        return place->layer < 4;
    case IN_FIRST_16TH:
        return place->layer < place->n_layers / 16;
    case IN_FIRST_8TH:
        return place->layer < place->n_layers / 8;
    case WITH_MORE_BITS:
        return gets_more_bits(place->layer, place->n_layers);
    case WITH_GQA_4:
        return place->n_gqa >= 4;
    case WITH_8_EXPERTS:
        return place->n_experts == 8;
    default:
        return true;
    }
}

static weft_type type_by_rules(const weft_mix *mix, const weft_mix_place *place) {
    if (place->role == WEFT_MIX_HEAD) return mix->head;
    if (mix->experts != WEFT_F32) return place->of_experts ? mix->experts : mix->type;
    /* With 8 experts, K and V are small beside the rest. */
    if (place->n_experts == 8 && (place->role == WEFT_MIX_VALUE || place->role == WEFT_MIX_KEY)) return WEFT_Q8_0;
    weft_type type = mix->type;
    for (size_t i = 0; i < MAX_RULES && mix->rules[i].role != WEFT_MIX_MATRIX; i++) {
        if (mix->rules[i].role != place->role || !fits(mix->rules[i].when, place)) continue;
        type = mix->rules[i].type;
        break;
    }
    /* In models of 70 billion weights V has an eighth of Q's rows. */
    bool small_value = place->role == WEFT_MIX_VALUE && place->n_layers == 80 && place->n_gqa > 1;
    return small_value && (type == WEFT_Q3_K || type == WEFT_Q4_K) ? WEFT_Q5_K : type;
}

weft_type weft_mix_type(const weft_mix *mix, const weft_mix_place *place) {
    /* Where rows are not a multiple of 256, a type of blocks of 32 takes the place of a K type. */
    static const struct {
        weft_type from, to;
    } fallbacks[] = {{WEFT_Q2_K, WEFT_Q4_0}, {WEFT_Q3_K, WEFT_Q4_0}, {WEFT_Q4_K, WEFT_Q5_0},
                     {WEFT_Q5_K, WEFT_Q5_1}, {WEFT_Q6_K, WEFT_Q8_0}, {WEFT_IQ4_XS, WEFT_IQ4_NL}};
    bool is_float = weft_type_get(mix->type)->block_elements == 1;
    weft_type type = is_float ? mix->type : type_by_rules(mix, place);
    for (size_t i = 0; i < sizeof fallbacks / sizeof *fallbacks; i++) {
        if (type != fallbacks[i].from || place->k % 256 == 0) continue;
        type = fallbacks[i].to;
        break;
    }
    return place->k % weft_type_get(type)->block_elements ? WEFT_F16 : type;
}
