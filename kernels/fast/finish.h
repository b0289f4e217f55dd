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

static __device__ inline float weft_gate(float gate, float up, int activation) {
    return (activation == WEFT_ACTIVATION_SILU ? weft_silu(gate) : weft_gelu(gate)) * up;
}

/* Stores row `row` (of the band) of column `column`, from whole sums. `up` is 0 if there is no gate. */
static __device__ inline void weft_finish(const weft_cuda_product &product, weft_band at, int row, int64_t column, float sum,
                                          float up) {
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    int64_t at_row = (int64_t)at.band * WEFT_UNIT_ROWS + row, place = column * matrix.n + at_row;
    if (at_row >= matrix.n) return;
    if (product.gated) sum = weft_gate(sum, up, product.activation);
    if (matrix.bias != 0) sum = __fadd_rn(sum, ((const float *)matrix.bias)[at_row]);
    if (product.residual != 0) sum = __fadd_rn(sum, ((const float *)product.residual)[place]);
    ((float *)matrix.y)[place] = sum;
}

/* A slice's sum in the row's and the column's own size. */
static __device__ inline float weft_sized_sum(const weft_cuda_product &product, weft_band at, int row, float factor, float sum) {
    float power = ((const float *)product.matrices[at.matrix].powers)[at.band * WEFT_UNIT_ROWS + row];
    return __fmul_rn(__fmul_rn(sum, power), factor);
}

/* Rows of a column of slices' sums. */
static __device__ inline int64_t weft_slice_rows(const weft_cuda_product &product) {
    return (int64_t)product.n_bands * WEFT_UNIT_ROWS * (product.gated ? 2 : 1);
}

/* Where a slice's sum is kept. `band` counts the bands of all matrices. */
static __device__ inline float *weft_slice_sum(const weft_cuda_product &product, int slice, int64_t column, int band, int row) {
    return (float *)product.sums + (slice * product.n_columns + column) * weft_slice_rows(product) + band * WEFT_UNIT_ROWS + row;
}

/* Stores a sum of one slice, or the result if that is all. Bands of `up` come after those of the gate. */
static __device__ inline void weft_finish_slice(const weft_cuda_product &product, int slice, int band, int row, int64_t column,
                                                float factor, float sum, float up) {
    weft_band at = weft_band_of(product, band), other = {1, at.band};
    sum = weft_sized_sum(product, at, row, factor, sum);
    if (product.gated) up = weft_sized_sum(product, other, row, factor, up);
    if (product.n_slices == 1) {
        weft_finish(product, at, row, column, sum, up);
        return;
    }
    *weft_slice_sum(product, slice, column, band, row) = sum;
    if (product.gated) *weft_slice_sum(product, slice, column, product.n_bands + band, row) = up;
}

#endif
