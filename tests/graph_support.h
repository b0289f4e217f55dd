/* A runtime whose allocator counts and can fail, and the graph of a decoder, for the tests of graphs. */
#ifndef WEFT_TESTS_GRAPH_SUPPORT_H
#define WEFT_TESTS_GRAPH_SUPPORT_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "os/os.h"
#include "weft/ops/attention.h"
#include "weft/ops/mul_mat.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/norm_head_sample.h"
#include "weft/ops/norm_qkv.h"
#include "weft/ops/rms_norm.h"
#include "weft/ops/rope.h"
#include "weft/ops/sample.h"
#include "weft/ops/soft_max.h"
#include "weft/weft.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct counting {
    long n_blocks;   /* allocated and not released */
    long n_bytes;    /* bytes of these blocks */
    long n_requests; /* so far */
    long fail_at;    /* the request that fails, counted from 1; 0: none */
} counting;

static inline void *counting_allocate(void *user, size_t size, size_t alignment) {
    counting *c = user;
    if (++c->n_requests == c->fail_at) return NULL;
    void *memory = weft_os_aligned_allocate(size, alignment);
    if (memory) {
        c->n_blocks++;
        c->n_bytes += (long)size;
        memset(memory, 0xa5, size);
    }
    return memory;
}

static inline void counting_release(void *user, void *memory, size_t size) {
    counting *c = user;
    c->n_blocks--;
    c->n_bytes -= (long)size;
    weft_os_aligned_free(memory);
}

static inline weft_runtime *make_runtime(counting *c) {
    *c = (counting){0};
    weft_runtime *runtime = NULL;
    const weft_allocator allocator = {.allocate = counting_allocate, .release = counting_release, .user = c};
    weft_error error;
    assert_int_equal(weft_runtime_create(&(weft_runtime_options){.allocator = &allocator}, &runtime, &error), WEFT_OK);
    return runtime;
}

static inline void end_runtime(weft_runtime *runtime, const counting *c) {
    weft_runtime_destroy(runtime);
    assert_int_equal(c->n_blocks, 0);
    assert_int_equal(c->n_bytes, 0);
}

/* A builder that keeps the first failure, so that a test builds a whole graph and then checks the status once. */
typedef struct builder {
    weft_graph *graph;
    weft_status status;
    weft_error error;
    int n_made; /* leaves with names of their own */
} builder;

typedef weft_status (*leaf_function)(weft_graph *, const char *, const weft_tensor *, weft_value *, weft_error *);

static inline weft_value add_leaf(builder *b, leaf_function add, const char *name, weft_type type, int64_t n0, int64_t n1,
                                  int64_t n2, int64_t n3) {
    weft_value value = WEFT_NONE;
    if (b->status == WEFT_OK) b->status = add(b->graph, name, &(weft_tensor){type, {n0, n1, n2, n3}}, &value, &b->error);
    return value;
}

static inline weft_value add_weight(builder *b, const char *prefix, int layer, weft_type type, int64_t n0, int64_t n1) {
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "%s.%d", prefix, layer);
    return add_leaf(b, weft_graph_weight, name, type, n0, n1, 1, 1);
}

/* Adds a node and returns its first output. `more` receives the other outputs, or is NULL. */
static inline weft_value add_node(builder *b, weft_op op, const char *name, const weft_value *inputs, const void *params,
                                  size_t params_size, weft_value *more) {
    weft_value outputs[WEFT_MAX_OUTPUTS] = {WEFT_NONE, WEFT_NONE, WEFT_NONE, WEFT_NONE};
    if (b->status == WEFT_OK) b->status = weft_graph_add(b->graph, op, name, inputs, params, params_size, outputs, &b->error);
    for (size_t i = 1; more && i < weft_op_output_count(op); i++) more[i - 1] = outputs[i];
    return outputs[0];
}

#define NODE0(b, op, name, ...) add_node(b, op, name, (weft_value[]){__VA_ARGS__}, NULL, 0, NULL)
#define NODE(b, op, name, params, ...) add_node(b, op, name, (weft_value[]){__VA_ARGS__}, params, sizeof *(params), NULL)

