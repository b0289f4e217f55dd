/* SentencePiece's BPE (Kudo and Richardson 2018): the neighbours whose union has the best score merge first. Text without a token
 * becomes byte tokens. */
#ifndef WEFT_DECODER_SPM_H
#define WEFT_DECODER_SPM_H

#include "decoder/token_sink.h"
#include "decoder/vocabulary.h"

typedef struct weft_spm weft_spm;

/* Reads tokenizer.ggml.scores and .add_space_prefix. `vocabulary` is borrowed. */
weft_status weft_spm_create(weft_runtime *runtime, const weft_gguf *gguf, const weft_vocabulary *vocabulary, weft_spm **spm,
                            weft_error *error);
void weft_spm_destroy(weft_spm *spm);
/* Whether a space is put before a text. */
bool weft_spm_adds_space(const weft_spm *spm);
/* Plain text, of less than 4 GiB. A U+2581 in it becomes byte tokens, so that it does not come back as the space that it stands
 * for in the vocabulary. */
weft_status weft_spm_encode(const weft_spm *spm, const char *text, size_t size, bool add_space, weft_token_sink *sink,
                            weft_error *error);

#endif
