/* Building a graph without a check after every node. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decoder/builder.h"
#include "weft/ops/attention.h"
#include "weft/ops/layer_norm.h"
#include "weft/ops/mul_mat.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/rms_norm.h"
#include "weft/ops/rope.h"
#include "weft/ops/sample.h"
#include "weft/ops/soft_cap.h"
#include "weft/ops/step.h"

static bool keep(weft_builder *builder, weft_status status) {
    if (builder->status == WEFT_OK) builder->status = status;
    return status == WEFT_OK;
}

void weft_builder_name(const weft_builder *builder, const char *stem, char name[WEFT_NAME_SIZE]) {
    if (builder->layer < 0)
        snprintf(name, WEFT_NAME_SIZE, "%s", stem);
    else
        snprintf(name, WEFT_NAME_SIZE, "blk.%d.%s", (int)builder->layer, stem);
}

static weft_tensor integers(int64_t n_words, int64_t n_columns) {
    return (weft_tensor){.type = WEFT_I32, .shape = {n_words, n_columns, 1, 1}};
}

static weft_value input(weft_builder *builder, const char *name, weft_tensor tensor) {
    weft_value value = WEFT_NONE;
    if (builder->status == WEFT_OK) keep(builder, weft_graph_input(builder->graph, name, &tensor, &value, builder->error));
    return value;
}

static weft_value computed(weft_builder *builder, const char *name, int64_t n0, int64_t n1) {
    const weft_tensor tensor = {.type = WEFT_F32, .shape = {n0, n1, 1, 1}};
    weft_value value = WEFT_NONE;
    if (builder->status == WEFT_OK) keep(builder, weft_graph_weight(builder->graph, name, &tensor, &value, builder->error));
    return value;
}

static weft_value state(weft_builder *builder, const char *name, weft_tensor tensor) {
    weft_value value = WEFT_NONE;
    if (builder->status == WEFT_OK) keep(builder, weft_graph_state(builder->graph, name, &tensor, &value, builder->error));
    return value;
}

#define MAX_INPUTS 5

typedef struct node_inputs {
    weft_value values[MAX_INPUTS];
    size_t count;
} node_inputs;
#define INPUTS(...) (&(node_inputs){.values = {__VA_ARGS__}, .count = sizeof((weft_value[]){__VA_ARGS__}) / sizeof(weft_value)})

/* Adds a node named after its stem and layer. */
static void node(weft_builder *builder, weft_op op, const char *stem, const node_inputs *given, const void *params, size_t size,
                 weft_value outputs[WEFT_MAX_OUTPUTS]) {
    char name[WEFT_NAME_SIZE];
    weft_value inputs[WEFT_MAX_INPUTS];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = i < given->count ? given->values[i] : WEFT_NONE;
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) outputs[i] = WEFT_NONE;
    if (builder->status != WEFT_OK) return;
    weft_builder_name(builder, stem, name);
    keep(builder, weft_graph_add(builder->graph, op, name, inputs, params, size, outputs, builder->error));
}

/* The same for one output that counts. */
static weft_value simple(weft_builder *builder, weft_op op, const char *stem, const node_inputs *given, const void *params,
                         size_t size) {
    weft_value outputs[WEFT_MAX_OUTPUTS];
    node(builder, op, stem, given, params, size, outputs);
    return outputs[0];
}

/* The state of that name with these changes. */
static weft_value updated(weft_builder *builder, const char *name, const char *update, weft_value updates) {
    const weft_graph_request *request = builder->request;
    weft_value value = state(builder, name, integers(WEFT_SEQUENCE_PAGES + request->max_pages, request->n_sequences));
    return simple(builder, WEFT_OP_SCATTER, update, INPUTS(value, updates), NULL, 0);
}

weft_status weft_builder_begin(weft_builder *builder, const weft_model *model, const weft_graph_request *request,
                               weft_error *error) {
    *builder =
        (weft_builder){.model = model, .request = request, .error = error, .layer = -1, .heads = WEFT_NONE, .residual = WEFT_NONE};
    const bool windowed = request->n_windowed_pages > 0;
    weft_value windowed_updates = WEFT_NONE;
    builder->windowed_sequences = WEFT_NONE;
    if (!keep(builder, weft_graph_create(model->runtime, &builder->graph, error))) return builder->status;
    builder->rows = input(builder, "rows", integers(WEFT_ROW_WORDS, request->n_rows));
    builder->updates = input(builder, "updates", integers(2, request->n_updates));
    if (windowed) windowed_updates = input(builder, "windowed.updates", integers(2, request->n_updates));
    if (request->n_heads > 0) builder->heads = input(builder, "heads", integers(WEFT_HEAD_WORDS, request->n_heads));
    const weft_tensor residual = {.type = WEFT_F32, .shape = {model->hyper.n_embd, request->n_rows, 1, 1}};
    if (request->first_layer > 0) builder->residual = input(builder, "residual", residual);
    for (int kind = 0; kind < WEFT_ROPE_TABLE_COUNT; kind++) builder->rope_tables[kind] = WEFT_NONE;
    builder->sequences = updated(builder, "sequences", "sequences.update", builder->updates);
    if (windowed)
        builder->windowed_sequences = updated(builder, "windowed.sequences", "windowed.sequences.update", windowed_updates);
    return builder->status;
}