typedef struct decoder_shape {
    int n_layers;
    int64_t n_rows, n_heads_rows; /* T and R */
    bool biases, head_norms, gelu;
    bool add_swapped;    /* residual first */
    bool logits_result;  /* the logits are a result too */
    bool write_before_q; /* kv_write comes before rope of q */
    bool headless;       /* nothing uses the last layer's output */
    int n_top;
} decoder_shape;

typedef struct decoder_inputs {
    weft_value rows, heads, sequences, table;
} decoder_inputs;

enum { N_EMBD = 64, HEAD_DIM = 16, N_HEADS = 4, N_KV_HEADS = 2, N_FF = 96, N_VOCAB = 300 };

/* One of the projections: mul_mat, bias, head norm. */
static inline weft_value add_projection(builder *b, const decoder_shape *s, int layer, char which, weft_value normed, int64_t n) {
    char name[16];
    snprintf(name, sizeof name, "%c", which);
    weft_value weight = add_weight(b, name, layer, WEFT_Q4_0, N_EMBD, n);
    const weft_mul_mat_params params = {.extra_precision = which != 'q'};
    weft_value y = NODE(b, WEFT_OP_MUL_MAT, name, &params, weight, normed);
    snprintf(name, sizeof name, "%c_bias", which);
    if (s->biases) y = NODE0(b, WEFT_OP_ADD, name, y, add_weight(b, name, layer, WEFT_F32, n, 1));
    snprintf(name, sizeof name, "%c_norm", which);
    if (s->head_norms && which != 'v')
        y = NODE(b, WEFT_OP_RMS_NORM, name, (&(weft_rms_norm_params){1e-6f, (int32_t)(n / HEAD_DIM)}), y,
                 add_weight(b, name, layer, WEFT_F32, HEAD_DIM, 1));
    return y;
}

static inline weft_value add_attention_part(builder *b, const decoder_shape *s, int layer, weft_value x, const decoder_inputs *in) {
    const weft_rms_norm_params norm = {1e-5f, 0};
    const weft_rope_params rope = {HEAD_DIM, WEFT_ROPE_HALVES};
    weft_value normed = NODE(b, WEFT_OP_RMS_NORM, "norm", &norm, x, add_weight(b, "norm", layer, WEFT_F32, N_EMBD, 1));
    weft_value q = add_projection(b, s, layer, 'q', normed, HEAD_DIM * N_HEADS);
    weft_value k = add_projection(b, s, layer, 'k', normed, HEAD_DIM * N_KV_HEADS);
    weft_value v = add_projection(b, s, layer, 'v', normed, HEAD_DIM * N_KV_HEADS);
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "kv.%d", layer);
    weft_value kv = add_leaf(b, weft_graph_state, name, WEFT_F16, HEAD_DIM, 8, N_KV_HEADS, 2 * 5);
    if (!s->write_before_q) q = NODE(b, WEFT_OP_ROPE, "rope q", &rope, q, in->rows, in->table);
    k = NODE(b, WEFT_OP_ROPE, "rope k", &rope, k, in->rows, in->table);
    kv = NODE0(b, WEFT_OP_KV_WRITE, "kv_write", k, v, kv, in->rows, in->sequences);
    if (s->write_before_q) q = NODE(b, WEFT_OP_ROPE, "rope q", &rope, q, in->rows, in->table);
    return NODE(b, WEFT_OP_ATTENTION, "attention", (&(weft_attention_params){.n_heads = N_HEADS, .scale = 0.25f}), q, kv, in->rows,
                in->sequences);
}

static inline weft_value add_residual(builder *b, const decoder_shape *s, const char *name, weft_value y, weft_value x) {
    return s->add_swapped ? NODE0(b, WEFT_OP_ADD, name, x, y) : NODE0(b, WEFT_OP_ADD, name, y, x);
}

