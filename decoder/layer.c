#include "decoder/layer.h"

#include <stdio.h>

/* The products whose extra precision improves the result most for its cost (docs/benchmarks.md). */
static const bool has_extra_precision[WEFT_PART_COUNT] = {[WEFT_PART_K] = true, [WEFT_PART_V] = true, [WEFT_PART_OUTPUT] = true};

/* y = the part's product with x + its bias, the bias only where the file has one. */
static weft_value project(weft_builder *b, const char *stem, weft_model_part weight, weft_model_part bias, weft_value x) {
    char name[WEFT_NAME_SIZE];
    weft_value y = weft_build_mul_mat(b, stem, weft_build_part(b, weight), x, has_extra_precision[weight]);
    weft_value added = weft_build_part(b, bias);
    snprintf(name, sizeof name, "%s_bias", stem);
    return added == WEFT_NONE ? y : weft_build_add(b, name, y, added);
}

/* x itself where the family has no such norm. */
static weft_value norm(weft_builder *b, const char *stem, weft_model_part part, weft_value x) {
    static const weft_model_part biases[WEFT_PART_COUNT] = {[WEFT_PART_ATTN_NORM] = WEFT_PART_ATTN_NORM_BIAS,
                                                            [WEFT_PART_FFN_NORM] = WEFT_PART_FFN_NORM_BIAS,
                                                            [WEFT_PART_OUTPUT_NORM] = WEFT_PART_OUTPUT_NORM_BIAS};
    weft_value weight = weft_build_part(b, part);
    if (weight == WEFT_NONE) return x;
    if (!b->model->family->layer_norm) return weft_build_rms_norm(b, stem, x, weight);
    return weft_build_layer_norm(b, stem, x, weight, biases[part] ? weft_build_part(b, biases[part]) : WEFT_NONE);
}

static weft_value build_attention(weft_builder *b, const weft_layer_traits *traits, weft_value x) {
    weft_value normed = norm(b, "attn_norm", WEFT_PART_ATTN_NORM, x);
    weft_value q = project(b, "attn_q", WEFT_PART_Q, WEFT_PART_Q_BIAS, normed);
    weft_value k = project(b, "attn_k", WEFT_PART_K, WEFT_PART_K_BIAS, normed);
    weft_value v = project(b, "attn_v", WEFT_PART_V, WEFT_PART_V_BIAS, normed);
    q = norm(b, "attn_q_norm", WEFT_PART_Q_NORM, q);
    k = norm(b, "attn_k_norm", WEFT_PART_K_NORM, k);
    if (traits->rope != WEFT_LAYER_NO_ROPE) {
        q = weft_build_rope(b, "attn_q_rope", q, traits->rope, true);
        k = weft_build_rope(b, "attn_k_rope", k, traits->rope, false);
    }
    weft_value kv = weft_build_kv_write(b, k, v, weft_build_kv_state(b, traits->window), traits->window);
    weft_value y = weft_build_attention(b, q, kv, traits->window);
    y = project(b, "attn_output", WEFT_PART_ATTN_OUTPUT, WEFT_PART_ATTN_OUTPUT_BIAS, y);
    y = norm(b, "attn_post_norm", WEFT_PART_ATTN_POST_NORM, y);
    return weft_build_add(b, "attn_residual", y, x);
}

static weft_value gated(weft_builder *b, const char *part, weft_value gate, weft_value up) {
    char stem[32];
    snprintf(stem, sizeof stem, "%s_gated", part);
    return weft_build_mul(b, stem, weft_build_activation(b, part, gate), up);
}

static weft_value build_plain(weft_builder *b, weft_value x) {
    weft_part_place place;
    weft_value y;
    if (weft_part_find(b->model->family, &b->model->hyper, WEFT_PART_GATE, &place)) {
        weft_value gate = project(b, "ffn_gate", WEFT_PART_GATE, WEFT_PART_GATE_BIAS, x);
        y = gated(b, "ffn", gate, project(b, "ffn_up", WEFT_PART_UP, WEFT_PART_UP_BIAS, x));
    } else {
        y = weft_build_activation(b, "ffn", project(b, "ffn_up", WEFT_PART_UP, WEFT_PART_UP_BIAS, x));
    }
    return project(b, "ffn_down", WEFT_PART_DOWN, WEFT_PART_DOWN_BIAS, y);
}

static weft_value expert_products(weft_builder *b, const char *stem, weft_model_part part, weft_value x, weft_value ids) {
    return weft_build_mul_mat_experts(b, stem, weft_build_part(b, part), x, ids);
}

