/* An allocator for tests. It counts, has a budget, and lets a chosen allocation fail. Any thread may use it. */
#ifndef WEFT_TESTS_LIMITED_ALLOCATOR_H
#define WEFT_TESTS_LIMITED_ALLOCATOR_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "weft/weft.h"

typedef struct limited_allocator {
    atomic_size_t live, peak;    /* bytes */
    atomic_size_t n_live, n_all; /* allocations */
    size_t budget;               /* bytes that may be live at once; 0: no limit */
    size_t fail_at;              /* number of the allocation that fails, from 1; 0: none */
    bool fail_after;             /* all later ones fail too */
} limited_allocator;

static inline void *limited_allocate(void *user, size_t size, size_t alignment) {
    limited_allocator *limits = user;
    size_t n = ++limits->n_all;
    if (limits->fail_at && (limits->fail_after ? n >= limits->fail_at : n == limits->fail_at)) return NULL;
    if (limits->budget && limits->live + size > limits->budget) return NULL;
    void *memory = weft_os_aligned_allocate(size, alignment);
    if (!memory) return NULL;
    size_t live = atomic_fetch_add(&limits->live, size) + size;
    limits->n_live++;
    if (live > limits->peak) limits->peak = live;
    memset(memory, 0xa5, size);
    return memory;
}

static inline void limited_release(void *user, void *memory, size_t size) {
    limited_allocator *limits = user;
    limits->live -= size;
    limits->n_live--;
    weft_os_aligned_free(memory);
}

/* A runtime with this allocator, or NULL. */
static inline weft_runtime *limited_runtime(limited_allocator *limits) {
    weft_allocator allocator = {.allocate = limited_allocate, .release = limited_release, .user = limits};
    weft_runtime *runtime = NULL;
    weft_runtime_create(&(weft_runtime_options){.allocator = &allocator}, &runtime, NULL);
    return runtime;
}

#endif
