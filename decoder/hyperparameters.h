/* The values that every family reads from a file: sizes, norm and rope. */
#ifndef WEFT_DECODER_HYPERPARAMETERS_H
#define WEFT_DECODER_HYPERPARAMETERS_H

#include "weft/rope_table.h"

typedef struct weft_hyperparameters {
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx_train;
    /* A routed feed-forward part; n_experts 0: a plain one. */
    int32_t n_experts, n_experts_used, n_ff_expert;
    int32_t n_ff_shared;        /* of the experts that every row has, as one; 0: there are none */
    float expert_weights_scale; /* 0: 1 */
    float norm_epsilon;
    weft_rope_options rope;      /* freq_factors points into the model */
    weft_rope_options rope_long; /* used instead in contexts above rope.n_ctx_original; n_dims 0: there is none */
    /* Set by a family's own keys and its `complete`; otherwise zeros. */
    int32_t n_window;               /* of the layers that have one; 0: no layer has */
    int32_t window_period;          /* the last of so many layers has no window */
    float embedding_scale;          /* 0: 1 */
    float residual_scale;           /* of what a layer adds; for `complete` alone */
    float attention_scale;          /* 0: 1 / sqrt(head_dim) */
    float logit_scale;              /* 0: 1 */
    float attention_cap, logit_cap; /* soft caps of scores and logits; 0: none */
    float temperature_scale;   /* queries at position p are multiplied by 1 + temperature_scale ln(1 + floor(p / n_ctx_original)) */
    float yarn_log_multiplier; /* for `complete` alone */
    float local_freq_base;     /* for `complete` alone */
    weft_rope_options rope_local; /* of layers with WEFT_LAYER_ROPE_LOCAL; begins as a copy of `rope` */
} weft_hyperparameters;

#endif
