/* What products do with finished sums. */
#ifndef WEFT_KERNELS_FAST_FINISH_H
#define WEFT_KERNELS_FAST_FINISH_H

#include "kernels/common.h"
#include "kernels/products.h"
#include "weft/ops/norm_gated_mlp.h"

/* A band of all matrices, or of both where they are gated. */
struct weft_band {
    int matrix, band; /* of that matrix */
};

static __device__ inline weft_band weft_band_of(const weft_cuda_product &product, int band) {
    weft_band found = {0, band};
    while (!product.gated && found.matrix + 1 < product.n_matrices && found.band >= product.matrices[found.matrix].n_bands)
        found.band -= product.matrices[found.matrix++].n_bands;
    return found;
}

/* 1 / (1 + 2^-x), by the device's own approximations. */
static __device__ inline float weft_nearly_logistic(float x) {
#ifdef __CUDA_ARCH__
    float power, inverse;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-x));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
    return inverse;
#else
    return 1.0f / (1.0f + exp2f(-x));
#endif
}

/* weft_silu and weft_gelu but for last bits, with log2 e in their factors; 1 + tanh u = 2 / (1 + e^-2u). */
static __device__ inline float weft_nearly_silu(float x) {
    return x * weft_nearly_logistic(1.44269504f * x);
}

static __device__ inline float weft_nearly_gelu(float x) {
    return x * weft_nearly_logistic(x * fmaf(0.102943240f, x * x, 2.30220820f));
}

static __device__ inline float weft_gate(float gate, float up, int activation) {
    return (activation == WEFT_ACTIVATION_SILU ? weft_nearly_silu(gate) : weft_nearly_gelu(gate)) * up;
}

/* What a thread needs to store row `row` (of the band) of column `column`. `power` is the row's power of two, `up_power` that of
 * the other matrix where there is a gate. Weights and biases are constant, so a thread may read them before it waits for other
 * kernels. */
struct weft_result {
    float power, up_power, bias, residual;
    float *y; /* null: there is no such row */
    int64_t place;
};

static __device__ inline weft_result weft_result_begin(const weft_cuda_product &product, weft_band at, int row, int64_t column) {
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    int64_t at_row = (int64_t)at.band * WEFT_UNIT_ROWS + row;
    weft_result result = {0.0f, 0.0f, 0.0f, 0.0f, nullptr, column * matrix.n + at_row};
    result.power = ((const float *)matrix.powers)[at_row];
    if (product.gated) result.up_power = ((const float *)product.matrices[1].powers)[at_row];
    if (at_row >= matrix.n) return result;
    if (matrix.bias != 0) result.bias = ((const float *)matrix.bias)[at_row];
    result.y = (float *)matrix.y + result.place;
    return result;
}

/* Reads what the kernels before may have written. */
static __device__ inline void weft_result_residual(const weft_cuda_product &product, weft_result &result) {
    if (product.residual != 0 && result.y != nullptr) result.residual = ((const float *)product.residual)[result.place];
}

/* Stores it, from whole sums, and returns it. `up` is 0 if there is no gate. */
static __device__ inline float weft_result_end(const weft_cuda_product &product, bool has_bias, const weft_result &result,
                                               float sum, float up) {
    if (result.y == nullptr) return 0.0f;
    if (product.gated) sum = weft_gate(sum, up, product.activation);
    if (has_bias) sum = __fadd_rn(sum, result.bias);
    if (product.residual != 0) sum = __fadd_rn(sum, result.residual);
    *result.y = sum;
    return sum;
}

/* All of it. */
static __device__ inline void weft_finish(const weft_cuda_product &product, weft_band at, int row, int64_t column, float sum,
                                          float up) {
    weft_result result = weft_result_begin(product, at, row, column);
    weft_result_residual(product, result);
    weft_result_end(product, product.matrices[at.matrix].bias != 0, result, sum, up);
}

/* A slice's sum in the row's and the column's own size. */
static __device__ inline float weft_sized(float sum, float power, float factor) {
    return __fmul_rn(__fmul_rn(sum, power), factor);
}

static __device__ inline float weft_sized_sum(const weft_cuda_product &product, weft_band at, int row, float factor, float sum) {
    return weft_sized(sum, ((const float *)product.matrices[at.matrix].powers)[at.band * WEFT_UNIT_ROWS + row], factor);
}

/* Rows of a column of slices' sums. */
static __device__ inline int64_t weft_slice_rows(const weft_cuda_product &product) {
    return (int64_t)product.n_bands * WEFT_UNIT_ROWS * (product.gated ? 2 : 1);
}

/* Where a slice's sum is kept. `band` counts the bands of all matrices. */
static __device__ inline float *weft_slice_sum(const weft_cuda_product &product, int slice, int64_t column, int band, int row) {
    return (float *)product.sums + (slice * product.n_columns + column) * weft_slice_rows(product) + band * WEFT_UNIT_ROWS + row;
}

/* Keeps the sums of one slice. Bands of `up` come after those of the gate. */
static __device__ inline void weft_keep_slice(const weft_cuda_product &product, int slice, int band, int row, int64_t column,
                                              float sum, float up) {
    *weft_slice_sum(product, slice, column, band, row) = sum;
    if (product.gated) *weft_slice_sum(product, slice, column, product.n_bands + band, row) = up;
}

/* Stores a sum of one slice, or the result if that is all. */
static __device__ inline void weft_finish_slice(const weft_cuda_product &product, int slice, int band, int row, int64_t column,
                                                float factor, float sum, float up) {
    weft_band at = weft_band_of(product, band), other = {1, at.band};
    sum = weft_sized_sum(product, at, row, factor, sum);
    if (product.gated) up = weft_sized_sum(product, other, row, factor, up);
    if (product.n_slices == 1) {
        weft_finish(product, at, row, column, sum, up);
        return;
    }
    weft_keep_slice(product, slice, band, row, column, sum, up);
}

#endif
