/* The messages of a session, as the chat template sees them, and the text that it made of them. */
#ifndef WEFT_DECODER_CONVERSATION_H
#define WEFT_DECODER_CONVERSATION_H

#include "decoder/chat.h"

typedef struct weft_conversation {
    weft_runtime *runtime;
    weft_render_options options; /* tools, documents, variables and clock; its texts are copies */
    weft_date date;              /* the clock's at the first message, so that a template writes the same date again */
    bool has_date, has_asked;    /* the clock was asked, and gave a date */
    char *messages;              /* a JSON list without its end; NULL: no message */
    size_t size, capacity;       /* bytes of it; there is always room for the end */
    weft_jinja_rendered text;    /* of the messages; no bytes: not rendered yet */
    int32_t n_before;            /* tokens of the session before the text */
    int32_t n_tokens;            /* and with those of the text; all that come later are the answer's */
    weft_token_places places;    /* of special tokens in the text; the index is one of the session's tokens */
    char *begun;                 /* how the answer begins, at the end of the text; NULL: it does not */
    char *system; /* a system message that waits to be put before the first user's, since the template has no place for it */
} weft_conversation;

/* Copies the options' texts; `options` may be NULL. */
weft_status weft_conversation_begin(weft_conversation *conversation, weft_runtime *runtime, const weft_render_options *options,
                                    weft_error *error);
void weft_conversation_end(weft_conversation *conversation);

/* Appends a message whose content are two texts in one. To take it back, set `size` to what it was. */
weft_status weft_conversation_append(weft_conversation *conversation, const char *role, weft_text first, weft_text second,
                                     weft_error *error);
/* Runs the template. `continue_last`: the last message is an answer that has begun. */
weft_status weft_conversation_render(weft_conversation *conversation, const weft_chat *chat, const weft_tokenizer *tokenizer,
                                     bool continue_last, const atomic_bool *cancelled, weft_jinja_rendered *text,
                                     weft_error *error);

#endif