weft_status weft_builder_end(weft_builder *builder, weft_graph **graph) {
    if (builder->status == WEFT_OK)
        *graph = builder->graph;
    else
        weft_graph_destroy(builder->graph);
    return builder->status;
}

/* The type is that of the file's tensor. A slice has the part's usual name. */
weft_value weft_build_part(weft_builder *builder, weft_model_part part) {
    const weft_model *model = builder->model;
    char file_name[WEFT_NAME_SIZE], name[WEFT_NAME_SIZE];
    weft_part_place place;
    weft_value value = WEFT_NONE;
    if (!weft_part_find(model->family, &model->hyper, part, &place)) return WEFT_NONE;
    weft_builder_name(builder, place.stem, file_name);
    const weft_model_tensor *found = weft_gguf_tensor_find(model->gguf, file_name);
    if (!found || builder->status != WEFT_OK) return WEFT_NONE;
    const weft_tensor in_graph = weft_model_graph_tensor(found);
    if (!place.sliced) {
        keep(builder, weft_graph_weight(builder->graph, file_name, &in_graph, &value, builder->error));
        return value;
    }
    const weft_tensor tensor = {.type = in_graph.type, .shape = {place.k, place.n, place.n_matrices, 1}};
    const weft_slice slice = {
        .source = file_name, .shape = {place.whole_k, place.whole_n, place.n_matrices, 1}, .first = {place.first_k, place.first_n}};
    weft_builder_name(builder, weft_part_usual[part].stem, name);
    keep(builder, weft_graph_weight_slice(builder->graph, name, &tensor, &slice, &value, builder->error));
    return value;
}

weft_value weft_build_embedding_scale(weft_builder *builder) {
    return computed(builder, "embedding_scale", builder->model->hyper.n_embd, 1);
}

static bool is_windowed(const weft_builder *builder, int32_t window) {
    return window > 0 && builder->request->n_windowed_pages > 0;
}

static weft_value sequences_of(const weft_builder *builder, int32_t window) {
    return is_windowed(builder, window) ? builder->windowed_sequences : builder->sequences;
}

weft_value weft_build_kv_state(weft_builder *builder, int32_t window) {
    char name[WEFT_NAME_SIZE];
    const weft_graph_request *request = builder->request;
    const int64_t n_pages = is_windowed(builder, window) ? request->n_windowed_pages : request->n_pages;
    const weft_hyperparameters *hyper = &builder->model->hyper;
    weft_tensor tensor = {.type = request->kv_type, .shape = {hyper->head_dim, request->page_size, hyper->n_kv_heads, 2 * n_pages}};
    snprintf(name, sizeof name, "kv.%d", (int)builder->layer);
    return state(builder, name, tensor);
}

weft_value weft_build_get_rows(weft_builder *builder, const char *name, weft_value table, weft_value index, weft_value sequences) {
    return simple(builder, WEFT_OP_GET_ROWS, name, INPUTS(table, index, sequences), NULL, 0);
}

weft_value weft_build_mul_mat(weft_builder *builder, const char *stem, weft_value weight, weft_value x, bool extra_precision) {
    const weft_mul_mat_params params = {.extra_precision = extra_precision};
    return simple(builder, WEFT_OP_MUL_MAT, stem, INPUTS(weight, x), &params, sizeof params);
}

weft_value weft_build_add(weft_builder *builder, const char *stem, weft_value a, weft_value b) {
    return simple(builder, WEFT_OP_ADD, stem, INPUTS(a, b), NULL, 0);
}

weft_value weft_build_mul(weft_builder *builder, const char *stem, weft_value a, weft_value b) {
    return simple(builder, WEFT_OP_MUL, stem, INPUTS(a, b), NULL, 0);
}

weft_value weft_build_rms_norm(weft_builder *builder, const char *stem, weft_value x, weft_value weight) {
    weft_tensor columns = {.shape = {1}}, group = {.shape = {1}};
    if (builder->status == WEFT_OK) keep(builder, weft_graph_tensor(builder->graph, x, &columns, builder->error));
    if (builder->status == WEFT_OK) keep(builder, weft_graph_tensor(builder->graph, weight, &group, builder->error));
    const weft_rms_norm_params params = {.epsilon = builder->model->hyper.norm_epsilon,
                                         .n_groups = (int32_t)(columns.shape[0] / group.shape[0])};
    return simple(builder, WEFT_OP_RMS_NORM, stem, INPUTS(x, weight), &params, sizeof params);
}

weft_value weft_build_layer_norm(weft_builder *builder, const char *stem, weft_value x, weft_value weight, weft_value bias) {
    const weft_layer_norm_params params = {.epsilon = builder->model->hyper.norm_epsilon};
    return simple(builder, WEFT_OP_LAYER_NORM, stem, INPUTS(x, weight, bias), &params, sizeof params);
}

