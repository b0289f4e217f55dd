/* smollm3: SmolLM 3. Like llama, and every fourth layer has no rope (Yang et al. 2025, "Rope to Nope and Back Again"). */
#include "decoder/family.h"
#include "weft/ops/rope.h"

static weft_layer_traits layer(const weft_hyperparameters *hyper, int32_t layer) {
    (void)hyper;
    return (weft_layer_traits){.rope = layer % 4 == 3 ? WEFT_LAYER_NO_ROPE : WEFT_LAYER_ROPE};
}

const weft_family weft_family_smollm3 = {.name = "smollm3", .rope_order = WEFT_ROPE_ADJACENT, .layer = layer};
