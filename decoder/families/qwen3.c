/* qwen3: Qwen 3. Like qwen2 without biases, with norms of each head of Q and K. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_qwen3 = {
    .name = "qwen3",
    .rope_order = WEFT_ROPE_HALVES,
    .parts =
        {
            [WEFT_PART_Q_NORM] = {.presence = WEFT_REQUIRED},
            [WEFT_PART_K_NORM] = {.presence = WEFT_REQUIRED},
        },
};
