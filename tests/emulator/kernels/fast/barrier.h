/* Barriers between warps, emulated: what kernels/fast/barrier.h asks the GPU to do. Every other copy is done at once, the others as
 * late as they may be: when a warp waits for them. So tests fail if a kernel does not wait, and if it lets a copy write over what
 * is still read. */
#ifndef WEFT_KERNELS_FAST_BARRIER_H
#define WEFT_KERNELS_FAST_BARRIER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/fast/copy_async.h"

/* In the 64 bits of a barrier. */
struct weft_emulated_barrier {
    uint8_t n, left; /* arrivals of a phase; those that this phase still waits for */
    uint16_t n_ended;
    uint32_t bytes; /* that this phase still waits for */
};

/* Copies that have not come yet. Blocks run one after the other. */
struct weft_emulated_copy {
    void *to;
    const void *from;
    uint32_t bytes;
    uint64_t *barrier;
};

#define WEFT_EMULATED_COPIES 1024
static weft_emulated_copy weft_emulated_copies[WEFT_EMULATED_COPIES];
static int weft_emulated_n_copies;
static bool weft_emulated_copies_late; /* the next one */

static inline void weft_barrier_end_phase(weft_emulated_barrier *barrier) {
    if (barrier->left > 0 || barrier->bytes > 0) return;
    barrier->left = barrier->n;
    barrier->n_ended++;
}

/* Does the copies of a barrier. Returns how many there were. */
static inline int weft_emulated_do_copies(uint64_t *barrier) {
    weft_emulated_barrier *own = (weft_emulated_barrier *)barrier;
    int n_left = 0, n = weft_emulated_n_copies;
    for (int i = 0; i < n; i++) {
        const weft_emulated_copy copy = weft_emulated_copies[i];
        if (copy.barrier != barrier) {
            weft_emulated_copies[n_left++] = copy;
            continue;
        }
        memcpy(copy.to, copy.from, copy.bytes);
        own->bytes -= copy.bytes;
    }
    weft_emulated_n_copies = n_left;
    if (n_left < n) weft_barrier_end_phase(own);
    return n - n_left;
}

static inline void weft_barrier_begin(uint64_t *barrier, uint32_t n) {
    for (int i = 0; i < weft_emulated_n_copies; i++)
        if (weft_emulated_copies[i].barrier == barrier) abort(); /* a block ended before its copies had come */
    *(weft_emulated_barrier *)barrier = {(uint8_t)n, (uint8_t)n, 0, 0};
}

static inline void weft_barriers_begun() {}

static inline void weft_barrier_arrive(uint64_t *barrier) {
    weft_emulated_barrier *own = (weft_emulated_barrier *)barrier;
    own->left--;
    weft_barrier_end_phase(own);
}

static inline void weft_barrier_expect(uint64_t *barrier, uint32_t bytes) {
    ((weft_emulated_barrier *)barrier)->bytes += bytes;
    weft_barrier_arrive(barrier);
}

static inline void weft_barrier_copy(void *to, const void *from, uint32_t bytes, uint64_t *barrier) {
    weft_emulated_barrier *own = (weft_emulated_barrier *)barrier;
    uint32_t under_way = 0;
    for (int i = 0; i < weft_emulated_n_copies; i++)
        if (weft_emulated_copies[i].barrier == barrier) under_way += weft_emulated_copies[i].bytes;
    if ((uintptr_t)to % 16 != 0 || (uintptr_t)from % 16 != 0 || bytes % 16 != 0 || under_way + bytes > own->bytes) abort();
    if (weft_emulated_n_copies == WEFT_EMULATED_COPIES) abort();
    weft_emulated_copies_late = !weft_emulated_copies_late;
    if (!weft_emulated_copies_late) {
        memcpy(to, from, bytes);
        own->bytes -= bytes;
        weft_barrier_end_phase(own);
        return;
    }
    weft_emulated_copies[weft_emulated_n_copies++] = {to, from, bytes, barrier};
}

static inline void weft_barrier_wait(uint64_t *barrier, uint32_t parity) {
    for (int i = 0; (((weft_emulated_barrier *)barrier)->n_ended & 1) == parity; i++) {
        if (i == 1000000) abort(); /* on a GPU it would wait for ever */
        if (weft_emulated_do_copies(barrier) == 0) weft_emulated->pause();
    }
}

#endif
