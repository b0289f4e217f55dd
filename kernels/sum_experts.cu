#include "kernels/common.h"

/* A thread for each value of y. */
WEFT_KERNEL(weft_sum_experts, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const float *x = weft_at<const float>(phase.inputs[WEFT_SUM_EXPERTS_X]);
    const float *weights = weft_at<const float>(phase.inputs[WEFT_SUM_EXPERTS_WEIGHTS]);
    float *y = weft_at<float>(phase.outputs[WEFT_SUM_EXPERTS_OUT_Y]);
    int64_t n = phase.inputs[WEFT_SUM_EXPERTS_X].shape[0], n_chosen = phase.inputs[WEFT_SUM_EXPERTS_WEIGHTS].shape[0];
    int64_t n_values = weft_elements(phase.outputs[WEFT_SUM_EXPERTS_OUT_Y]);
    for (int64_t i = weft_thread(); i < n_values; i += weft_threads()) {
        int64_t column = i / n, place = i % n;
        float sum = 0.0f;
        for (int64_t j = column * n_chosen; j < (column + 1) * n_chosen; j++) sum += weights[j] * x[j * n + place];
        y[i] = sum;
    }
}
