/* The values that every family reads from a file: sizes, norm and rope. */
#ifndef WEFT_DECODER_HYPERPARAMETERS_H
#define WEFT_DECODER_HYPERPARAMETERS_H

#include "weft/rope_table.h"

typedef struct weft_hyperparameters {
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx_train;
    float norm_epsilon;
    weft_rope_options rope; /* freq_factors points into the model */
    /* Set by a family's own keys and its `complete`; otherwise zeros. */
    int32_t n_window;             /* of the layers that have one */
    float embedding_scale;        /* 0: 1 */
    float attention_scale;        /* 0: 1 / sqrt(head_dim) */
    weft_rope_options rope_local; /* of layers with WEFT_LAYER_ROPE_LOCAL; begins as a copy of `rope` */
} weft_hyperparameters;

#endif
