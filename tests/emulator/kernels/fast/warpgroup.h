/* Warpgroups, emulated: what kernels/fast/warpgroup.h asks the GPU to do. Products are done at once. */
#ifndef WEFT_KERNELS_FAST_WARPGROUP_H
#define WEFT_KERNELS_FAST_WARPGROUP_H

#include <stdlib.h>

#include "kernels/fast/barrier.h"
#include "kernels/fast/mma.h"

#define WEFT_HAS_WARPGROUPS 1

/* ---- Registers ---- */

template <int N> static inline void weft_give_registers() {}

template <int N> static inline void weft_take_registers() {}

/* ---- Products ---- */

static inline void weft_products_begin() {}

static inline void weft_products_commit() {}

template <int LEFT> static inline void weft_products_wait() {}

static inline void weft_copies_follow() {}

typedef uint64_t weft_columns;

static inline weft_columns weft_columns_at(const void *columns) {
    return (weft_columns)columns;
}

static inline weft_columns weft_columns_after(weft_columns columns, int bytes) {
    return columns + (weft_columns)bytes;
}

template <int N, bool ADD> static inline void weft_multiply_columns(float (&c)[N / 2], const uint32_t (&a)[4], weft_columns b) {
    for (int i = 0; i < N / 8; i++) {
        const uint32_t *own = (const uint32_t *)(b + (uint64_t)i * 1024) + threadIdx.x % 32;
        float sums[4];
        for (int j = 0; j < 4; j++) sums[j] = ADD ? c[4 * i + j] : 0.0f;
        weft_mma(sums, a, own[0], own[32]);
        for (int j = 0; j < 4; j++) c[4 * i + j] = sums[j];
    }
}

#endif
