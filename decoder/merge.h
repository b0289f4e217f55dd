/* Merging of neighbouring symbols, best pair first, for byte-level BPE and SentencePiece's BPE. */
#ifndef WEFT_DECODER_MERGE_H
#define WEFT_DECODER_MERGE_H

#include "decoder/token_sink.h"

typedef struct weft_symbol {
    weft_token token;        /* WEFT_NO_TOKEN: text that is no token */
    uint32_t start;          /* in the text */
    uint32_t previous, next; /* WEFT_NO_SYMBOL at the ends */
} weft_symbol;
#define WEFT_NO_SYMBOL UINT32_MAX

#define WEFT_SYMBOLS_INSIDE 64

typedef struct weft_merger {
    weft_runtime *runtime;
    /* Whether two neighbours can be merged, into what, and how early (lower first; the leftmost of equals). `end` is where the
     * right one ends in the text. */
    bool (*pair)(const void *user, const weft_symbol *left, const weft_symbol *right, uint32_t end, uint32_t *order,
                 weft_token *token);
    const void *user;
    const atomic_bool *cancelled; /* may be NULL */
    weft_symbol *symbols;         /* symbols_inside or allocated */
    uint64_t *queue;              /* heap of order << 32 | left symbol */
    size_t n_symbols, capacity, n_queued, queue_capacity;
    uint32_t text_size;
    weft_symbol symbols_inside[WEFT_SYMBOLS_INSIDE];
    uint64_t queue_inside[WEFT_SYMBOLS_INSIDE];
} weft_merger;

void weft_merger_init(weft_merger *merger, weft_runtime *runtime, const atomic_bool *cancelled);
void weft_merger_clear(weft_merger *merger);
/* Begins a new text, and adds a symbol at its end. */
void weft_merger_begin(weft_merger *merger, uint32_t text_size);
weft_status weft_merger_add(weft_merger *merger, weft_token token, uint32_t start, weft_error *error);
/* Merges until nothing can be merged. Then symbol 0 is the first (where there are any), and `next` leads through what is left.
 * WEFT_CANCELLED, without a message, soon after `cancelled` is set. */
weft_status weft_merger_run(weft_merger *merger, weft_error *error);
/* Where a symbol ends in the text. */
uint32_t weft_merger_end(const weft_merger *merger, const weft_symbol *symbol);

#endif
