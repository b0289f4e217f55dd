#include "weft/ops/rms_norm.h"

#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    const weft_rms_norm_params *params = (const void *)phase->params;
    int64_t n_groups = params->n_groups > 1 ? params->n_groups : 1;
    weft_cuda_record(
        recorder, "weft_rms_norm_groups",
        weft_cuda_norm(phase->inputs[WEFT_RMS_NORM_X].shape[0] / n_groups, phase->inputs[WEFT_RMS_NORM_X].shape[1] * n_groups),
        phase);
}

const weft_cuda_op weft_cuda_op_rms_norm = {.record = record};
