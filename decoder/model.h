/* An open model file: hyperparameters, tokenizer and family. */
#ifndef WEFT_DECODER_MODEL_H
#define WEFT_DECODER_MODEL_H

#include "decoder/chat.h"
#include "decoder/gguf.h"
#include "decoder/tokenizer.h"
#include "weft/rope_table.h"

struct weft_family; /* decoder/family.h */

typedef struct weft_hyperparameters {
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx_train;
    float norm_epsilon;
    weft_rope_options rope; /* freq_factors points into the model */
    /* What a family's own keys and `complete` set; zeros otherwise. */
    int32_t n_window;             /* of the layers that have one */
    float embedding_scale;        /* 0: 1 */
    float attention_scale;        /* 0: 1 / sqrt(head_dim) */
    weft_rope_options rope_local; /* of layers with WEFT_LAYER_ROPE_LOCAL; begins as a copy of `rope` */
} weft_hyperparameters;

struct weft_model {
    weft_runtime *runtime;
    char *path;
    char *name;
    weft_gguf *gguf;
    weft_tokenizer *tokenizer;
    weft_chat *chat; /* NULL: no known format, for chat_reason */
    const char *chat_reason;
    const struct weft_family *family; /* NULL in a file that holds only a vocabulary of another family */
    weft_hyperparameters hyper;       /* all checked; zeros without weights */
    float *freq_factors;
    bool has_weights;
    bool *expected; /* of each tensor, while the model is opened: whether the family knows it */
};

/* weft_model_open for a family that need not be one of those that weft_family_find knows. NULL: the one that the file names. */
weft_status weft_model_open_as(weft_runtime *runtime, const char *path, const struct weft_family *family, weft_model **model,
                               weft_error *error);

#endif
