#include "weft/ops/rms_norm.h"

#include "kernels/common.h"

/* One block a group of a column. */
WEFT_KERNEL(weft_rms_norm_groups, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_rms_norm_params &params = weft_params<weft_rms_norm_params>(phase);
    int64_t n = phase.inputs[WEFT_RMS_NORM_X].shape[0] / (params.n_groups > 1 ? params.n_groups : 1), first = blockIdx.x * n;
    weft_rms_norm(weft_at<const float>(phase.inputs[WEFT_RMS_NORM_X]) + first,
                  weft_at<const float>(phase.inputs[WEFT_RMS_NORM_WEIGHT]), n, params.epsilon,
                  weft_at<float>(phase.outputs[WEFT_RMS_NORM_OUT_Y]) + first);
}
