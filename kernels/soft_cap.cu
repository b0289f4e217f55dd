#include "weft/ops/soft_cap.h"

#include "kernels/common.h"

WEFT_KERNEL(weft_soft_cap, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_soft_cap_params &params = weft_params<weft_soft_cap_params>(phase);
    const float *x = weft_at<const float>(phase.inputs[WEFT_SOFT_CAP_X]);
    float *y = weft_at<float>(phase.outputs[WEFT_SOFT_CAP_OUT_Y]);
    int64_t n = weft_elements(phase.outputs[WEFT_SOFT_CAP_OUT_Y]);
    for (int64_t i = weft_thread(); i < n; i += weft_threads()) y[i] = weft_soft_cap_of(x[i], params.cap);
}
