/* Text to tokens and back: byte-level BPE (Sennrich et al. 2016; GPT-2's byte alphabet) and SentencePiece's BPE with scores and
 * byte fallback (Kudo and Richardson 2018). */
#ifndef WEFT_DECODER_TOKENIZER_H
#define WEFT_DECODER_TOKENIZER_H

#include "decoder/gguf.h"
#include "decoder/token_sink.h"

typedef struct weft_tokenizer weft_tokenizer;

/* From the file's tokenizer.ggml.* keys, all of which are checked. The texts are borrowed from `gguf`. WEFT_UNSUPPORTED names an
 * unknown tokenizer or pre-tokenizer. */
weft_status weft_tokenizer_create(weft_runtime *runtime, const weft_gguf *gguf, weft_tokenizer **tokenizer, weft_error *error);
void weft_tokenizer_destroy(weft_tokenizer *tokenizer);

int32_t weft_tokenizer_size(const weft_tokenizer *tokenizer);
const char *weft_tokenizer_name(const weft_tokenizer *tokenizer); /* "bpe smollm" */
weft_token weft_tokenizer_bos(const weft_tokenizer *tokenizer);
weft_token weft_tokenizer_eos(const weft_tokenizer *tokenizer);
bool weft_tokenizer_ends(const weft_tokenizer *tokenizer, weft_token token);
/* The special token whose text is exactly this, or WEFT_NO_TOKEN. */
weft_token weft_tokenizer_special(const weft_tokenizer *tokenizer, const char *text);
/* The longest special token that begins a text, or WEFT_NO_TOKEN. */
weft_token weft_tokenizer_special_at(const weft_tokenizer *tokenizer, const char *text, size_t size);
/* Bytes of the longest special token. */
size_t weft_tokenizer_longest_special(const weft_tokenizer *tokenizer);
/* Makes a special token a control token, whatever the file's type, and with `ends` one that ends an answer: for the markers of a
 * chat format. Call it before the tokenizer is used by other threads. */
void weft_tokenizer_claim(weft_tokenizer *tokenizer, weft_token token, bool ends);

/* The bytes of one token as they are in text, control tokens' included. The token is of the vocabulary; the bytes live as long as
 * the tokenizer. Unlike weft_tokenizer_decode this undoes no space put before a text, so it is what to use token by token. */
weft_text weft_tokenizer_bytes(const weft_tokenizer *tokenizer, weft_token token);
/* Whether weft_detokenize leaves the token out without `special`. */
bool weft_tokenizer_is_control(const weft_tokenizer *tokenizer, weft_token token);

/* As weft_tokenize, but with the two effects of `special` apart. User-defined tokens are recognised in any text, control tokens
 * only with `find_special`: the longest at each place. */
weft_status weft_tokenizer_encode(const weft_tokenizer *tokenizer, const char *text, size_t size, bool add_bos_eos,
                                  bool find_special, weft_token *tokens, size_t capacity, size_t *count, weft_error *error);
/* The same, after the tokens that the sink holds. With a bounded sink, a text that cannot fit ends with WEFT_FULL as soon as that
 * is certain, usually before its first token. `count` is then a lower bound. So a bounded sink needs memory for at most its
 * capacity times the bytes of the longest token, however long the text is. WEFT_CANCELLED soon after the sink's flag is set. */
weft_status weft_tokenizer_append(const weft_tokenizer *tokenizer, const char *text, size_t size, bool add_bos_eos,
                                  bool find_special, weft_token_sink *sink, weft_error *error);
/* The same with special tokens found, but control tokens only where `own` is set for each of their bytes. The text comes after the
 * token `before`; WEFT_NO_TOKEN: it is the first. */
weft_status weft_tokenizer_append_marked(const weft_tokenizer *tokenizer, weft_token before, const char *text,
                                         const unsigned char *own, size_t size, weft_token_sink *sink, weft_error *error);
/* WEFT_FULL as above if text of these bytes cannot fit, without `find_special`. */
weft_status weft_tokenizer_check_room(const weft_tokenizer *tokenizer, const char *text, size_t size, weft_token_sink *sink,
                                      weft_error *error);
/* As weft_detokenize. */
weft_status weft_tokenizer_decode(const weft_tokenizer *tokenizer, const weft_token *tokens, size_t n_tokens, bool special,
                                  char *text, size_t capacity, size_t *size, weft_error *error);

#endif
