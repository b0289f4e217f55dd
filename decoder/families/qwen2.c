/* qwen2: Qwen 2 and 2.5. Like llama, with biases on Q, K and V, and rope that turns the two halves of a head against each other. */
#include "decoder/families/layer.h"
#include "weft/ops/rope.h"

static const weft_layer_style style = {.rope_order = WEFT_ROPE_HALVES, .needs_qkv_bias = true};

static weft_status read(struct weft_model *model, weft_error *error) {
    return weft_layers_read(model, &style, error);
}

static weft_status build(const struct weft_model *model, const weft_graph_request *request, weft_graph **graph, weft_error *error) {
    return weft_layers_build(model, &style, request, graph, error);
}

const weft_family weft_family_qwen2 = {.name = "qwen2", .read = read, .build = build};
