/* Tensors and graph of the families of the Llama kind. */
#include <stdio.h>

#include "decoder/families/layer.h"
#include "decoder/hyperparameters.h"

/* A tensor of a layer: k and n as in weft_model_expect. */
typedef struct layer_tensor {
    const char *stem;
    int64_t k, n;
    bool optional;
} layer_tensor;

static weft_status expect_layer(struct weft_model *model, int32_t layer, const layer_tensor *tensors, size_t n_tensors,
                                weft_error *error) {
    weft_builder b = {.layer = layer};
    for (size_t i = 0; i < n_tensors; i++) {
        char name[WEFT_NAME_SIZE];
        weft_builder_name(&b, tensors[i].stem, name);
        weft_status status = weft_model_expect(model, name, tensors[i].k, tensors[i].n, tensors[i].optional, NULL, error);
        if (status != WEFT_OK) return status;
    }
    return WEFT_OK;
}

weft_status weft_layers_read(struct weft_model *model, const weft_layer_style *style, weft_error *error) {
    weft_status status = weft_hyperparameters_read(model, error);
    if (status != WEFT_OK) return status;
    const weft_hyperparameters *hyper = &model->hyper;
    const int64_t n_embd = hyper->n_embd, n_ff = hyper->n_ff;
    const int64_t n_q = (int64_t)hyper->head_dim * hyper->n_heads, n_kv = (int64_t)hyper->head_dim * hyper->n_kv_heads;
    const layer_tensor tensors[] = {
        {"attn_norm.weight", n_embd, 1, false},
        {"attn_q.weight", n_embd, n_q, false},
        {"attn_k.weight", n_embd, n_kv, false},
        {"attn_v.weight", n_embd, n_kv, false},
        {"attn_q.bias", n_q, 1, !style->needs_qkv_bias},
        {"attn_k.bias", n_kv, 1, !style->needs_qkv_bias},
        {"attn_v.bias", n_kv, 1, !style->needs_qkv_bias},
        {"attn_output.weight", n_q, n_embd, false},
        {"attn_output.bias", n_embd, 1, true},
        {"ffn_norm.weight", n_embd, 1, false},
        {"ffn_gate.weight", n_embd, n_ff, false},
        {"ffn_gate.bias", n_ff, 1, true},
        {"ffn_up.weight", n_embd, n_ff, false},
        {"ffn_up.bias", n_ff, 1, true},
        {"ffn_down.weight", n_ff, n_embd, false},
        {"ffn_down.bias", n_embd, 1, true},
    };
    for (int32_t layer = 0; layer < hyper->n_layers && status == WEFT_OK; layer++)
        status = expect_layer(model, layer, tensors, sizeof tensors / sizeof *tensors, error);
    if (status == WEFT_OK) status = weft_model_expect(model, "token_embd.weight", n_embd, hyper->n_vocab, false, NULL, error);
    if (status == WEFT_OK) status = weft_model_expect(model, "output_norm.weight", n_embd, 1, false, NULL, error);
    if (status == WEFT_OK) status = weft_model_expect(model, "output.weight", n_embd, hyper->n_vocab, true, NULL, error);
    return status;
}

/* y = STEM.weight x + STEM.bias, the bias only where the file has one. */
static weft_value project(weft_builder *b, const char *stem, weft_value x) {
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "%s.weight", stem);
    weft_value y = weft_build_mul_mat(b, stem, weft_build_weight(b, name), x);
    snprintf(name, sizeof name, "%s.bias", stem);
    weft_value bias = weft_build_weight(b, name);
    snprintf(name, sizeof name, "%s_bias", stem);
    return bias == WEFT_NONE ? y : weft_build_add(b, name, y, bias);
}

static weft_value build_attention(weft_builder *b, int32_t rope_order, weft_value x) {
    weft_value normed = weft_build_rms_norm(b, "attn_norm", x, weft_build_weight(b, "attn_norm.weight"));
    weft_value q = project(b, "attn_q", normed);
    weft_value k = project(b, "attn_k", normed);
    weft_value v = project(b, "attn_v", normed);
    q = weft_build_rope(b, "attn_q_rope", q, rope_order);
    k = weft_build_rope(b, "attn_k_rope", k, rope_order);
    weft_value kv = weft_build_kv_write(b, k, v, weft_build_kv_state(b));
    weft_value y = weft_build_attention(b, q, kv);
    y = project(b, "attn_output", y);
    return weft_build_add(b, "attn_residual", y, x);
}

static weft_value build_feed_forward(weft_builder *b, weft_value x) {
    weft_value normed = weft_build_rms_norm(b, "ffn_norm", x, weft_build_weight(b, "ffn_norm.weight"));
    weft_value gate = project(b, "ffn_gate", normed);
    weft_value up = project(b, "ffn_up", normed);
    weft_value y = weft_build_mul(b, "ffn_gated", weft_build_silu(b, "ffn_silu", gate), up);
    y = project(b, "ffn_down", y);
    return weft_build_add(b, "ffn_residual", y, x);
}

static void build_head(weft_builder *b, weft_value embedding, weft_value x) {
    weft_value selected = weft_build_get_rows(b, "head_rows", x, b->heads, WEFT_NONE);
    weft_value normed = weft_build_rms_norm(b, "output_norm", selected, weft_build_weight(b, "output_norm.weight"));
    weft_value output = weft_build_weight(b, "output.weight");
    weft_build_sample(b, weft_build_mul_mat(b, "logits", output == WEFT_NONE ? embedding : output, normed));
}

weft_status weft_layers_build(const struct weft_model *model, const weft_layer_style *style, const weft_graph_request *request,
                              weft_graph **graph, weft_error *error) {
    weft_builder b;
    if (weft_builder_begin(&b, model, request, error) != WEFT_OK) return weft_builder_end(&b, graph);
    weft_value embedding = weft_build_weight(&b, "token_embd.weight");
    weft_value x = weft_build_get_rows(&b, "embedding", embedding, b.rows, b.sequences);
    for (b.layer = 0; b.layer < model->hyper.n_layers; b.layer++) {
        x = build_attention(&b, style->rope_order, x);
        x = build_feed_forward(&b, x);
    }
    b.layer = -1;
    if (request->n_heads > 0) build_head(&b, embedding, x);
    return weft_builder_end(&b, graph);
}
