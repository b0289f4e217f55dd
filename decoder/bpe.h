/* BPE (Sennrich et al. 2016): pieces of text, merged pair by pair in the order of a list. It begins with the text's bytes (Radford
 * et al. 2019) or, if the pre-tokenizer says so, with its characters. */
#ifndef WEFT_DECODER_BPE_H
#define WEFT_DECODER_BPE_H

#include "decoder/pretokenize.h"
#include "decoder/token_sink.h"
#include "decoder/vocabulary.h"

typedef struct weft_bpe weft_bpe;

/* Reads tokenizer.ggml.merges. `pre` is the name of the pre-tokenizer; `vocabulary` is borrowed. */
weft_status weft_bpe_create(weft_runtime *runtime, const weft_gguf *gguf, const weft_vocabulary *vocabulary, weft_text pre,
                            weft_bpe **bpe, weft_error *error);
void weft_bpe_destroy(weft_bpe *bpe);
const weft_pretokenizer *weft_bpe_pretokenizer(const weft_bpe *bpe);
/* Plain text, of less than 4 GiB. Bytes without a token in the vocabulary are dropped. If characters are merged, a U+2581 becomes
 * byte tokens, so that it does not come back as the space that it stands for in the vocabulary. */
weft_status weft_bpe_encode(const weft_bpe *bpe, const char *text, size_t size, weft_token_sink *sink, weft_error *error);

#endif
