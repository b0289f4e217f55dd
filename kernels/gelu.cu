#include "kernels/common.h"

WEFT_KERNEL(weft_gelu, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const float *a = weft_at<const float>(phase.inputs[WEFT_GELU_X]);
    float *y = weft_at<float>(phase.outputs[WEFT_GELU_OUT_Y]);
    int64_t n = weft_elements(phase.outputs[WEFT_GELU_OUT_Y]);
    for (int64_t i = weft_thread(); i < n; i += weft_threads()) y[i] = weft_gelu(a[i]);
}
