/* Finds tokens in their order (weft/ops/sample.h), with one block, in runs of up to 1024 tokens. For each run a radix selection
 * finds the largest keys below the previous run's, and a sort orders them. */
#ifndef WEFT_KERNELS_ORDER_H
#define WEFT_KERNELS_ORDER_H

#include "kernels/common.h"

#define WEFT_ORDER_RUN 1024 /* also the threads of the block */
#define WEFT_DIGITS 256

/* In shared memory. */
struct weft_order {
    uint64_t keys[WEFT_ORDER_RUN]; /* the run, in order */
    float weights[WEFT_ORDER_RUN]; /* of its tokens */
    uint32_t digits[WEFT_DIGITS];
    uint64_t below, threshold; /* the keys of earlier runs are `below` or larger */
    int64_t first;             /* place of keys[0] in the whole order */
    int count, needed, at;
};

/* A key whose order is the definition's order of tokens: by logit, and on a tie the lower id has the larger key. */
static __device__ inline uint64_t weft_key(float x, uint32_t id) {
    if (!(x > -WEFT_INFINITY)) x = -WEFT_INFINITY;
    if (x == 0.0f) x = 0.0f; /* -0 is 0 */
    uint32_t bits = (uint32_t)weft_real_to_bits(x);
    bits = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (0xffffffffu - id);
}

static __device__ inline int32_t weft_key_id(uint64_t key) {
    return (int32_t)(0xffffffffu - (uint32_t)key);
}

static __device__ inline float weft_key_logit(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    return weft_bits_to_real((int32_t)(bits >> 31 != 0 ? bits & 0x7fffffffu : ~bits));
}

/* The largest key of groups of lanes, whose number is a power of two; all lanes get it. 0 is below all keys. */
static __device__ inline uint64_t weft_largest_key(uint64_t key, int lanes) {
    for (int half = lanes / 2; half > 0; half /= 2) {
        uint64_t other = __shfl_xor_sync(WEFT_ALL_LANES, key, half);
        key = other > key ? other : key;
    }
    return key;
}

/* All functions from here on are called by the whole block. */
static __device__ inline void weft_order_begin(weft_order &order) {
    __syncthreads();
    if (threadIdx.x == 0) {
        order.below = UINT64_MAX;
        order.first = 0;
        order.count = 0;
    }
    __syncthreads();
}

/* Counts the keys that are below `order.below` and begin with `prefix`, by their next digit. */
static __device__ inline void weft_count_digits(weft_order &order, const float *x, int64_t n, uint64_t prefix, int shift) {
    for (int i = threadIdx.x; i < WEFT_DIGITS; i += blockDim.x) order.digits[i] = 0;
    __syncthreads();
    uint64_t below = order.below;
    for (int64_t i = threadIdx.x; i - weft_lane() < n; i += blockDim.x) {
        uint64_t key = i < n ? weft_key(x[i], (uint32_t)i) : UINT64_MAX;
        bool counts = key < below && (shift == 56 || key >> (shift + 8) == prefix);
        uint32_t digit = counts ? (uint32_t)(key >> shift) & (WEFT_DIGITS - 1) : WEFT_DIGITS;
        /* Lanes with the same digit share one addition: nearly all keys have the same first digits. */
        uint32_t same = __match_any_sync(WEFT_ALL_LANES, digit);
        if (counts && __ffs((int)same) - 1 == weft_lane()) atomicAdd(&order.digits[digit], (uint32_t)__popc(same));
    }
    __syncthreads();
}

/* Sets `threshold` so that exactly `needed` of the keys below `below` are `threshold` or larger. There must be more than `needed`
 * such keys. */
static __device__ inline void weft_find_threshold(weft_order &order, const float *x, int64_t n) {
    uint64_t prefix = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        weft_count_digits(order, x, n, prefix, shift);
        if (threadIdx.x == 0) {
            int digit = WEFT_DIGITS - 1;
            for (; (int)order.digits[digit] < order.needed; digit--) order.needed -= (int)order.digits[digit];
            order.threshold = (prefix << 8 | (uint64_t)digit) << shift;
            if ((int)order.digits[digit] == order.needed) order.needed = 0;
        }
        __syncthreads();
        prefix = order.threshold >> shift;
        if (order.needed == 0) break; /* all with this prefix belong to the run */
    }
}

/* Bitonic sort (Batcher 1968), largest first. */
static __device__ inline void weft_sort_run(weft_order &order) {
    int own = (int)threadIdx.x;
    for (int length = 2; length <= WEFT_ORDER_RUN; length *= 2) {
        for (int distance = length / 2; distance > 0; distance /= 2) {
            int other = own ^ distance;
            uint64_t a = order.keys[own], b = order.keys[other];
            __syncthreads();
            bool wants_larger = (own < other) == ((own & length) == 0);
            order.keys[own] = (a > b) == wants_larger ? a : b;
            __syncthreads();
        }
    }
}

/* Finds the next run of tokens. There must be tokens left. */
static __device__ inline void weft_order_next(weft_order &order, const float *x, int64_t n) {
    __syncthreads();
    int64_t taken = order.first + order.count, left = n - taken;
    int count = left < WEFT_ORDER_RUN ? (int)left : WEFT_ORDER_RUN;
    __syncthreads();
    if (threadIdx.x == 0) {
        order.threshold = 0;
        order.needed = count;
        order.first = taken;
        order.count = count;
        order.at = 0;
    }
    order.keys[threadIdx.x] = 0;
    __syncthreads();
    if (left > WEFT_ORDER_RUN) weft_find_threshold(order, x, n);
    uint64_t below = order.below, threshold = order.threshold;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        uint64_t key = weft_key(x[i], (uint32_t)i);
        if (key < below && key >= threshold) order.keys[atomicAdd(&order.at, 1)] = key;
    }
    __syncthreads();
    weft_sort_run(order);
    if (threadIdx.x == 0) order.below = order.keys[count - 1];
    __syncthreads();
}

/* Goes back to the first run, which may still be in shared memory. */
static __device__ inline void weft_order_first(weft_order &order, const float *x, int64_t n) {
    __syncthreads();
    if (order.count > 0 && order.first == 0) return;
    weft_order_begin(order);
    weft_order_next(order, x, n);
}

#endif