static inline weft_value add_layer(builder *b, const decoder_shape *s, int layer, weft_value x, const decoder_inputs *in) {
    const weft_rms_norm_params norm = {1e-5f, 0};
    weft_value y = add_attention_part(b, s, layer, x, in);
    y = NODE0(b, WEFT_OP_MUL_MAT, "out", add_weight(b, "out", layer, WEFT_Q8_0, HEAD_DIM * N_HEADS, N_EMBD), y);
    x = add_residual(b, s, "attention residual", y, x);
    weft_value normed = NODE(b, WEFT_OP_RMS_NORM, "mlp norm", &norm, x, add_weight(b, "mlp norm", layer, WEFT_F32, N_EMBD, 1));
    weft_value gate = NODE0(b, WEFT_OP_MUL_MAT, "gate", add_weight(b, "gate", layer, WEFT_Q4_1, N_EMBD, N_FF), normed);
    weft_value up = NODE0(b, WEFT_OP_MUL_MAT, "up", add_weight(b, "up", layer, WEFT_Q4_1, N_EMBD, N_FF), normed);
    gate = NODE0(b, s->gelu ? WEFT_OP_GELU : WEFT_OP_SILU, "activation", gate);
    y = NODE0(b, WEFT_OP_MUL, "gated", gate, up);
    y = NODE0(b, WEFT_OP_MUL_MAT, "down", add_weight(b, "down", layer, WEFT_F16, N_FF, N_EMBD), y);
    return add_residual(b, s, "mlp residual", y, x);
}

/* Adds a whole decoder. The results are the chosen tokens, and on request the most likely tokens and the logits. */
static inline void add_decoder(builder *b, const decoder_shape *s) {
    decoder_inputs in;
    in.rows = add_leaf(b, weft_graph_input, "rows", WEFT_I32, 4, s->n_rows, 1, 1);
    in.heads = add_leaf(b, weft_graph_input, "heads", WEFT_I32, 8, s->n_heads_rows, 1, 1);
    weft_value updates = add_leaf(b, weft_graph_input, "updates", WEFT_I32, 2, 10, 1, 1);
    in.sequences = add_leaf(b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + 5, 3, 1, 1);
    in.table = add_leaf(b, weft_graph_weight, "rope_table", WEFT_F32, HEAD_DIM, 40, 1, 1);
    in.sequences = NODE0(b, WEFT_OP_SCATTER, "updates", in.sequences, updates);
    weft_value embedding = add_weight(b, "embedding", 0, WEFT_Q8_0, N_EMBD, N_VOCAB);
    weft_value x = NODE0(b, WEFT_OP_GET_ROWS, "embed", embedding, in.rows, in.sequences);
    for (int i = 0; i < s->n_layers; i++) x = add_layer(b, s, i, x, &in);
    if (s->headless) return;
    x = NODE0(b, WEFT_OP_GET_ROWS, "select", x, in.heads, WEFT_NONE);
    x = NODE(b, WEFT_OP_RMS_NORM, "last norm", (&(weft_rms_norm_params){1e-5f, 0}), x,
             add_weight(b, "last norm", 0, WEFT_F32, N_EMBD, 1));
    weft_value logits = NODE(b, WEFT_OP_MUL_MAT, "head", (&(weft_mul_mat_params){1}), embedding, x), top[2];
    weft_value chosen = add_node(b, WEFT_OP_SAMPLE, "sample", (weft_value[]){logits, in.heads, in.sequences},
                                 &(weft_sample_params){s->n_top}, sizeof(weft_sample_params), top);
    if (b->status == WEFT_OK) b->status = weft_graph_output(b->graph, chosen, &b->error);
    if (b->status == WEFT_OK && s->n_top) b->status = weft_graph_output(b->graph, top[0], &b->error);
    if (b->status == WEFT_OK && s->logits_result) b->status = weft_graph_output(b->graph, logits, &b->error);
}

static inline void begin_graph(builder *b, weft_runtime *runtime) {
    memset(b, 0, sizeof *b);
    b->status = weft_graph_create(runtime, &b->graph, &b->error);
}

#endif
