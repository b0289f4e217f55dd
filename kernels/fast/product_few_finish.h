/* What becomes of the sums of kernels/fast/product_few.h: some warps of a block add up units and slices and store the results,
 * rotated where they are queries and keys. They keep the largest keys where a choice among the results follows. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_FEW_FINISH_H
#define WEFT_KERNELS_FAST_PRODUCT_FEW_FINISH_H

#include "kernels/fast/product_few_rotate.h"
#include "kernels/order.h"

/* With the finishing warps: asks for what is constant of the first results. */
static __device__ inline void weft_few_prefetch(const weft_cuda_product &product, const weft_few &few) {
    int part = (int)threadIdx.x - few.n_warps * WEFT_LANES;
    if (part >= few.n_parts) return;
    weft_band at = weft_few_band(product, few, part);
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    weft_prefetch((const float *)matrix.powers + at.band * WEFT_UNIT_ROWS);
    if (matrix.bias != 0) weft_prefetch((const float *)matrix.bias + at.band * WEFT_UNIT_ROWS);
}

/* Result number `index` of those whose first band is `band`, of the block. */
static __device__ inline weft_few_result weft_few_aim(const weft_cuda_product &product, const weft_few &few, int band, int index) {
    weft_few_result result;
    unsigned column = (unsigned)index / WEFT_UNIT_ROWS;
    result.row = index % WEFT_UNIT_ROWS;
    result.column = (int)(column % (unsigned)few.n_columns);
    result.part = weft_few_pair(&product) * (int)(column / (unsigned)few.n_columns);
    weft_band at = weft_few_band(product, few, weft_few_pair(&product) * band + result.part);
    result.has_bias = product.matrices[at.matrix].bias != 0;
    result.at = weft_result_begin(product, at, result.row, few.first_column + result.column);
    if (product.pair_bands > 0) weft_few_aim_second(product, at, result);
    return result;
}

/* Adds up `n` units of a part, and of the other part of a pair, whose sums are `other` further on; without a pair the second sum
 * is 0. No load waits for a sum, and the loop is short: one warp runs it while all others wait. */
static __device__ inline void weft_few_add_units(const float *partial, int stride, int n, bool is_pair, int other,
                                                 float (&sums)[2]) {
    sums[0] = sums[1] = 0.0f;
#pragma unroll 1
    for (; n >= 4; n -= 4, partial += 4 * stride) {
        float some[2][4] = {};
#pragma unroll
        for (int i = 0; i < 4; i++) some[0][i] = partial[i * stride];
        if (is_pair) {
#pragma unroll
            for (int i = 0; i < 4; i++) some[1][i] = partial[other + i * stride];
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            sums[0] = __fadd_rn(sums[0], some[0][i]);
            sums[1] = __fadd_rn(sums[1], some[1][i]);
        }
    }
#pragma unroll 1
    for (; n > 0; n--, partial += stride) {
        sums[0] = __fadd_rn(sums[0], *partial);
        if (is_pair) sums[1] = __fadd_rn(sums[1], partial[other]);
    }
}

/* The sums of a part, and of the other part of a pair, in the order that kernels/products.h says. */
static __device__ inline void weft_few_sums(const weft_cuda_product &product, const weft_few &few, const float *partial,
                                            const weft_few_result &result, float factor, float (&totals)[2]) {
    const int stride = few.n_columns * WEFT_UNIT_ROWS;
    const bool is_pair = weft_few_pair(&product) == 2;
    partial += result.part * few.n_units * stride + result.column * WEFT_UNIT_ROWS + result.row;
    totals[0] = totals[1] = 0.0f;
#pragma unroll 1
    for (int slice = 0, begin = 0; slice < few.n_slices; slice++) {
        int end = few.n_units;
        if (slice + 1 < few.n_slices) end = weft_few_slice_begin(product, slice + 1);
        float sums[2];
        weft_few_add_units(partial + begin * stride, stride, end - begin, is_pair, few.n_units * stride, sums);
        float first = weft_sized(sums[0], result.at.power, factor), second = weft_sized(sums[1], result.at.up_power, factor);
        totals[0] = slice == 0 ? first : __fadd_rn(totals[0], first);
        totals[1] = slice == 0 ? second : __fadd_rn(totals[1], second);
        begin = end;
    }
}

/* Returns the key of the result, if keys are wanted. */
static __device__ inline uint64_t weft_few_store(const weft_cuda_product &product, const weft_few &few, int band,
                                                 const weft_few_result &result, float sum, float up) {
    if (few.n_slices == product.n_slices) {
        sum = weft_result_end(product, result.has_bias, result.at, sum, up);
        if (product.n_keys == 0 || result.at.y == nullptr) return 0;
        return weft_key(sum, (uint32_t)((few.first_band + band + result.part) * WEFT_UNIT_ROWS + result.row));
    }
    int of_round = product.gated ? result.part / 2 : result.part;
    weft_keep_slice(product, few.slice, few.first_band + band + of_round, result.row, few.first_column + result.column, sum, up);
    return 0;
}

