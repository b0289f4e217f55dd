#include "kernels/product.h"

/* A warp computes one row and one column. Column blockIdx.x; rows loop. */
WEFT_KERNEL(weft_mul_mat_experts, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &weight = phase.inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], &x = phase.inputs[WEFT_MUL_MAT_EXPERTS_X];
    int64_t n = weight.shape[1], column = blockIdx.x, warps = blockDim.x / WEFT_LANES;
    int64_t per_column = phase.outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y].shape[1] / x.shape[1]; /* columns of y for a column of x */
    int32_t expert = weft_at<const int32_t>(phase.inputs[WEFT_MUL_MAT_EXPERTS_IDS])[column];
    bool exists = expert >= 0 && expert < weight.shape[2];
    float *y = weft_at<float>(phase.outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y]) + column * n;
    for (int64_t row = blockIdx.y * warps + threadIdx.x / WEFT_LANES; row < n; row += gridDim.y * warps) {
        float sums[WEFT_TILE_COLUMNS] = {0.0f};
        if (exists) weft_dots<true>(weight, expert * n + row, weft_at<const float>(x), column / per_column, 1, sums);
        if (weft_lane() == 0) y[row] = sums[0];
    }
}
