/* Cutting text into the pieces that byte-level BPE merges within. */
#ifndef WEFT_DECODER_PRETOKENIZE_H
#define WEFT_DECODER_PRETOKENIZE_H

#include "decoder/gguf.h"

typedef struct weft_pretokenizer weft_pretokenizer;

/* The pre-tokenizer of that tokenizer.ggml.pre; WEFT_UNSUPPORTED where it is not known. */
weft_status weft_pretokenizer_create(weft_runtime *runtime, const char *path, weft_text name, weft_pretokenizer **pretokenizer,
                                     weft_error *error);
/* Whether texts of that tokenizer.ggml.pre are merged by characters, and the vocabulary has SentencePiece's spelling. */
bool weft_pretokenizer_merges_characters(weft_text name);
void weft_pretokenizer_destroy(weft_pretokenizer *pretokenizer);
/* The name it goes by in a description, and whether a piece that is a token as a whole is not merged. */
const char *weft_pretokenizer_name(const weft_pretokenizer *pretokenizer);
bool weft_pretokenizer_ignores_merges(const weft_pretokenizer *pretokenizer);
/* Whether a BOS is added if the file does not decide it. */
bool weft_pretokenizer_adds_bos(const weft_pretokenizer *pretokenizer);

/* Calls `piece` for each piece in order. Together the pieces are the text. A run of bytes that is not UTF-8 is a piece. */
typedef weft_status (*weft_piece_function)(void *user, const char *text, size_t size, weft_error *error);
weft_status weft_pretokenize(const weft_pretokenizer *pretokenizer, const char *text, size_t size, weft_piece_function piece,
                             void *user, weft_error *error);

#endif