weft_value weft_build_soft_cap(weft_builder *builder, const char *stem, weft_value x, float cap) {
    const weft_soft_cap_params params = {.cap = cap};
    return simple(builder, WEFT_OP_SOFT_CAP, stem, INPUTS(x), &params, sizeof params);
}

/* Within the original context, the table for long contexts is not used, and the temperature is 1. */
static weft_rope_kind rope_kind(const weft_builder *builder, weft_layer_rope rope, bool is_query) {
    const weft_hyperparameters *hyper = &builder->model->hyper;
    const bool is_long = builder->request->n_ctx > hyper->rope.n_ctx_original;
    if (rope == WEFT_LAYER_ROPE_LOCAL) return WEFT_ROPE_TABLE_LOCAL;
    if (is_long && hyper->rope_long.n_dims > 0) return WEFT_ROPE_TABLE_LONG;
    return is_long && is_query && hyper->temperature_scale != 0 ? WEFT_ROPE_TABLE_QUERY : WEFT_ROPE_TABLE;
}

weft_value weft_build_rope(weft_builder *builder, const char *stem, weft_value x, weft_layer_rope rope, bool is_query) {
    const weft_model *model = builder->model;
    const weft_rope_params params = {.head_dim = model->hyper.head_dim, .order = model->family->rope_order};
    const weft_rope_kind kind = rope_kind(builder, rope, is_query);
    weft_value *table = &builder->rope_tables[kind];
    if (*table == WEFT_NONE)
        *table = computed(builder, weft_rope_table_name(kind), model->hyper.rope.n_dims, builder->request->n_ctx);
    return simple(builder, WEFT_OP_ROPE, stem, INPUTS(x, builder->rows, *table), &params, sizeof params);
}

weft_value weft_build_activation(weft_builder *builder, const char *part, weft_value x) {
    const bool is_gelu = builder->model->family->activation == WEFT_ACTIVATION_GELU;
    char stem[32];
    snprintf(stem, sizeof stem, "%s_%s", part, is_gelu ? "gelu" : "silu");
    return simple(builder, is_gelu ? WEFT_OP_GELU : WEFT_OP_SILU, stem, INPUTS(x), NULL, 0);
}

weft_routing weft_build_route(weft_builder *builder, const char *stem, weft_value logits, const weft_route_params *params) {
    weft_value outputs[WEFT_MAX_OUTPUTS];
    node(builder, WEFT_OP_ROUTE, stem, INPUTS(logits), params, sizeof *params, outputs);
    return (weft_routing){.ids = outputs[0], .weights = outputs[1]};
}

weft_value weft_build_mul_mat_experts(weft_builder *builder, const char *stem, weft_value weight, weft_value x, weft_value ids) {
    return simple(builder, WEFT_OP_MUL_MAT_EXPERTS, stem, INPUTS(weight, x, ids), NULL, 0);
}

weft_value weft_build_sum_experts(weft_builder *builder, const char *stem, weft_value x, weft_value weights) {
    return simple(builder, WEFT_OP_SUM_EXPERTS, stem, INPUTS(x, weights), NULL, 0);
}

weft_value weft_build_kv_write(weft_builder *builder, weft_value k, weft_value v, weft_value kv, int32_t window) {
    return simple(builder, WEFT_OP_KV_WRITE, "kv_write", INPUTS(k, v, kv, builder->rows, sequences_of(builder, window)), NULL, 0);
}

weft_value weft_build_attention(weft_builder *builder, weft_value q, weft_value kv, int32_t window) {
    const weft_hyperparameters *hyper = &builder->model->hyper;
    const float usual = (float)(1.0 / sqrt((double)hyper->head_dim));
    const weft_attention_params params = {.n_heads = hyper->n_heads,
                                          .scale = hyper->attention_scale != 0 ? hyper->attention_scale : usual,
                                          .window = window,
                                          .soft_cap = hyper->attention_cap};
    return simple(builder, WEFT_OP_ATTENTION, "attention", INPUTS(q, kv, builder->rows, sequences_of(builder, window)), &params,
                  sizeof params);
}

void weft_build_result(weft_builder *builder, weft_value value) {
    if (value != WEFT_NONE && builder->status == WEFT_OK) keep(builder, weft_graph_output(builder->graph, value, builder->error));
}

void weft_build_sample(weft_builder *builder, weft_value logits, weft_value normed) {
    const weft_sample_params params = {.n_top = builder->request->n_top};
    weft_value outputs[WEFT_MAX_OUTPUTS];
    node(builder, WEFT_OP_SAMPLE, "sample", INPUTS(logits, builder->heads, builder->sequences), &params, sizeof params, outputs);
    builder->sequences = outputs[2];
    weft_build_result(builder, outputs[0]);
    if (builder->request->n_top > 0) weft_build_result(builder, outputs[1]);
    if (builder->request->logits) weft_build_result(builder, logits);
    if (builder->request->embeddings) weft_build_result(builder, normed);
}
