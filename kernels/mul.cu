#include "kernels/common.h"

WEFT_KERNEL(weft_mul, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const float *a = weft_at<const float>(phase.inputs[0]), *b = weft_at<const float>(phase.inputs[1]);
    float *y = weft_at<float>(phase.outputs[0]);
    int64_t n = weft_elements(phase.outputs[0]), n_b = weft_elements(phase.inputs[1]);
    for (int64_t i = weft_thread(); i < n; i += weft_threads()) y[i] = a[i] * b[i % n_b];
}
