/* A model's chat format: a template, parsed, and what was found out by rendering short conversations with it. */
#ifndef WEFT_DECODER_CHAT_H
#define WEFT_DECODER_CHAT_H

#include "decoder/jinja/jinja.h"
#include "decoder/tokenizer.h"

typedef struct weft_chat {
    weft_runtime *runtime;
    weft_jinja *parsed;
    bool takes_system; /* it writes the text of a system message */
    bool refuses;      /* it refuses the conversations that would show this: the first message shows it */
    weft_token close;  /* the special token after an answer, which ends it; or WEFT_NO_TOKEN */
    char name[64];
} weft_chat;

/* The format of a template. The markers between its messages become control tokens of the tokenizer, and the one after an answer
 * ends answers. WEFT_BAD_FILE or WEFT_UNSUPPORTED where the template cannot be read; the message says where. */
weft_status weft_chat_create(weft_runtime *runtime, weft_text source, const char *name, weft_tokenizer *tokenizer, weft_chat **chat,
                             weft_error *error);
void weft_chat_destroy(weft_chat *chat);

/* Runs a template with the tokenizer's BOS and EOS. `input` is complete but for those. */
weft_status weft_chat_render(const weft_jinja *parsed, const weft_tokenizer *tokenizer, weft_jinja_input input,
                             const weft_jinja_limits *limits, weft_jinja_rendered *rendered, weft_error *error);
/* Whether the template has written this text, but for white space around it, which was given to it. */
bool weft_chat_has(const weft_jinja_rendered *rendered, weft_text text);
void weft_chat_release(weft_runtime *runtime, weft_jinja_rendered *rendered);

/* The template that weft has under this name; an empty text where it has none. */
weft_text weft_chat_named(const char *name);

#endif
