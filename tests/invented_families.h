/* Two families that no model has, for test_family.c. Together they use every member of a description. */
#ifndef WEFT_TESTS_INVENTED_FAMILIES_H
#define WEFT_TESTS_INVENTED_FAMILIES_H

#include <math.h>
#include <stddef.h>

#include "decoder/family.h"

#define ATTENTION_SCALE 0.125f

/* Every other layer has a window and the local rope, and the third has no rope. */
static weft_layer_traits traits_of(const weft_hyperparameters *hyper, int32_t layer) {
    if (layer == 2) return (weft_layer_traits){.rope = WEFT_LAYER_NO_ROPE};
    return layer % 2 ? (weft_layer_traits){.rope = WEFT_LAYER_ROPE_LOCAL, .window = hyper->n_window} : (weft_layer_traits){0};
}

static void complete(weft_hyperparameters *hyper) {
    hyper->embedding_scale = sqrtf((float)hyper->n_embd);
    hyper->attention_scale = ATTENTION_SCALE;
}

#define QKV .stem = "attn_qkv.weight", .whole = {.q = 1, .kv = 2}
#define QKV_BIAS WEFT_REQUIRED, "attn_qkv.bias", .whole = {.q = 1, .kv = 2}
#define KEYS                                                                                                                       \
    {                                                                                                                              \
        {"attention.sliding_window", false, offsetof(weft_hyperparameters, n_window), 1, 1 << 20, false},                          \
            {"rope.local.freq_base", true, offsetof(weft_hyperparameters, rope_local.freq_base), 2, 1e12, false},                  \
    }

/* Fused tensors, norms before and after, norms of heads. */
static const weft_family fused_family = {
    .name = "fused",
    .rope_order = WEFT_ROPE_HALVES,
    .activation = WEFT_ACTIVATION_GELU,
    .parts =
        {
            [WEFT_PART_Q] = {QKV},
            [WEFT_PART_K] = {QKV, .first = {.q = 1}},
            [WEFT_PART_V] = {QKV, .first = {.q = 1, .kv = 1}},
            [WEFT_PART_Q_BIAS] = {QKV_BIAS},
            [WEFT_PART_K_BIAS] = {QKV_BIAS, .first = {.q = 1}},
            [WEFT_PART_V_BIAS] = {QKV_BIAS, .first = {.q = 1, .kv = 1}},
            [WEFT_PART_Q_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_K_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_ATTN_POST_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_GATE] = {.stem = "ffn_up.weight", .whole = {.ff = 2}},
            [WEFT_PART_UP] = {.stem = "ffn_up.weight", .whole = {.ff = 2}, .first = {.ff = 1}},
            [WEFT_PART_FFN_POST_NORM] = {WEFT_REQUIRED},
        },
    .keys = KEYS,
    .complete = complete,
    .layer = traits_of,
};

/* Only norms after attention and the feed-forward part, norms of Q and K over all heads together, and no gate. */
static const weft_family bare_family = {
    .name = "bare",
    .rope_order = WEFT_ROPE_ADJACENT,
    .parts =
        {
            [WEFT_PART_ATTN_NORM] = {WEFT_ABSENT},
            [WEFT_PART_Q_NORM] = {WEFT_REQUIRED, .k = {.q = 1}},
            [WEFT_PART_K_NORM] = {WEFT_REQUIRED, .k = {.kv = 1}},
            [WEFT_PART_ATTN_POST_NORM] = {WEFT_REQUIRED, "attn_after.weight"},
            [WEFT_PART_FFN_NORM] = {WEFT_ABSENT},
            [WEFT_PART_GATE] = {WEFT_ABSENT},
            [WEFT_PART_GATE_BIAS] = {WEFT_ABSENT},
            [WEFT_PART_FFN_POST_NORM] = {WEFT_REQUIRED},
        },
    .keys = KEYS,
    .complete = complete,
    .layer = traits_of,
};

#endif
