/* qwen3moe: Qwen 3 with routed experts. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_qwen3moe = {
    .name = "qwen3moe",
    .rope_order = WEFT_ROPE_HALVES,
    .parts =
        {
            [WEFT_PART_Q_NORM] = {.presence = WEFT_REQUIRED},
            [WEFT_PART_K_NORM] = {.presence = WEFT_REQUIRED},
        },
};
