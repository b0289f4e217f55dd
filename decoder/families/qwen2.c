/* qwen2: Qwen 2 and 2.5. Like llama, with biases on Q, K and V, and rope that rotates pairs of a head's two halves. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_qwen2 = {
    .name = "qwen2",
    .rope_order = WEFT_ROPE_HALVES,
    .parts =
        {
            [WEFT_PART_Q_BIAS] = {.presence = WEFT_COMMON},
            [WEFT_PART_K_BIAS] = {.presence = WEFT_COMMON},
            [WEFT_PART_V_BIAS] = {.presence = WEFT_COMMON},
        },
};
