#include "weft/ops/rms_norm.h"

#include "kernels/common.h"

/* One block a group of a column. */
WEFT_KERNEL(weft_rms_norm_groups, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_rms_norm_params &params = weft_params<weft_rms_norm_params>(phase);
    int64_t n = phase.inputs[0].shape[0] / (params.n_groups > 1 ? params.n_groups : 1), first = blockIdx.x * n;
    weft_rms_norm(weft_at<const float>(phase.inputs[0]) + first, weft_at<const float>(phase.inputs[1]), n, params.epsilon,
                  weft_at<float>(phase.outputs[0]) + first);
}
