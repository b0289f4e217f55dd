/* An allocator for tests: counts, has a budget, and fails a chosen allocation. */
#ifndef WEFT_TESTS_LIMITED_ALLOCATOR_H
#define WEFT_TESTS_LIMITED_ALLOCATOR_H

#include <stdlib.h>

#include "weft/weft.h"

typedef struct limited_allocator {
    size_t live, peak;    /* bytes */
    size_t n_live, n_all; /* allocations */
    size_t budget;        /* bytes that may be live at once; 0: no limit */
    size_t fail_at;       /* number of the allocation that fails, from 1; 0: none */
    bool fail_after;      /* all later ones fail too */
} limited_allocator;

static inline void *limited_allocate(void *user, size_t size, size_t alignment) {
    limited_allocator *limits = user;
    limits->n_all++;
    if (limits->fail_at && (limits->fail_after ? limits->n_all >= limits->fail_at : limits->n_all == limits->fail_at)) return NULL;
    if (limits->budget && limits->live + size > limits->budget) return NULL;
    void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (!memory) return NULL;
    limits->live += size;
    limits->n_live++;
    if (limits->live > limits->peak) limits->peak = limits->live;
    return memory;
}

static inline void limited_release(void *user, void *memory, size_t size) {
    limited_allocator *limits = user;
    limits->live -= size;
    limits->n_live--;
    free(memory);
}

/* A runtime on it, or NULL. */
static inline weft_runtime *limited_runtime(limited_allocator *limits) {
    weft_allocator allocator = {limited_allocate, limited_release, limits};
    weft_runtime *runtime = NULL;
    weft_runtime_create(&(weft_runtime_options){.allocator = &allocator}, &runtime, NULL);
    return runtime;
}

#endif