/* The largest keys of a group of 16 lanes, which finishes whole bands of columns. */
static __device__ inline uint64_t *weft_few_keys(const weft_cuda_product &product, const weft_few &few) {
    int group = ((int)threadIdx.x - few.n_warps * WEFT_LANES) / WEFT_UNIT_ROWS;
    return (uint64_t *)(few.memory + product.places.keys) + group * WEFT_FEW_COLUMNS;
}

static __device__ inline void weft_few_begin_keys(const weft_cuda_product &product, const weft_few &few) {
    if (weft_lane() % WEFT_UNIT_ROWS < WEFT_FEW_COLUMNS) weft_few_keys(product, few)[weft_lane() % WEFT_UNIT_ROWS] = 0;
    __syncwarp();
}

static __device__ inline void weft_few_keep_key(const weft_cuda_product &product, const weft_few &few, int column, uint64_t key) {
    key = weft_largest_key(key, WEFT_UNIT_ROWS);
    uint64_t *kept = weft_few_keys(product, few) + column;
    if (weft_lane() % WEFT_UNIT_ROWS == 0 && key > *kept) *kept = key;
}

static __device__ inline void weft_few_end_keys(const weft_cuda_product &product, const weft_few &few) {
    __syncwarp();
    int column = weft_lane() % WEFT_UNIT_ROWS, group = ((int)threadIdx.x - few.n_warps * WEFT_LANES) / WEFT_UNIT_ROWS;
    uint64_t *keys = (uint64_t *)product.keys + (int64_t)blockIdx.x * product.n_finishers * WEFT_FEW_KEYS + group;
    if (column < few.n_columns) keys[(few.first_column + column) * product.n_keys] = weft_few_keys(product, few)[column];
}

/* What the norm multiplies columns with, for each finishing warp. */
static __device__ inline const float *weft_few_factors(const weft_cuda_product &product, const weft_few &few) {
    float *factors = (float *)(few.memory + product.places.factors) + (few.warp - few.n_warps) * WEFT_FEW_COLUMNS;
    const float *squares = (const float *)(few.memory + product.places.squares) + weft_lane() * product.n_units;
    if (product.has_norm && weft_lane() < few.n_columns)
        factors[weft_lane()] = weft_norm_factor(squares, product.n_units, product.k, product.epsilon);
    __syncwarp();
    return factors;
}

/* With the finishing warps. What a result needs is read before its sums are ready. */
static __device__ inline void weft_few_finish(const weft_cuda_few &argument, const weft_few &few) {
    const weft_cuda_product &product = argument.product;
    int thread = (int)threadIdx.x - few.n_warps * WEFT_LANES, round = 0;
    const float *factors = weft_few_factors(product, few);
    if (product.n_keys != 0) weft_few_begin_keys(product, few);
    for (int band = 0; band < few.n_bands; band += product.round_bands, round++) {
        int left = few.n_bands - band,
            n = (left < product.round_bands ? left : product.round_bands) * few.n_columns * WEFT_UNIT_ROWS;
        const float *partial = weft_few_partial(product, few, round);
        for (int i = thread;; i += product.n_finishers * WEFT_LANES) { /* by whole warps */
            weft_few_result result = {};
            weft_few_target target = {};
            float sums[2] = {0.0f, 0.0f};
            uint64_t key = 0;
            if (i < n) {
                result = weft_few_aim(product, few, band, i);
                weft_result_residual(product, result.at);
                if (product.rotates) target = weft_few_target_of(argument, few, band, result);
            }
            if (i == thread) weft_barrier_wait(weft_few_full(product, few, round), round / 2 & 1);
            if (i - weft_lane() >= n) break;
            if (i < n) {
                float factor = product.has_norm ? factors[result.column] : 1.0f;
                weft_few_sums(product, few, partial, result, factor, sums);
                if (!product.rotates) key = weft_few_store(product, few, band, result, sums[0], sums[1]);
            }
            if (product.rotates) weft_few_rotate(product, result, target, i < n, sums[0], sums[1]);
            if (product.n_keys != 0) weft_few_keep_key(product, few, result.column, key);
        }
        __syncwarp();
        if (weft_lane() == 0) weft_barrier_arrive(weft_few_empty(product, few, round));
    }
    if (product.n_keys != 0) weft_few_end_keys(product, few);
}

#endif
