/* Dropping the oldest messages of a conversation that is too long. */
#ifndef WEFT_DECODER_DROP_H
#define WEFT_DECODER_DROP_H

#include "decoder/conversation.h"

/* The conversation as it was before the first drop, until it is clear that the rest is enough. Begins as zeros. */
typedef struct weft_dropped {
    char *messages; /* NULL: nothing was dropped */
    size_t size;
    weft_turn *turns;
    size_t n_turns;
    size_t left;              /* bytes of the messages that are left */
    size_t first, n_messages; /* those that were dropped, as weft_session_message_at counts */
} weft_dropped;

/* Drops a user's oldest message, and all up to the user's next one. A system message and the last turn stay: WEFT_NOT_FOUND,
 * without a message, if there is nothing else. The text and its tokens are as they were, until the conversation is rendered anew.
 */
weft_status weft_conversation_drop(weft_conversation *conversation, weft_dropped *dropped, weft_error *error);
/* Keeps what is left if `status` is WEFT_OK; otherwise everything is as it was. */
void weft_conversation_drop_end(weft_conversation *conversation, weft_dropped *dropped, weft_status status);

#endif
