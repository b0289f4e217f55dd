/* Adding to a session, for the files that do so. */
#ifndef WEFT_DECODER_PROMPT_H
#define WEFT_DECODER_PROMPT_H

#include "decoder/engine.h"

/* Tokens that are being added to a session. They are written after the session's tokens, or to memory of their own, without the
 * engine's mutex, which a long text would hold for too long. `adding` prevents other threads from adding to the session or
 * beginning an answer meanwhile. */
typedef struct weft_addition {
    weft_session *session;
    int32_t n_tokens; /* in the session before adding; the next two members are of that time too */
    weft_chat_state chat_state;
    bool ended;
    weft_token_sink sink;
    int32_t n_kept;    /* of the session's tokens; those after them are forgotten */
    weft_token *added; /* the tokens that take their place; NULL: they stand at tokens[n_tokens] already */
    size_t n_added;
} weft_addition;

weft_addition weft_addition_begin(weft_session *session);
/* Adds the tokens, unless `status` says that something failed; their kind is then `state`. Returns the status, with a message for
 * one that has none yet. */
weft_status weft_addition_end(weft_addition *addition, weft_status status, weft_chat_state state, weft_error *error);

/* Goes back to the first turns, whose messages have `size` bytes, and, if it `answers`, to the answer after them. The template
 * writes them anew. Ends the addition. */
weft_status weft_say_again(weft_addition addition, size_t n_turns, bool answers, size_t size, weft_error *error);

#endif
