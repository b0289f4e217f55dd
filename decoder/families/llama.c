/* llama: Llama 1 to 3 and what shares their tensors and names, such as SmolLM 2. GGUF files of this family have the rows of Q and K
 * reordered so that rope turns adjacent pairs. */
#include "decoder/families/layer.h"
#include "weft/ops/rope.h"

static const weft_layer_style style = {.rope_order = WEFT_ROPE_ADJACENT};

static weft_status read(struct weft_model *model, weft_error *error) {
    return weft_layers_read(model, &style, error);
}

static weft_status build(const struct weft_model *model, const weft_graph_request *request, weft_graph **graph, weft_error *error) {
    return weft_layers_build(model, &style, request, graph, error);
}

const weft_family weft_family_llama = {.name = "llama", .read = read, .build = build};
