#include "weft/ops/soft_max.h"

#include "kernels/common.h"

/* One block a column; y may be x. */
WEFT_KERNEL(weft_soft_max, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    float scale = weft_params<weft_soft_max_params>(phase).scale;
    int64_t n = phase.inputs[WEFT_SOFT_MAX_X].shape[0], first = blockIdx.x * n;
    const float *x = weft_at<const float>(phase.inputs[WEFT_SOFT_MAX_X]) + first;
    const float *mask =
        phase.inputs[WEFT_SOFT_MAX_MASK].data == 0 ? nullptr : weft_at<const float>(phase.inputs[WEFT_SOFT_MAX_MASK]) + first;
    float *y = weft_at<float>(phase.outputs[WEFT_SOFT_MAX_OUT_Y]) + first;
    __shared__ float warps[WEFT_LANES], shared_sum;
    float max = -WEFT_INFINITY;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        float z = scale * x[i];
        if (mask != nullptr) z = z + mask[i];
        y[i] = z;
        max = z > max ? z : max;
    }
    max = weft_largest(max);
    if (weft_lane() == 0) warps[threadIdx.x / WEFT_LANES] = max;
    __syncthreads();
    max = weft_largest(weft_lane() < blockDim.x / WEFT_LANES ? warps[weft_lane()] : -WEFT_INFINITY);
    if (max > -WEFT_INFINITY)
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = weft_exp(y[i] - max);
    __syncthreads();
    if (threadIdx.x < WEFT_LANES) {
        float sum = 0.0f;
        if (max > -WEFT_INFINITY)
            for (int64_t i = threadIdx.x; i < n; i += WEFT_LANES) sum += y[i];
        sum = weft_combine(sum);
        if (threadIdx.x == 0) shared_sum = sum;
    }
    __syncthreads();
    float sum = shared_sum;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = sum == 0.0f ? 0.0f : y[i] / sum;
}
