/* qwen2moe: Qwen 1.5 and 2 with routed experts, whose weights are not normalised, and shared experts, which have a weight of their
 * own. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

/* Older files do not state the size of the shared experts, which is that of a plain feed-forward part. */
static void complete(weft_hyperparameters *hyper) {
    if (hyper->n_ff_shared == 0) hyper->n_ff_shared = hyper->n_ff;
}

const weft_family weft_family_qwen2moe = {
    .name = "qwen2moe",
    .rope_order = WEFT_ROPE_HALVES,
    .expert_weights_unnormalised = true,
    .parts =
        {
            [WEFT_PART_Q_BIAS] = {.presence = WEFT_COMMON},
            [WEFT_PART_K_BIAS] = {.presence = WEFT_COMMON},
            [WEFT_PART_V_BIAS] = {.presence = WEFT_COMMON},
            [WEFT_PART_SHARED_ROUTER] = {.presence = WEFT_REQUIRED},
        },
    .complete = complete,
};
