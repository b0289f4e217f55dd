/* gemma3: the text part of Gemma 3 (Gemma Team 2025). Like gemma2 with norms of each head of Q and K in place of soft caps. Five of
 * six layers have a window and a rope of their own, which is not scaled. */
#include <math.h>

#include "decoder/family.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/rope.h"

/* Models of 27 billion weights, of 62 layers, scale queries otherwise. */
static void complete(weft_hyperparameters *hyper) {
    hyper->embedding_scale = sqrtf((float)hyper->n_embd);
    if (hyper->n_layers == 62) hyper->attention_scale = 1 / sqrtf((float)hyper->n_embd / (float)hyper->n_heads);
    if (hyper->window_period == 0) hyper->window_period = 6;
    hyper->rope_local = (weft_rope_options){.n_dims = hyper->rope.n_dims,
                                            .freq_base = hyper->local_freq_base != 0 ? hyper->local_freq_base : 10000};
}

const weft_family weft_family_gemma3 = {
    .name = "gemma3",
    .rope_order = WEFT_ROPE_HALVES,
    .activation = WEFT_ACTIVATION_GELU,
    .parts =
        {
            [WEFT_PART_Q_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_K_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_ATTN_POST_NORM] = {WEFT_REQUIRED},
            [WEFT_PART_FFN_POST_NORM] = {WEFT_REQUIRED},
        },
    .keys =
        {
            WEFT_WINDOW_KEYS,
            WEFT_OPTIONAL_REAL_KEY("rope.freq_base_swa", local_freq_base, 2, 1e12),
            WEFT_OPTIONAL_REAL_KEY("final_logit_softcapping", logit_cap, 0, 1e6),
        },
    .complete = complete,
    .layer = weft_layer_windowed_local,
};
