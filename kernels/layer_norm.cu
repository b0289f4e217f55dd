#include "weft/ops/layer_norm.h"

#include "kernels/common.h"

/* One block a column: its first warp sums, then all threads scale. */
WEFT_KERNEL(weft_layer_norm, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    __shared__ float shared_mean, shared_scale;
    const weft_layer_norm_params &params = weft_params<weft_layer_norm_params>(phase);
    int64_t n = phase.inputs[WEFT_LAYER_NORM_X].shape[0], first = (int64_t)blockIdx.x * n;
    const float *x = weft_at<const float>(phase.inputs[WEFT_LAYER_NORM_X]) + first;
    const float *weight = weft_at<const float>(phase.inputs[WEFT_LAYER_NORM_WEIGHT]);
    const float *bias = weft_at<const float>(phase.inputs[WEFT_LAYER_NORM_BIAS]);
    float *y = weft_at<float>(phase.outputs[WEFT_LAYER_NORM_OUT_Y]) + first;
    if (threadIdx.x < WEFT_LANES) {
        float sum = 0.0f, squares = 0.0f;
        for (int64_t i = threadIdx.x; i < n; i += WEFT_LANES) sum += x[i];
        float mean = weft_combine(sum) / (float)n;
        for (int64_t i = threadIdx.x; i < n; i += WEFT_LANES) {
            float distance = x[i] - mean;
            squares += distance * distance;
        }
        squares = weft_combine(squares);
        if (threadIdx.x == 0) {
            shared_mean = mean;
            shared_scale = 1.0f / sqrtf(squares / (float)n + params.epsilon);
        }
    }
    __syncthreads();
    float mean = shared_mean, scale = shared_scale;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
        float value = (x[i] - mean) * scale;
        if (weight != nullptr) value = value * weight[i];
        y[i] = bias != nullptr ? value + bias[i] : value;
    }
}
