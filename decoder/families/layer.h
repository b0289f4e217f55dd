/* What the families of the Llama kind share: rms norms before attention and a gated feed-forward part, rotary positions,
 * grouped-query attention. They differ in data. */
#ifndef WEFT_DECODER_LAYER_H
#define WEFT_DECODER_LAYER_H

#include "decoder/families/builder.h"

typedef struct weft_layer_style {
    int32_t rope_order;  /* WEFT_ROPE_ADJACENT or WEFT_ROPE_HALVES */
    bool needs_qkv_bias; /* otherwise used where the file has one */
} weft_layer_style;

/* Hyperparameters, and every tensor with its shape. */
weft_status weft_layers_read(struct weft_model *model, const weft_layer_style *style, weft_error *error);
/* The whole graph. */
weft_status weft_layers_build(const struct weft_model *model, const weft_layer_style *style, const weft_graph_request *request,
                              weft_graph **graph, weft_error *error);

#endif
