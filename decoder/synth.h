/* Parts of weft_synth: shapes, vocabulary and random blocks. */
#ifndef WEFT_DECODER_SYNTH_H
#define WEFT_DECODER_SYNTH_H

#include "decoder/gguf_write.h"
#include "decoder/mix.h"

/* An entry ARCHITECTURE.SUFFIX of the family's own: a text, or a number. */
typedef struct weft_synth_entry {
    const char *suffix; /* NULL past the last */
    const char *text;
    bool is_real;
    double number;
    bool is_period; /* a flag for each layer: 0 for the last of so many, 1 for the others */
} weft_synth_entry;

typedef struct weft_synth_model {
    const char *name;
    const char *family;
    int32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx_train;
    float norm_epsilon, freq_base;
    bool tied;                    /* the output head is the embedding */
    float freq_factor;            /* 0, or the context extension of Llama 3.1's frequency factors */
    const weft_synth_entry *keys; /* NULL: none */
} weft_synth_model;

typedef enum weft_synth_role {
    WEFT_SYNTH_HEAD, /* the output matrix, also where it is the embedding */
    WEFT_SYNTH_MATRIX,
    WEFT_SYNTH_NORM,
    WEFT_SYNTH_BIAS,
    WEFT_SYNTH_FREQ_FACTORS,
    WEFT_SYNTH_LONG_FACTORS
} weft_synth_role;

/* NULL where there is none of that name. */
const weft_synth_model *weft_synth_model_find(const char *name);

/* The tokenizer.* entries. */
void weft_synth_vocabulary(weft_gguf_writer *writer, const weft_synth_model *model);

/* Writes blocks first .. first + n - 1 of a tensor of that type, whose weights have the given standard deviation, into `into`.
 * What a block holds depends on key and number only. */
void weft_synth_blocks(weft_type type, uint64_t key, uint64_t first, size_t n, float deviation, unsigned char *into);
/* A key for tensor `index` of a file. */
uint64_t weft_synth_key(uint64_t seed, uint64_t index);
/* Number `index` of a stream, uniform in -1 .. 1. */
float weft_synth_uniform(uint64_t key, uint64_t index);

/* weft_synth with a shape that need not be one of the table's. */
weft_status weft_synth_write(weft_runtime *runtime, const weft_synth_model *model, const weft_mix *mix,
                             const weft_synth_options *options, const char *path, weft_error *error);

#endif
