/* starcoder2: StarCoder 2 (Lozhkov et al. 2024). layer_norm with biases, biases on all products, and a feed-forward part without a
 * gate. A window, where the file has one, is every layer's. */
#include "decoder/family.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/rope.h"

const weft_family weft_family_starcoder2 = {
    .name = "starcoder2",
    .rope_order = WEFT_ROPE_HALVES,
    .activation = WEFT_ACTIVATION_GELU,
    .layer_norm = true,
    .parts =
        {
            [WEFT_PART_ATTN_NORM_BIAS] = {WEFT_REQUIRED},
            [WEFT_PART_Q_BIAS] = {WEFT_COMMON},
            [WEFT_PART_K_BIAS] = {WEFT_COMMON},
            [WEFT_PART_V_BIAS] = {WEFT_COMMON},
            [WEFT_PART_ATTN_OUTPUT_BIAS] = {WEFT_REQUIRED},
            [WEFT_PART_FFN_NORM_BIAS] = {WEFT_REQUIRED},
            [WEFT_PART_GATE] = {WEFT_ABSENT},
            [WEFT_PART_GATE_BIAS] = {WEFT_ABSENT},
            [WEFT_PART_UP_BIAS] = {WEFT_REQUIRED},
            [WEFT_PART_DOWN_BIAS] = {WEFT_REQUIRED},
            [WEFT_PART_OUTPUT_NORM_BIAS] = {WEFT_REQUIRED},
        },
    .keys = {WEFT_WINDOW_KEYS},
    .layer = weft_layer_windowed,
};
