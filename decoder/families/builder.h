/* Building a graph without a check after every node: the first failure sticks, and what follows does nothing. */
#ifndef WEFT_DECODER_BUILDER_H
#define WEFT_DECODER_BUILDER_H

#include "decoder/family.h"

typedef struct weft_builder {
    const struct weft_model *model;
    const weft_graph_request *request;
    weft_graph *graph;
    weft_error *error;
    weft_status status; /* of the first failure */
    int32_t layer;      /* -1 outside the layers; in the names of weights, states and nodes otherwise */
    weft_value rows, updates, heads, rope_table;
    weft_value sequences; /* the newest version of the state */
} weft_builder;

weft_status weft_builder_begin(weft_builder *builder, const struct weft_model *model, const weft_graph_request *request,
                               weft_error *error);
/* Gives the graph away, or destroys it where something failed. */
weft_status weft_builder_end(weft_builder *builder, weft_graph **graph);

/* "blk.3.attn_q.weight" from "attn_q.weight" inside a layer; the stem itself outside. */
void weft_builder_name(const weft_builder *builder, const char *stem, char name[WEFT_NAME_SIZE]);
/* A weight of the file; WEFT_NONE where the file has no such tensor. */
weft_value weft_build_weight(weft_builder *builder, const char *stem);
/* "kv.LAYER". */
weft_value weft_build_kv_state(weft_builder *builder);

/* Nodes; each returns its output. An input of WEFT_NONE is left out. */
weft_value weft_build_get_rows(weft_builder *builder, const char *name, weft_value table, weft_value index, weft_value sequences);
weft_value weft_build_mul_mat(weft_builder *builder, const char *stem, weft_value weight, weft_value x);
weft_value weft_build_add(weft_builder *builder, const char *stem, weft_value a, weft_value b);
weft_value weft_build_mul(weft_builder *builder, const char *stem, weft_value a, weft_value b);
weft_value weft_build_rms_norm(weft_builder *builder, const char *stem, weft_value x, weft_value weight);
weft_value weft_build_rope(weft_builder *builder, const char *stem, weft_value x, int32_t order);
weft_value weft_build_silu(weft_builder *builder, const char *stem, weft_value x);
weft_value weft_build_kv_write(weft_builder *builder, weft_value k, weft_value v, weft_value kv);
weft_value weft_build_attention(weft_builder *builder, weft_value q, weft_value kv);
/* Chooses the tokens of all heads and makes the graph's results. */
void weft_build_sample(weft_builder *builder, weft_value logits);

#endif
