#include "kernels/product.h"

template <bool ONE> static __device__ void multiply(const weft_cuda_phase &phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &weight = phase.inputs[0];
    int64_t n = weight.shape[1], row = weft_product_row(), first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int count = weft_tile_count(phase.inputs[1].shape[1]);
    if (row >= n) return;
    float sums[WEFT_TILE_COLUMNS];
    weft_dots<ONE>(weight, row, weft_at<const float>(phase.inputs[1]), first, count, sums);
    float sum = weft_own_sum(sums);
    if (weft_lane() < count) weft_at<float>(phase.outputs[0])[(first + weft_lane()) * n + row] = sum;
}

WEFT_PRODUCT_KERNEL(weft_mul_mat, multiply)
