/* phi3: Phi 3 and 4. Q, K and V are one tensor, and gate and up are one. Long contexts have rope factors of their own. A window,
 * where the file has one, is every layer's (docs/families.md). */
#include "decoder/family.h"
#include "weft/ops/rope.h"

#define QKV .stem = "attn_qkv.weight", .whole = {.q = 1, .kv = 2}

const weft_family weft_family_phi3 = {
    .name = "phi3",
    .rope_order = WEFT_ROPE_HALVES,
    .parts =
        {
            [WEFT_PART_Q] = {QKV},
            [WEFT_PART_K] = {QKV, .first = {.q = 1}},
            [WEFT_PART_V] = {QKV, .first = {.q = 1, .kv = 1}},
            [WEFT_PART_GATE] = {.stem = "ffn_up.weight", .whole = {.ff = 2}},
            [WEFT_PART_UP] = {.stem = "ffn_up.weight", .whole = {.ff = 2}, .first = {.ff = 1}},
        },
    .keys = {WEFT_WINDOW_KEYS},
    .layer = weft_layer_windowed,
};
