/* The pool of KV-cache pages. A page that was given back is free once the last step that reads or writes it has ended. Steps are
 * numbered from 1 in the order in which they were queued. */
#ifndef WEFT_DECODER_PAGES_H
#define WEFT_DECODER_PAGES_H

#include "weft/weft.h"

typedef struct weft_page_waiting {
    int32_t page;
    uint64_t step;
} weft_page_waiting;

typedef struct weft_pages {
    weft_runtime *runtime;
    int32_t n_pages, n_free, n_waiting, first_waiting;
    int32_t *free;              /* a stack */
    weft_page_waiting *waiting; /* a ring, in the order of their steps: given back, but still in use by a step */
    uint64_t ended;             /* the last step that has ended */
} weft_pages;

weft_status weft_pages_create(weft_pages *pages, weft_runtime *runtime, int32_t n_pages, weft_error *error);
void weft_pages_destroy(weft_pages *pages);

/* Takes n pages or none: WEFT_OUT_OF_PAGES. */
weft_status weft_pages_take(weft_pages *pages, int32_t n, int32_t *taken, weft_error *error);
/* The page is free when `last_step`, the last queued one that may use it, has ended. */
void weft_pages_give(weft_pages *pages, int32_t page, uint64_t last_step);
/* Steps up to this one have ended. */
void weft_pages_step_ended(weft_pages *pages, uint64_t step);

#endif
