#include "kernels/common.h"

WEFT_KERNEL(weft_add, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const float *a = weft_at<const float>(phase.inputs[WEFT_ADD_A]), *b = weft_at<const float>(phase.inputs[WEFT_ADD_B]);
    float *y = weft_at<float>(phase.outputs[WEFT_ADD_OUT_Y]);
    int64_t n = weft_elements(phase.outputs[WEFT_ADD_OUT_Y]), n_b = weft_elements(phase.inputs[WEFT_ADD_B]);
    for (int64_t i = weft_thread(); i < n; i += weft_threads()) y[i] = a[i] + b[i % n_b];
}
