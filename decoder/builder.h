/* Builds a graph without a check after every node. After the first failure all calls do nothing; the builder keeps its status. */
#ifndef WEFT_DECODER_BUILDER_H
#define WEFT_DECODER_BUILDER_H

#include "decoder/model.h"
#include "weft/ops/route.h"

typedef struct weft_graph_request {
    int32_t first_layer, n_layers; /* the part of the model; the first has the embedding, the last the output head */
    int32_t n_rows;                /* T */
    int32_t n_heads;               /* R: rows that reach the output head; 0: none */
    int32_t n_top;                 /* log-probabilities returned with each token */
    bool logits;                   /* also return all logits of the R rows */
    bool embeddings;               /* and what the output head multiplies */
    weft_type kv_type;
    int64_t n_pages;
    int64_t n_windowed_pages;                  /* of layers with windows; 0: they have the pages of the others */
    int32_t page_size, n_sequences, max_pages; /* max_pages: of one sequence */
    int32_t n_updates;                         /* columns of the updates input */
    int64_t n_ctx;                             /* rows of the rope table */
} weft_graph_request;

/* Step inputs, in this order: rows I32 [4, T], updates I32 [2, n_updates], with n_windowed_pages > 0 another such input,
 * "windowed.updates", with n_heads > 0 heads I32 [8, R], and without the first layer "residual" F32 [n_embd, T]. Results: 0 chosen,
 * 1 top where n_top > 0, then logits, then embeddings; without the last layer the residual of the T rows alone. States:
 * "sequences", "windowed.sequences" with the page tables of the layers with windows, and "kv.LAYER". The weights called
 * "rope_table..." and "embedding_scale" are computed (source.c). */
typedef struct weft_builder {
    const weft_model *model;
    const weft_graph_request *request;
    weft_graph *graph;
    weft_error *error;
    weft_status status; /* of the first failure */
    int32_t layer;      /* -1 outside the layers; in the names of weights, states and nodes otherwise */
    weft_value rows, updates, heads, residual;
    weft_value rope_tables[WEFT_ROPE_TABLE_COUNT]; /* those that were used */
    weft_value sequences;                          /* the newest version of the state */
    weft_value windowed_sequences;                 /* the same; WEFT_NONE: there are no such pages */
} weft_builder;

weft_status weft_builder_begin(weft_builder *builder, const weft_model *model, const weft_graph_request *request,
                               weft_error *error);
/* Hands the graph to the caller, or destroys it after a failure. */
weft_status weft_builder_end(weft_builder *builder, weft_graph **graph);

/* "blk.3.attn_q.weight" from "attn_q.weight" inside a layer; the stem itself outside. */
void weft_builder_name(const weft_builder *builder, const char *stem, char name[WEFT_NAME_SIZE]);
/* A weight of the file, or a slice of one if the family says so. WEFT_NONE if the family or the file has no such part. */
weft_value weft_build_part(weft_builder *builder, weft_model_part part);
/* F32 [n_embd]. */
weft_value weft_build_embedding_scale(weft_builder *builder);
/* "kv.LAYER", of a layer with this window. */
weft_value weft_build_kv_state(weft_builder *builder, int32_t window);

/* Each of these adds a node and returns its output. Inputs that are WEFT_NONE are absent. */
weft_value weft_build_get_rows(weft_builder *builder, const char *name, weft_value table, weft_value index, weft_value sequences);
weft_value weft_build_mul_mat(weft_builder *builder, const char *stem, weft_value weight, weft_value x, bool extra_precision);
weft_value weft_build_add(weft_builder *builder, const char *stem, weft_value a, weft_value b);
weft_value weft_build_mul(weft_builder *builder, const char *stem, weft_value a, weft_value b);
/* Groups as long as `weight`. */
weft_value weft_build_rms_norm(weft_builder *builder, const char *stem, weft_value x, weft_value weight);
weft_value weft_build_rope(weft_builder *builder, const char *stem, weft_value x, weft_layer_rope rope, bool is_query);
weft_value weft_build_layer_norm(weft_builder *builder, const char *stem, weft_value x, weft_value weight, weft_value bias);
weft_value weft_build_soft_cap(weft_builder *builder, const char *stem, weft_value x, float cap);
/* The family's. `part`: "ffn", for the name "ffn_silu". */
weft_value weft_build_activation(weft_builder *builder, const char *part, weft_value x);
typedef struct weft_routing {
    weft_value ids, weights;
} weft_routing;
weft_routing weft_build_route(weft_builder *builder, const char *stem, weft_value logits, const weft_route_params *params);
weft_value weft_build_mul_mat_experts(weft_builder *builder, const char *stem, weft_value weight, weft_value x, weft_value ids);
weft_value weft_build_sum_experts(weft_builder *builder, const char *stem, weft_value x, weft_value weights);
weft_value weft_build_kv_write(weft_builder *builder, weft_value k, weft_value v, weft_value kv, int32_t window);
weft_value weft_build_attention(weft_builder *builder, weft_value q, weft_value kv, int32_t window);
/* Makes a value a result of the graph. */
void weft_build_result(weft_builder *builder, weft_value value);
/* Chooses the tokens of all heads and makes the graph's results. */
void weft_build_sample(weft_builder *builder, weft_value logits, weft_value normed);

#endif
