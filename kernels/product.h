/* Products of a weight matrix with F32 columns, summed in lanes. A warp computes one row and up to 16 columns. */
#ifndef WEFT_KERNELS_PRODUCT_H
#define WEFT_KERNELS_PRODUCT_H

#include "kernels/format.h"

#define WEFT_TILE_COLUMNS 16

/* A warp's place in a launch over rows (x) and tiles of columns (y). */
static __device__ inline int64_t weft_product_row() {
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / WEFT_LANES;
}

/* Products of one chunk, each rounded. */
template <int FORMAT>
static __device__ inline void weft_products_of(const uint8_t *weights, int64_t k, const float *__restrict__ x, int64_t chunk,
                                               float (&products)[8]) {
    weft_values_of<FORMAT>(weights, k, chunk, weft_lane(), products);
#pragma unroll
    for (int group = 0; group < 8; group++) products[group] *= x[chunk * 256 + group * 32];
}

static __device__ inline float weft_add_each(float sum, const float (&products)[8]) {
#pragma unroll
    for (int group = 0; group < 8; group++) sum += products[group];
    return sum;
}

/* A lane's sum over the whole chunks of a row with one column. The products of two chunks are computed before their sums, so that
 * the loads of both chunks overlap: the warp has no other work to hide their latency (docs/benchmarks.md). */
template <int FORMAT> static __device__ inline float weft_dot_of(const uint8_t *weights, int64_t k, const float *__restrict__ x) {
    int64_t n_chunks = k / 256, chunk = 0;
    float sum = 0.0f, products[8], next[8];
    for (; chunk + 2 <= n_chunks; chunk += 2) {
        weft_products_of<FORMAT>(weights, k, x, chunk, products);
        weft_products_of<FORMAT>(weights, k, x, chunk + 1, next);
        sum = weft_add_each(weft_add_each(sum, products), next);
    }
    if (chunk == n_chunks) return sum;
    weft_products_of<FORMAT>(weights, k, x, chunk, products);
    return weft_add_each(sum, products);
}

/* One copy of the code of all formats in a kernel. Inlined in the loop over a gate and `up`, it had a hundred addresses prepared
 * and kept in memory, and products of BF16 took twice as long (docs/benchmarks.md). */
static __device__ __noinline__ float weft_dot(int format, const uint8_t *weights, int64_t k, const float *__restrict__ x) {
    switch (format) {
#define EACH(FORMAT)                                                                                                               \
    case FORMAT:                                                                                                                   \
        return weft_dot_of<FORMAT>(weights, k, x);
        WEFT_EACH_FORMAT(EACH)
#undef EACH
    }
    return 0.0f;
}

/* Adds a chunk's products with one column. */
static __device__ inline void weft_add_products(const float (&values)[8], const float *__restrict__ column, float &sum) {
#pragma unroll
    for (int group = 0; group < 8; group++) sum += values[group] * column[group * 32];
}

/* The same for several columns: each weight is unpacked once. In a whole tile no branch keeps the loads of a column from beginning
 * before the sums of the columns before it. */
static __device__ inline void weft_dot_each(int format, const uint8_t *weights, int64_t k, const float *__restrict__ x, int count,
                                            float (&sums)[WEFT_TILE_COLUMNS]) {
    for (int64_t chunk = 0; chunk < k / 256; chunk++) {
        float values[8];
        weft_values(format, weights, k, chunk, weft_lane(), values);
        const float *first = x + chunk * 256;
        if (count == WEFT_TILE_COLUMNS) {
#pragma unroll
            for (int c = 0; c < WEFT_TILE_COLUMNS; c++) weft_add_products(values, first + c * k, sums[c]);
            continue;
        }
#pragma unroll
        for (int c = 0; c < WEFT_TILE_COLUMNS; c++)
            if (c < count) weft_add_products(values, first + c * k, sums[c]);
    }
}

/* Dot products of row `row` with columns [first, first + count). `count` is 1 .. WEFT_TILE_COLUMNS, and 1 if ONE. All lanes get all
 * dot products. */
template <bool ONE>
static __device__ inline void weft_dots(const weft_cuda_tensor &matrix, int64_t row, const float *__restrict__ x, int64_t first,
                                        int count, float (&sums)[WEFT_TILE_COLUMNS]) {
    int64_t k = matrix.shape[0];
    int format = weft_format_of(matrix), lane = weft_lane();
    const uint8_t *weights = weft_at<const uint8_t>(matrix) + row * weft_row_bytes(format, k);
    x += first * k + lane;
    if (ONE) count = 1;
#pragma unroll
    for (int c = 0; c < WEFT_TILE_COLUMNS; c++) sums[c] = 0.0f;
    if (ONE)
        sums[0] = weft_dot(format, weights, k, x);
    else
        weft_dot_each(format, weights, k, x, count, sums);
    for (int64_t i = k / 256 * 256 + lane; i < k; i += WEFT_LANES) {
        float value = weft_value(format, weights, k, i);
#pragma unroll
        for (int c = 0; c < WEFT_TILE_COLUMNS; c++)
            if (c < count) sums[c] += value * x[c * k + (i - lane)];
    }
#pragma unroll
    for (int c = 0; c < WEFT_TILE_COLUMNS; c++)
        if (c < count) sums[c] = weft_combine(sums[c]);
}

/* Element `lane` of the sums, for lanes below WEFT_TILE_COLUMNS. Each of these lanes completes one column. */
static __device__ inline float weft_own_sum(const float (&sums)[WEFT_TILE_COLUMNS]) {
    float own = 0.0f;
#pragma unroll
    for (int c = 0; c < WEFT_TILE_COLUMNS; c++)
        if (weft_lane() == c) own = sums[c];
    return own;
}

/* Two kernels from one body, which is a template over whether there is only one column. With one column the kernel may have 64
 * registers instead of 128, so twice as many warps hide latency; what rare types of weights need beyond that is kept in memory. The
 * host chooses the kernel for one column, whose name ends in _of_one. */
#define WEFT_PRODUCT_KERNEL(name, body)                                                                                            \
    WEFT_KERNEL_OF(name, weft_cuda_phase, phase, 256, 2) {                                                                         \
        body<false>(phase);                                                                                                        \
    }                                                                                                                              \
    WEFT_KERNEL_OF(name##_of_one, weft_cuda_phase, phase, 256, 4) {                                                                \
        body<true>(phase);                                                                                                         \
    }

/* The number of columns in tile blockIdx.y, out of n columns. */
static __device__ inline int weft_tile_count(int64_t n) {
    int64_t left = n - (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    return left < WEFT_TILE_COLUMNS ? (int)left : WEFT_TILE_COLUMNS;
}

#endif
