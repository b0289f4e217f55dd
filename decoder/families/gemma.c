/* gemma: Gemma 1 (Gemma Team 2024, "Gemma"). Like llama with GELU, rope of halves, an embedding that is scaled, and a tied head. */
#include <math.h>

#include "decoder/family.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/rope.h"

static void complete(weft_hyperparameters *hyper) {
    hyper->embedding_scale = sqrtf((float)hyper->n_embd);
}

const weft_family weft_family_gemma = {
    .name = "gemma",
    .rope_order = WEFT_ROPE_HALVES,
    .activation = WEFT_ACTIVATION_GELU,
    .parts = {[WEFT_PART_OUTPUT] = {WEFT_ABSENT}},
    .complete = complete,
};
