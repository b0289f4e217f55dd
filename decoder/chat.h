/* Chat formats: the token sequences that frame messages. Sessions do not run the file's template, as decoder/render.c does. It is
 * compared with the known ones, and the texts that it adds are taken from it. */
#ifndef WEFT_DECODER_CHAT_H
#define WEFT_DECODER_CHAT_H

#include "decoder/tokenizer.h"

typedef struct weft_chat weft_chat;

/* The format of the file's tokenizer.chat_template. Where there is none `*chat` is NULL, the status WEFT_OK, and `reason` a static
 * text saying why: no template, an unknown one, or markers that are not in the vocabulary. The format's markers become control
 * tokens of the tokenizer, and the one that closes a message ends answers. */
weft_status weft_chat_create(weft_runtime *runtime, const weft_gguf *gguf, weft_tokenizer *tokenizer, weft_chat **chat,
                             const char **reason, weft_error *error);
void weft_chat_destroy(weft_chat *chat);
const char *weft_chat_name(const weft_chat *chat);

/* Appends the tokens of one message; `first` is set for the first of a conversation (a BOS, a default system message where the
 * template has one). The text is plain: nothing in it becomes a special token. In place of a date from the clock, this uses the
 * date that the template names for hosts without a clock. Statuses as of weft_tokenizer_append. */
weft_status weft_chat_message(const weft_chat *chat, const weft_tokenizer *tokenizer, bool first, weft_role role, const char *text,
                              size_t size, weft_token_sink *sink, weft_error *error);
/* What comes before the assistant's answer, and what must follow the last token of an answer before the next message. */
weft_status weft_chat_begin_answer(const weft_chat *chat, const weft_tokenizer *tokenizer, weft_token_sink *sink,
                                   weft_error *error);
weft_status weft_chat_end_answer(const weft_chat *chat, const weft_tokenizer *tokenizer, weft_token last, weft_token_sink *sink,
                                 weft_error *error);

#endif
