/* olmoe: OLMoE. Routed experts whose weights are not normalised, and norms of Q and K over all heads together. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

const weft_family weft_family_olmoe = {
    .name = "olmoe",
    .rope_order = WEFT_ROPE_HALVES,
    .expert_weights_unnormalised = true,
    .parts =
        {
            [WEFT_PART_Q_NORM] = {WEFT_REQUIRED, .k = {.q = 1}},
            [WEFT_PART_K_NORM] = {WEFT_REQUIRED, .k = {.kv = 1}},
        },
};
