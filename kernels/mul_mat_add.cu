#include "kernels/product.h"

/* Inputs */
enum { WEIGHT, X, BIAS, RESIDUAL };

template <bool ONE> static __device__ void multiply(const weft_cuda_phase &phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &weight = phase.inputs[WEIGHT];
    int64_t n = weight.shape[1], row = weft_product_row(), first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int count = weft_tile_count(phase.inputs[X].shape[1]);
    if (row >= n) return;
    float sums[WEFT_TILE_COLUMNS];
    weft_dots<ONE>(weight, row, weft_at<const float>(phase.inputs[X]), first, count, sums);
    float sum = weft_own_sum(sums);
    if (weft_lane() >= count) return;
    int64_t place = (first + weft_lane()) * n + row;
    if (phase.inputs[BIAS].data != 0) sum += weft_at<const float>(phase.inputs[BIAS])[row];
    if (phase.inputs[RESIDUAL].data != 0) sum += weft_at<const float>(phase.inputs[RESIDUAL])[place];
    weft_at<float>(phase.outputs[0])[place] = sum;
}

WEFT_PRODUCT_KERNEL(weft_mul_mat_add, multiply)
