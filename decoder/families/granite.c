/* granite: Granite 3 and the dense models of Granite 4. Like llama, with four scales. */
#include "decoder/family.h"
#include "weft/ops/rope.h"

/* A layer adds its result times the residual scale s. The layers here add to x / s instead, which needs no multiplication: each
 * norm divides by the size of what it reads, so that only its epsilon must become epsilon / s^2. Logits are divided by the logit
 * scale. */
static void complete(weft_hyperparameters *hyper) {
    if (hyper->residual_scale != 0) {
        hyper->embedding_scale = (hyper->embedding_scale != 0 ? hyper->embedding_scale : 1) / hyper->residual_scale;
        hyper->norm_epsilon /= hyper->residual_scale * hyper->residual_scale;
    }
    hyper->logit_scale = 1 / hyper->logit_scale;
}

const weft_family weft_family_granite = {
    .name = "granite",
    .rope_order = WEFT_ROPE_ADJACENT,
    .keys =
        {
            WEFT_REAL_KEY("logit_scale", logit_scale, 1e-3, 1e3),
            WEFT_OPTIONAL_REAL_KEY("residual_scale", residual_scale, 1e-3, 1e3),
            WEFT_OPTIONAL_REAL_KEY("embedding_scale", embedding_scale, 1e-3, 1e3),
            WEFT_OPTIONAL_REAL_KEY("attention.scale", attention_scale, 1e-6, 1e3),
        },
    .complete = complete,
};
