/* Warpgroups, emulated: what kernels/fast/warpgroup.h asks the GPU to do. Copies and products are done at once. */
#ifndef WEFT_KERNELS_FAST_WARPGROUP_H
#define WEFT_KERNELS_FAST_WARPGROUP_H

#include <stdlib.h>

#include "kernels/fast/mma.h"

#define WEFT_HAS_WARPGROUPS 1

/* ---- Barriers ---- */

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

/* ---- Registers ---- */

template <int N> static inline void weft_give_registers() {}

template <int N> static inline void weft_take_registers() {}

/* ---- Products ---- */

static inline void weft_products_begin() {}

static inline void weft_products_commit() {}

template <int LEFT> static inline void weft_products_wait() {}

static inline uint64_t weft_columns_at(const void *columns) {
    return (uint64_t)columns;
}

static inline uint64_t weft_columns_step(uint64_t columns, int step) {
    return columns + (uint64_t)step * 256;
}

template <int N, bool ADD> static inline void weft_multiply_columns(float (&c)[N / 2], const uint32_t (&a)[4], uint64_t b) {
    for (int i = 0; i < N / 8; i++) {
        const uint32_t *own = (const uint32_t *)(b + (uint64_t)i * 1024) + threadIdx.x % 32;
        float sums[4];
        for (int j = 0; j < 4; j++) sums[j] = ADD ? c[4 * i + j] : 0.0f;
        weft_mma(sums, a, own[0], own[32]);
        for (int j = 0; j < 4; j++) c[4 * i + j] = sums[j];
    }
}

#endif
