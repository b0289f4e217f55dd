/* The messages of a session, as the chat template sees them, and the text that it made of them. */
#ifndef WEFT_DECODER_CONVERSATION_H
#define WEFT_DECODER_CONVERSATION_H

#include "decoder/chat.h"
#include "weft/session.h"

/* What a call of weft_session_say or weft_session_begin left. Of those that are not stale, the text and the tokens of each are the
 * beginning of the next one's. */
typedef struct weft_turn {
    weft_role role;
    bool begins;             /* it is the beginning of an answer, and no message */
    bool after_answer;       /* there is an answer between the turn before and this one */
    bool ended;              /* and an end token at its end */
    bool rewrote;            /* the template wrote that answer, or what is before it, differently than before */
    bool stale;              /* the template has written this turn differently since */
    bool puts_system;        /* its message begins with the system message */
    int32_t first, n_tokens; /* of the session's tokens: the first of its own, and all up to its end */
    size_t size_before;      /* of the messages before it, with the answer */
    size_t size;             /* and with its own */
    size_t text_size;        /* of the text that the template made of them */
    char *begun;             /* the beginning of the answer, at the end of the text; NULL: none */
} weft_turn;

typedef struct weft_conversation {
    weft_runtime *runtime;
    weft_render_options options; /* tools, documents, variables and clock; its texts are copies */
    weft_date date;              /* the clock's at the first message, so that a template writes the same date again */
    bool has_date, has_asked;    /* the clock was asked, and gave a date */
    char *messages;              /* a JSON list without its end; NULL: no message */
    size_t size, capacity;       /* bytes of it; there is always room for the end */
    weft_jinja_rendered text;    /* of the messages; no bytes: not rendered yet */
    int32_t n_before;            /* tokens of the session before the text */
    int32_t n_tokens;            /* and with those of the text; those that come later are the answer's */
    weft_token_places places;    /* of special tokens in the text; the index is one of the session's tokens */
    char *system; /* a system message that is put before the first user's, since the template has no place for it or, if it is a
                   * message, may have none */
    weft_turn *turns;
    size_t n_turns, max_turns;
    bool is_cut;   /* the tokens after the first `end` are a message's without its end: they belong to no message any more */
    bool is_ended; /* of the answer that ends there: an end token is its last; this and `end` count only if is_cut */
    int32_t end;
} weft_conversation;

/* Copies the options' texts; `options` may be NULL. */
weft_status weft_conversation_begin(weft_conversation *conversation, weft_runtime *runtime, const weft_render_options *options,
                                    weft_error *error);
void weft_conversation_end(weft_conversation *conversation);
/* Makes a conversation that has just begun, with the same options, the same as another one. */
weft_status weft_conversation_copy(weft_conversation *conversation, const weft_conversation *from, weft_error *error);

/* Appends a message whose content are two texts in one. To take it back, set `size` to what it was. */
weft_status weft_conversation_append(weft_conversation *conversation, const char *role, weft_text first, weft_text second,
                                     weft_error *error);
/* The last turn; NULL: none. */
weft_turn *weft_conversation_last(const weft_conversation *conversation);
/* Whether a message has been rendered. */
bool weft_conversation_begun(const weft_conversation *conversation);
/* Whether the tokens before the session's token `end` end with an answer. */
bool weft_conversation_answered(const weft_conversation *conversation, int32_t end);
/* Makes room for one more turn. */
weft_status weft_conversation_reserve(weft_conversation *conversation, weft_error *error);
/* Forgets all turns but the first. */
void weft_conversation_keep_turns(weft_conversation *conversation, size_t n_turns);
/* The template has written a new text, which shares `shared` bytes and n_kept tokens with the old one. */
void weft_conversation_rewritten(weft_conversation *conversation, size_t shared, int32_t n_kept);
/* Runs the template. `continue_last`: the last message is an answer that has begun. */
weft_status weft_conversation_render(weft_conversation *conversation, const weft_chat *chat, const weft_tokenizer *tokenizer,
                                     bool continue_last, const atomic_bool *cancelled, weft_jinja_rendered *text,
                                     weft_error *error);

#endif
