/* The pool of KV-cache pages. */
#include "decoder/pages.h"

weft_status weft_pages_create(weft_pages *pages, weft_runtime *runtime, int32_t n_pages, weft_error *error) {
    size_t n = (size_t)n_pages;
    *pages = (weft_pages){.runtime = runtime, .n_pages = n_pages, .n_free = n_pages};
    pages->free = weft_allocate(runtime, n * sizeof *pages->free);
    pages->waiting = weft_allocate(runtime, n * sizeof *pages->waiting);
    if (!pages->free || !pages->waiting) {
        weft_pages_destroy(pages);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the list of %d KV-cache pages", (int)n_pages);
    }
    /* The lowest page is taken first. */
    for (int32_t i = 0; i < n_pages; i++) pages->free[i] = n_pages - 1 - i;
    return WEFT_OK;
}

void weft_pages_destroy(weft_pages *pages) {
    weft_release(pages->runtime, pages->free);
    weft_release(pages->runtime, pages->waiting);
    *pages = (weft_pages){.runtime = pages->runtime};
}

weft_status weft_pages_take(weft_pages *pages, int32_t n, int32_t *taken, weft_error *error) {
    if (n > pages->n_free)
        return weft_fail(error, WEFT_OUT_OF_PAGES, "%d KV-cache pages are needed and %d of %d are free", (int)n, (int)pages->n_free,
                         (int)pages->n_pages);
    for (int32_t i = 0; i < n; i++) taken[i] = pages->free[--pages->n_free];
    return WEFT_OK;
}

void weft_pages_give(weft_pages *pages, int32_t page, uint64_t last_step) {
    if (last_step <= pages->ended) {
        pages->free[pages->n_free++] = page;
        return;
    }
    int32_t place = (int32_t)(((int64_t)pages->first_waiting + pages->n_waiting) % pages->n_pages);
    pages->waiting[place] = (weft_page_waiting){.page = page, .step = last_step};
    pages->n_waiting++;
}

void weft_pages_step_ended(weft_pages *pages, uint64_t step) {
    if (step > pages->ended) pages->ended = step;
    while (pages->n_waiting > 0 && pages->waiting[pages->first_waiting].step <= pages->ended) {
        pages->free[pages->n_free++] = pages->waiting[pages->first_waiting].page;
        pages->first_waiting = (pages->first_waiting + 1) % pages->n_pages;
        pages->n_waiting--;
    }
}
