/* An open model file: hyperparameters, tokenizer and family. */
#ifndef WEFT_DECODER_MODEL_H
#define WEFT_DECODER_MODEL_H

#include "decoder/chat.h"
#include "decoder/family.h"
#include "decoder/gguf.h"
#include "decoder/grammar_trie.h"
#include "decoder/tokenizer.h"

struct weft_model {
    weft_runtime *runtime;
    char *path;
    char *name;
    weft_gguf *gguf;
    weft_tokenizer *tokenizer;
    weft_chat *chat;                    /* NULL: no format */
    weft_error chat_error;              /* why; WEFT_NOT_FOUND: there is no template */
    const weft_family *family;          /* NULL in a file that holds only a vocabulary of another family */
    weft_hyperparameters hyper;         /* all checked; zeros without weights */
    float *freq_factors, *long_factors; /* of hyper.rope and hyper.rope_long */
    bool has_weights;
    const weft_model_tensor *unreadable; /* the first tensor of a type that weft cannot read; NULL: there is none */
    _Atomic(grammar_trie *) trie;        /* of grammars; NULL until there is one */
    bool *expected;                      /* of each tensor, while the model is opened: whether the family knows it */
};

/* weft_model_open for a family that need not be one of those that weft_family_find knows. NULL: the one that the file names. */
weft_status weft_model_open_as(weft_runtime *runtime, const char *path, const weft_family *family, weft_model **model,
                               weft_error *error);

/* ---- For the files that open a model ---- */

/* Fills in model->hyper (and its factors) from the keys ARCHITECTURE.*, "token_embd.weight" and the tensors with rope factors.
 * model->family and model->tokenizer are set. WEFT_BAD_FILE if a value is missing, invalid or contradicts another. WEFT_UNSUPPORTED
 * if weft does not support a value. */
weft_status weft_hyperparameters_read(weft_model *model, weft_error *error);

/* The tensor of that name, which must be [k, n]: a matrix of any type for weights, or with n = 1 a vector in F32, F16 or BF16.
 * `tensor` may be NULL, and receives NULL where an optional one is not there or weft cannot read its type. Every tensor that is
 * used is asked for while the model is opened: a file that holds any other is refused, since its results would be silently wrong.
 */
weft_status weft_model_expect(weft_model *model, const char *name, int64_t k, int64_t n, bool optional,
                              const weft_model_tensor **tensor, weft_error *error);

/* The tensor as graphs have it: a vector (norm, bias) is F32 there, whether the file has F32, F16 or BF16. */
weft_tensor weft_model_graph_tensor(const weft_model_tensor *tensor);
/* Reads bytes of it, in that type. */
weft_status weft_model_read_tensor(const weft_model *model, const weft_model_tensor *tensor, uint64_t offset, void *into,
                                   size_t size, weft_error *error);

/* The tables of sines and cosines that graphs have as weights. */
typedef enum weft_rope_kind {
    WEFT_ROPE_TABLE,
    WEFT_ROPE_TABLE_LOCAL,
    WEFT_ROPE_TABLE_LONG,  /* hyper.rope_long */
    WEFT_ROPE_TABLE_QUERY, /* hyper.rope times the temperature, for queries */
    WEFT_ROPE_TABLE_COUNT
} weft_rope_kind;
const char *weft_rope_table_name(weft_rope_kind kind);

/* Expects every part of the family, with its shape. */
weft_status weft_model_expect_parts(weft_model *model, weft_error *error);

/* Fails with the name of the first tensor that the family does not know. */
weft_status weft_model_check_expected(const weft_model *model, weft_error *error);

#endif