/* Each row has a few experts of its own. */
static weft_value build_routed(weft_builder *b, weft_value x) {
    const weft_hyperparameters *hyper = &b->model->hyper;
    const weft_route_params params = {.n_chosen = hyper->n_experts_used,
                                      .function = WEFT_ROUTE_SOFT_MAX,
                                      .normalised = !b->model->family->expert_weights_unnormalised,
                                      .scale = hyper->expert_weights_scale != 0 ? hyper->expert_weights_scale : 1};
    weft_value logits = weft_build_mul_mat(b, "ffn_router", weft_build_part(b, WEFT_PART_ROUTER), x, true);
    weft_routing routing = weft_build_route(b, "ffn_route", logits, &params);
    weft_value gate = expert_products(b, "ffn_experts_gate", WEFT_PART_GATE_EXPERTS, x, routing.ids);
    weft_value up = expert_products(b, "ffn_experts_up", WEFT_PART_UP_EXPERTS, x, routing.ids);
    weft_value y = gated(b, "ffn_experts", gate, up);
    y = expert_products(b, "ffn_experts_down", WEFT_PART_DOWN_EXPERTS, y, routing.ids);
    return weft_build_sum_experts(b, "ffn_experts_sum", y, routing.weights);
}

static weft_value shared_product(weft_builder *b, const char *stem, weft_model_part part, weft_value x) {
    return weft_build_mul_mat(b, stem, weft_build_part(b, part), x, false);
}

/* The experts that every row has, as one that is larger. Their weight is 1, or the sigmoid of a logit. */
static weft_value build_shared(weft_builder *b, weft_value x) {
    static const weft_route_params params = {.n_chosen = 1, .function = WEFT_ROUTE_SIGMOID, .scale = 1};
    weft_value gate = shared_product(b, "ffn_shared_gate", WEFT_PART_SHARED_GATE, x);
    weft_value y = gated(b, "ffn_shared", gate, shared_product(b, "ffn_shared_up", WEFT_PART_SHARED_UP, x));
    y = shared_product(b, "ffn_shared_down", WEFT_PART_SHARED_DOWN, y);
    weft_value router = weft_build_part(b, WEFT_PART_SHARED_ROUTER);
    if (router == WEFT_NONE) return y;
    weft_routing routing =
        weft_build_route(b, "ffn_shared_route", weft_build_mul_mat(b, "ffn_shared_router", router, x, true), &params);
    return weft_build_sum_experts(b, "ffn_shared_sum", y, routing.weights);
}

static weft_value build_feed_forward(weft_builder *b, weft_value x) {
    const weft_hyperparameters *hyper = &b->model->hyper;
    weft_value normed = norm(b, "ffn_norm", WEFT_PART_FFN_NORM, x);
    weft_value y = hyper->n_experts > 0 ? build_routed(b, normed) : build_plain(b, normed);
    if (hyper->n_ff_shared > 0) y = weft_build_add(b, "ffn_with_shared", y, build_shared(b, normed));
    y = norm(b, "ffn_post_norm", WEFT_PART_FFN_POST_NORM, y);
    return weft_build_add(b, "ffn_residual", y, x);
}

static weft_value build_embedding(weft_builder *b, weft_value table) {
    weft_value x = weft_build_get_rows(b, "embedding", table, b->rows, b->sequences);
    if (b->model->hyper.embedding_scale == 0) return x;
    return weft_build_mul(b, "embedding_scaled", x, weft_build_embedding_scale(b));
}

/* `embedding`: the table, if the graph has it already. */
static void build_head(weft_builder *b, weft_value embedding, weft_value x) {
    weft_value selected = weft_build_get_rows(b, "head_rows", x, b->heads, WEFT_NONE);
    weft_value normed = norm(b, "output_norm", WEFT_PART_OUTPUT_NORM, selected);
    weft_value output = weft_build_part(b, WEFT_PART_OUTPUT);
    if (output == WEFT_NONE) output = embedding != WEFT_NONE ? embedding : weft_build_part(b, WEFT_PART_EMBEDDING);
    weft_value logits = weft_build_mul_mat(b, "logits", output, normed, has_extra_precision[WEFT_PART_OUTPUT]);
    if (b->model->hyper.logit_cap != 0) logits = weft_build_soft_cap(b, "logits_capped", logits, b->model->hyper.logit_cap);
    weft_build_sample(b, logits, normed);
}

weft_status weft_layers_build(const weft_model *model, const weft_graph_request *request, weft_graph **graph, weft_error *error) {
    weft_builder b;
    if (weft_builder_begin(&b, model, request, error) != WEFT_OK) return weft_builder_end(&b, graph);
    const int32_t end = request->first_layer + request->n_layers;
    weft_value embedding = request->first_layer == 0 ? weft_build_part(&b, WEFT_PART_EMBEDDING) : WEFT_NONE;
    weft_value x = request->first_layer == 0 ? build_embedding(&b, embedding) : b.residual;
    for (b.layer = request->first_layer; b.layer < end; b.layer++) {
        const weft_layer_traits traits = weft_family_layer(model->family, &model->hyper, b.layer);
        x = build_attention(&b, &traits, x);
        x = build_feed_forward(&b, x);
    }
    b.layer = -1;
    if (end < model->hyper.n_layers)
        weft_build_result(&b, x);
    else if (request->n_heads > 0)
        build_head(&b, embedding, x);
    return weft_builder_end(&b, graph);
}
