#include "kernels/format.h"

WEFT_KERNEL(weft_copy, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &x = phase.inputs[WEFT_COPY_X];
    float *y = weft_at<float>(phase.outputs[WEFT_COPY_OUT_Y]);
    int format = weft_format_of(x);
    int64_t k = x.shape[0], n = weft_elements(x), row_bytes = weft_row_bytes(format, k);
    for (int64_t i = weft_thread(); i < n; i += weft_threads())
        y[i] = weft_value(format, weft_at<const uint8_t>(x) + i / k * row_bytes, k, i % k);
}
