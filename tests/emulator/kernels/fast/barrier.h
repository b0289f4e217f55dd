/* Barriers between warps, emulated: what kernels/fast/barrier.h asks the GPU to do. Copies are done at once. */
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

static inline void weft_barrier_end_phase(weft_emulated_barrier *barrier) {
    if (barrier->left > 0 || barrier->bytes > 0) return;
    barrier->left = barrier->n;
    barrier->n_ended++;
}

static inline void weft_barrier_begin(uint64_t *barrier, uint32_t n) {
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
    if ((uintptr_t)to % 16 != 0 || (uintptr_t)from % 16 != 0 || bytes % 16 != 0 || bytes > own->bytes) abort();
    memcpy(to, from, bytes);
    own->bytes -= bytes;
    weft_barrier_end_phase(own);
}

static inline void weft_barrier_wait(uint64_t *barrier, uint32_t parity) {
    for (int i = 0; (((weft_emulated_barrier *)barrier)->n_ended & 1) == parity; i++) {
        if (i == 1000000) abort(); /* on a GPU it would wait for ever */
        weft_emulated->pause();
    }
}

#endif
