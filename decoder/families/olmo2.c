/* olmo2: OLMo 2 and 3. Norms only after attention and the feed-forward part, and norms of Q and K over all heads together. OLMo 3
 * has windows in three of four layers, and these layers do not scale their rope. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

static void complete(weft_hyperparameters *hyper) {
    hyper->rope_local.scaling = WEFT_ROPE_NONE;
    hyper->rope_local.attn_factor = 1;
    if (hyper->local_freq_base != 0) hyper->rope_local.freq_base = hyper->local_freq_base;
    if (hyper->window_period == 0) hyper->window_period = 4;
}

const weft_family weft_family_olmo2 = {
    .name = "olmo2",
    .rope_order = WEFT_ROPE_HALVES,
    .parts =
        {
            [WEFT_PART_ATTN_NORM] = {WEFT_ABSENT},
            [WEFT_PART_Q_NORM] = {WEFT_REQUIRED, .k = {.q = 1}},
            [WEFT_PART_K_NORM] = {WEFT_REQUIRED, .k = {.kv = 1}},
            [WEFT_PART_ATTN_POST_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_FFN_NORM] = {WEFT_ABSENT},
            [WEFT_PART_FFN_POST_NORM] = {WEFT_REQUIRED},
        },
    .keys = {WEFT_WINDOW_KEYS, WEFT_OPTIONAL_REAL_KEY("rope.freq_base_swa", local_freq_base, 2, 1e12)},
    .complete = complete,
    .layer = weft_layer_windowed_local,
};
