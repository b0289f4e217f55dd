/* Tensors and graph of the families of the Llama kind. */
#include <stdio.h>

#include "decoder/families/layer.h"
#include "decoder/hyperparameters.h"

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
