/* What a saved session begins with, and its conversation. The format, in sections (sections.h):
 *
 *     HEAD           what its keys and values are, options, state of the answer: saved.c
 *     TOKENS         4 bytes each
 *     CONVERSATION   messages, and the text that the template made of them
 *     PAGE           any number: the positions in it; 1 if it is complete; then for each layer the page as in the KV state
 *                    (weft/ops/attention.h). Incomplete ones lack the layers with windows
 *     END            empty
 */
#ifndef WEFT_DECODER_SAVED_H
#define WEFT_DECODER_SAVED_H

#include "decoder/cache_copy.h"
#include "decoder/sections.h"

#define WEFT_SAVED_MAGIC "weftsess"
#define WEFT_SAVED_VERSION 2

enum { WEFT_SAVED_HEAD = 1, WEFT_SAVED_TOKENS, WEFT_SAVED_CONVERSATION, WEFT_SAVED_PAGE, WEFT_SAVED_END };

typedef struct weft_saved_head {
    weft_cache_kind kind;
    int32_t page_size;
    int32_t n_tokens;
    int32_t n_generated; /* tokens of the open answer */
    bool answering, ended;
    weft_chat_state chat_state;
    weft_finish finish;            /* of the open answer, if all of it was read */
    weft_session_options options;  /* `sampling` and `when_full`, without callbacks and grammar */
    const char **breakers, **stop; /* lists of `options`, if they were unpacked */
    weft_logit_bias *biases;
    weft_text held; /* bytes of a character of which more must come */
} weft_saved_head;

void weft_saved_pack_head(weft_packed *packed, const weft_saved_head *head);
/* Texts point into the section. WEFT_BAD_FILE if a value cannot be, and WEFT_OUT_OF_MEMORY, without a message. The head is to be
 * released whatever the status. */
weft_status weft_saved_unpack_head(weft_unpacking *from, weft_runtime *runtime, weft_saved_head *head);
void weft_saved_release_head(weft_runtime *runtime, weft_saved_head *head);

void weft_saved_pack_conversation(weft_packed *packed, const weft_conversation *conversation);
/* Fills a conversation that has just begun. The session has n_tokens tokens. WEFT_BAD_FILE without a message if a value cannot be.
 */
weft_status weft_saved_unpack_conversation(weft_unpacking *from, weft_conversation *conversation, int32_t n_tokens,
                                           weft_error *error);

#endif
