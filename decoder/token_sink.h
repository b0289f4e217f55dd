/* Where tokens go as a text is tokenized. */
#ifndef WEFT_DECODER_TOKEN_SINK_H
#define WEFT_DECODER_TOKEN_SINK_H

#include <stdatomic.h>
#include <string.h>

#include "weft/decoder.h"

/* Where special tokens begin: each one's place in the text and among the sink's tokens. The last of them are kept. */
#define WEFT_MAX_PLACES 16
typedef struct weft_token_places {
    struct weft_token_place {
        size_t at, index;
    } items[WEFT_MAX_PLACES];
    size_t n;
} weft_token_places;

static inline void weft_token_places_add(weft_token_places *places, size_t at, size_t index) {
    if (places->n == WEFT_MAX_PLACES) memmove(places->items, places->items + 1, --places->n * sizeof *places->items);
    places->items[places->n++] = (struct weft_token_place){at, index};
}

/* Receives tokens. All tokens are counted; the first `capacity` are written. */
typedef struct weft_token_sink {
    weft_token *tokens; /* may be NULL where `capacity` is 0 */
    size_t capacity, count;
    bool bounded;                 /* more than `capacity` tokens are an error: see weft_tokenizer_append */
    const atomic_bool *cancelled; /* ends the work soon after it is set; may be NULL */
    weft_token_places *places;    /* may be NULL */
} weft_token_sink;

static inline void weft_token_put(weft_token_sink *sink, weft_token token) {
    if (sink->count < sink->capacity) sink->tokens[sink->count] = token;
    sink->count++;
}

static inline bool weft_token_cancelled(const atomic_bool *cancelled) {
    return cancelled && atomic_load_explicit(cancelled, memory_order_relaxed);
}

/* Whether to continue with a text: WEFT_OK, WEFT_FULL or WEFT_CANCELLED, without a message. */
static inline weft_status weft_token_go_on(const weft_token_sink *sink) {
    if (sink->bounded && sink->count > sink->capacity) return WEFT_FULL;
    return weft_token_cancelled(sink->cancelled) ? WEFT_CANCELLED : WEFT_OK;
}

#endif
