/* What becomes of the sums of kernels/fast/product_few.h: some warps of a block add up units and slices and store the results. They
 * keep the largest keys where a choice among the results follows. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_FEW_FINISH_H
#define WEFT_KERNELS_FAST_PRODUCT_FEW_FINISH_H

#include "kernels/fast/product_few_block.h"
#include "kernels/order.h"

/* A row of a band of a column. */
struct weft_few_result {
    int part, column, row; /* part: the first of the band, of the set */
    bool has_bias;
    weft_result at;
};

/* Result number `index` of those whose first band is `band`, of the block; reads what is constant. */
static __device__ inline weft_few_result weft_few_aim(const weft_cuda_product &product, const weft_few &few, int band, int index) {
    weft_few_result result;
    unsigned column = (unsigned)index / WEFT_UNIT_ROWS;
    result.row = index % WEFT_UNIT_ROWS;
    result.column = (int)(column % (unsigned)few.n_columns);
    int of_round = (int)(column / (unsigned)few.n_columns);
    result.part = product.gated ? 2 * of_round : of_round;
    weft_band at =
        product.gated ? weft_band{0, few.first_band + band + of_round} : weft_band_of(product, few.first_band + band + of_round);
    result.has_bias = product.matrices[at.matrix].bias != 0;
    result.at = weft_result_begin(product, at, result.row, few.first_column + result.column);
    return result;
}

/* The sum of a part, in the order that kernels/products.h says. */
static __device__ inline float weft_few_sum(const weft_cuda_product &product, const weft_few &few, const float *partial, int part,
                                            const weft_few_result &result, float power, float factor) {
    const int stride = few.n_columns * WEFT_UNIT_ROWS;
    partial += part * few.n_units * stride + result.column * WEFT_UNIT_ROWS + result.row;
    float total = 0.0f;
    for (int slice = 0, u = 0; slice < few.n_slices; slice++) {
        int end = few.n_units;
        if (slice + 1 < few.n_slices) end = weft_slice_begin(product.n_units, product.n_slices, slice + 1);
        float sum = 0.0f;
        for (; u + 4 <= end; u += 4) { /* so that no load waits for a sum */
            float some[4];
#pragma unroll
            for (int i = 0; i < 4; i++) some[i] = partial[(u + i) * stride];
#pragma unroll
            for (int i = 0; i < 4; i++) sum = __fadd_rn(sum, some[i]);
        }
        for (; u < end; u++) sum = __fadd_rn(sum, partial[u * stride]);
        sum = weft_sized(sum, power, factor);
        total = slice == 0 ? sum : __fadd_rn(total, sum);
    }
    return total;
}

/* Returns the key of the result, if keys are wanted. */
static __device__ inline uint64_t weft_few_store(const weft_cuda_product &product, const weft_few &few, int band,
                                                 const weft_few_result &result, const float *partial, const float *factors) {
    float factor = product.has_norm ? factors[result.column] : 1.0f, up = 0.0f;
    float sum = weft_few_sum(product, few, partial, result.part, result, result.at.power, factor);
    if (product.gated) up = weft_few_sum(product, few, partial, result.part + 1, result, result.at.up_power, factor);
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

/* With the finishing warps. `result` is the thread's first, if it has one in the first round. */
static __device__ inline void weft_few_finish(const weft_cuda_product &product, const weft_few &few, weft_few_result result,
                                              const float *factors) {
    int thread = (int)threadIdx.x - few.n_warps * WEFT_LANES, round = 0;
    if (product.n_keys != 0) weft_few_begin_keys(product, few);
    for (int band = 0; band < few.n_bands; band += product.round_bands, round++) {
        int left = few.n_bands - band,
            n = (left < product.round_bands ? left : product.round_bands) * few.n_columns * WEFT_UNIT_ROWS;
        if (round > 0 && thread < n) {
            result = weft_few_aim(product, few, band, thread);
            weft_result_residual(product, result.at);
        }
        weft_barrier_wait(weft_few_full(product, few, round), round / 2 & 1);
        const float *partial = weft_few_partial(product, few, round);
        for (int i = thread; i - weft_lane() < n; i += product.n_finishers * WEFT_LANES) { /* by whole warps */
            uint64_t key = 0;
            if (i < n) {
                if (i != thread) {
                    result = weft_few_aim(product, few, band, i);
                    weft_result_residual(product, result.at);
                }
                key = weft_few_store(product, few, band, result, partial, factors);
            }
            if (product.n_keys != 0) weft_few_keep_key(product, few, result.column, key);
        }
        __syncwarp();
        if (weft_lane() == 0) weft_barrier_arrive(weft_few_empty(product, few, round));
    }
    if (product.n_keys != 0) weft_few_end_keys(product, few);
}

#endif
