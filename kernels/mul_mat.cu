#include "kernels/product.h"

template <bool ONE> static __device__ void multiply(const weft_cuda_phase &phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &weight = phase.inputs[WEFT_MUL_MAT_WEIGHT];
    int64_t n = weight.shape[1], row = weft_product_row(), first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int count = weft_tile_count(phase.inputs[WEFT_MUL_MAT_X].shape[1]);
    if (row >= n) return;
    float sums[WEFT_TILE_COLUMNS];
    weft_dots<ONE>(weight, row, weft_at<const float>(phase.inputs[WEFT_MUL_MAT_X]), first, count, sums);
    float sum = weft_own_sum(sums);
    if (weft_lane() < count) weft_at<float>(phase.outputs[WEFT_MUL_MAT_OUT_Y])[(first + weft_lane()) * n + row] = sum;
}

WEFT_PRODUCT_KERNEL(weft_mul_mat, multiply)
