/* A graph with norm_qkv alone, for tests of its kernels. Include after graph_support.h. */
#ifndef WEFT_TESTS_NORM_QKV_GRAPH_H
#define WEFT_TESTS_NORM_QKV_GRAPH_H

#include "weft/ops/ports.h"

/* Weights are of Q8_0. The cache has `n_pages` pages for keys and values together. `n_sequences` 0 means 1. */
typedef struct norm_qkv_shape {
    int64_t k, n_rows, n_heads, n_kv_heads, n_dims, page_size, n_pages, sequence_words, n_sequences;
    int32_t head_dim, order;
    bool has_biases, has_norms;
    weft_type kv_type;
} norm_qkv_shape;

/* Inputs are `x` and `rows`, states `kv` and `sequences`. Names of weights begin with a letter of their own, and those of quantised
 * ones go on with q. Returns the queries, which are the graph's output. */
static inline weft_value add_norm_qkv(builder *b, const norm_qkv_shape *s) {
    const weft_norm_qkv_params params = {.epsilon = 1e-5f, .head_epsilon = 1e-5f, .head_dim = s->head_dim, .order = s->order};
    int64_t n_q = s->head_dim * s->n_heads, n_kv = s->head_dim * s->n_kv_heads;
    weft_value inputs[WEFT_MAX_INPUTS], more[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = WEFT_NONE;
    inputs[WEFT_NORM_QKV_X] = add_leaf(b, weft_graph_input, "x", WEFT_F32, s->k, s->n_rows, 1, 1);
    inputs[WEFT_NORM_QKV_ROWS] = add_leaf(b, weft_graph_input, "rows", WEFT_I32, WEFT_ROW_WORDS, s->n_rows, 1, 1);
    inputs[WEFT_NORM_QKV_SEQUENCES] =
        add_leaf(b, weft_graph_state, "sequences", WEFT_I32, s->sequence_words, s->n_sequences > 0 ? s->n_sequences : 1, 1, 1);
    inputs[WEFT_NORM_QKV_NORM] = add_leaf(b, weft_graph_weight, "n", WEFT_F32, s->k, 1, 1, 1);
    inputs[WEFT_NORM_QKV_Q] = add_leaf(b, weft_graph_weight, "qq", WEFT_Q8_0, s->k, n_q, 1, 1);
    inputs[WEFT_NORM_QKV_K] = add_leaf(b, weft_graph_weight, "kq", WEFT_Q8_0, s->k, n_kv, 1, 1);
    inputs[WEFT_NORM_QKV_V] = add_leaf(b, weft_graph_weight, "vq", WEFT_Q8_0, s->k, n_kv, 1, 1);
    if (s->has_biases) {
        inputs[WEFT_NORM_QKV_Q_BIAS] = add_leaf(b, weft_graph_weight, "a", WEFT_F32, n_q, 1, 1, 1);
        inputs[WEFT_NORM_QKV_K_BIAS] = add_leaf(b, weft_graph_weight, "b", WEFT_F32, n_kv, 1, 1, 1);
        inputs[WEFT_NORM_QKV_V_BIAS] = add_leaf(b, weft_graph_weight, "c", WEFT_F32, n_kv, 1, 1, 1);
    }
    if (s->has_norms) {
        inputs[WEFT_NORM_QKV_Q_NORM] = add_leaf(b, weft_graph_weight, "d", WEFT_F32, s->head_dim, 1, 1, 1);
        inputs[WEFT_NORM_QKV_K_NORM] = add_leaf(b, weft_graph_weight, "e", WEFT_F32, s->head_dim, 1, 1, 1);
    }
    int64_t n_positions = s->page_size * s->n_pages / 2;
    inputs[WEFT_NORM_QKV_TABLE] = add_leaf(b, weft_graph_weight, "t", WEFT_F32, s->n_dims, n_positions, 1, 1);
    inputs[WEFT_NORM_QKV_KV] =
        add_leaf(b, weft_graph_state, "kv", s->kv_type, s->head_dim, s->page_size, s->n_kv_heads, s->n_pages);
    weft_value y = add_node(b, WEFT_OP_NORM_QKV, "y", inputs, &params, sizeof params, more);
    if (b->status == WEFT_OK) b->status = weft_graph_output(b->graph, y, &b->error);
    return y;
}

#endif
