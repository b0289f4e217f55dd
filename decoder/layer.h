/* The graph of a model, from its family's description: norms, attention with rotary positions and grouped queries, a feed-forward
 * part, the head. */
#ifndef WEFT_DECODER_LAYER_H
#define WEFT_DECODER_LAYER_H

#include "decoder/builder.h"

weft_status weft_layers_build(const weft_model *model, const weft_graph_request *request, weft_graph **graph, weft_error *error);

#endif
