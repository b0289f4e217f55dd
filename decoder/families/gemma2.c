/* gemma2: Gemma 2 (Gemma Team 2024). Norms before and after attention and the feed-forward part, soft caps, and a window in every
 * other layer. */
#include <math.h>

#include "decoder/family.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/rope.h"

/* What the file leaves out is the published models'. Those of 27 billion weights, of 46 layers, scale queries otherwise. */
static void complete(weft_hyperparameters *hyper) {
    hyper->embedding_scale = sqrtf((float)hyper->n_embd);
    if (hyper->n_layers == 46) hyper->attention_scale = 1 / sqrtf((float)hyper->n_embd / (float)hyper->n_heads);
    if (hyper->n_window == 0) hyper->n_window = 4096;
    if (hyper->window_period == 0) hyper->window_period = 2;
    if (hyper->attention_cap == 0) hyper->attention_cap = 50;
    if (hyper->logit_cap == 0) hyper->logit_cap = 30;
}

const weft_family weft_family_gemma2 = {
    .name = "gemma2",
    .rope_order = WEFT_ROPE_HALVES,
    .activation = WEFT_ACTIVATION_GELU,
    .parts =
        {
            [WEFT_PART_ATTN_POST_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_FFN_POST_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_OUTPUT] = {WEFT_ABSENT},
        },
    .keys =
        {
            WEFT_WINDOW_KEYS,
            WEFT_OPTIONAL_REAL_KEY("attn_logit_softcapping", attention_cap, 1e-3, 1e6),
            WEFT_OPTIONAL_REAL_KEY("final_logit_softcapping", logit_cap, 1e-3, 1e6),
        },
    .complete = complete,
    .layer = weft_layer_windowed,
};
