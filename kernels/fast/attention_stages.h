/* Keys and values on their way into shared memory, for attention_tiles.cu: two or three pieces are there or under way at a time. */
#ifndef WEFT_KERNELS_FAST_ATTENTION_STAGES_H
#define WEFT_KERNELS_FAST_ATTENTION_STAGES_H

#include "kernels/fast/attention.h"
#include "kernels/fast/copy_async.h"

#define THREADS (WARPS * WEFT_LANES)

/* A position's values are in vectors of 8, whose order differs from position to position, so that a warp's loads come from all
 * banks. */
template <int HEAD> struct weft_stage { uint4 keys[PIECE][HEAD / 8], values[PIECE][HEAD / 8]; };

/* Both are the same for positions that are 8 apart. */
static __device__ inline int weft_key_vector(int position, int vector) {
    return vector ^ position % 2 * 4;
}

static __device__ inline int weft_value_vector(int position, int vector) {
    return vector ^ position / 2 % 4 * 2;
}

/* Begins to copy a piece, whose keys are zeros if `keys` is null. Values outside [seen.low, seen.high) are left out: they may be
 * NaN, which would make a NaN with a weight of 0 too. */
template <int HEAD>
static __device__ inline void weft_copy_stage(const weft_pieces &pieces, const uint16_t *keys, const weft_seen &seen, int piece,
                                              weft_stage<HEAD> &to) {
    int first = (int)threadIdx.x / (HEAD / 8), vector = (int)threadIdx.x % (HEAD / 8), position = piece * PIECE + first;
    const uint4 *own = (const uint4 *)(keys == nullptr ? pieces.data : keys) + threadIdx.x;
    const uint4 *own_values = keys == nullptr ? own : own + pieces.to_values / 8;
    uint4 *key = &to.keys[first][weft_key_vector(first, vector)], *value = &to.values[first][weft_value_vector(first, vector)];
#pragma unroll
    for (int i = 0; i < PIECE * HEAD / 8; i += THREADS) weft_copy_piece_or_zeros(key + i, own + i, keys != nullptr);
#pragma unroll
    for (int i = 0; i < PIECE * HEAD / 8; i += THREADS, position += THREADS / (HEAD / 8))
        weft_copy_piece_or_zeros(value + i, own_values + i, keys != nullptr && position >= seen.low && position < seen.high);
}

/* The block's stages, which it uses in turn. */
template <int HEAD> struct weft_stages {
    weft_stage<HEAD> *all;
    int n, now; /* `now` is multiplied next; the one before it is filled next */

    __device__ inline weft_stage<HEAD> &to_fill() const { return all[now == 0 ? n - 1 : now - 1]; }
    /* Waits for stage `now` and until all warps have left the one before. Each piece is one group of copies; after the last piece,
     * groups are empty. */
    __device__ inline void wait() const {
        if (n == 2)
            weft_wait_pieces<0>();
        else
            weft_wait_pieces<1>();
        __syncthreads();
    }
    __device__ inline void next() { now = now + 1 == n ? 0 : now + 1; }
};

#endif
