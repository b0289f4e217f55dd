/* Chat formats: the token sequences that frame messages. Known formats are recognised from the file's template by its markers. */
#ifndef WEFT_DECODER_CHAT_H
#define WEFT_DECODER_CHAT_H

#include "decoder/tokenizer.h"

typedef struct weft_chat weft_chat; /* one known format; constant */

/* The format of the file's tokenizer.chat_template, or NULL with `reason` (static text) saying why there is none: no template, an
 * unknown one, or markers that are not in the vocabulary. */
const weft_chat *weft_chat_find(const weft_gguf *gguf, const weft_tokenizer *tokenizer, const char **reason);
const char *weft_chat_name(const weft_chat *chat);

/* Appends the tokens of one message; `first` is set for the first of a conversation (a BOS, a default system message where the
 * template has one). The text is plain: nothing in it becomes a special token. Same capacity rule as weft_tokenize. */
weft_status weft_chat_message(const weft_chat *chat, const weft_tokenizer *tokenizer, bool first, weft_role role, const char *text,
                              size_t size, weft_token *tokens, size_t capacity, size_t *count, weft_error *error);
/* What comes before the assistant's answer, and what must follow the end token of an answer before the next message. */
weft_status weft_chat_begin_answer(const weft_chat *chat, const weft_tokenizer *tokenizer, weft_token *tokens, size_t capacity,
                                   size_t *count, weft_error *error);
weft_status weft_chat_end_answer(const weft_chat *chat, const weft_tokenizer *tokenizer, weft_token last, weft_token *tokens,
                                 size_t capacity, size_t *count, weft_error *error);

#endif
