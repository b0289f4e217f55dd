#include "weft/ops/rms_norm.h"

#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_rms_norm_params *params = phase->params;
    const int64_t *shape = phase->inputs[WEFT_RMS_NORM_X].tensor.shape;
    int64_t n_groups = params->n_groups > 1 ? params->n_groups : 1;
    weft_cuda_norm norm = {
        .x = phase->inputs[WEFT_RMS_NORM_X].address,
        .weight = phase->inputs[WEFT_RMS_NORM_WEIGHT].address,
        .y = phase->outputs[WEFT_RMS_NORM_OUT_Y].address,
        .n = shape[0] / n_groups,
        .epsilon = params->epsilon,
    };
    weft_cuda_record_norm(recorder, &norm, shape[1] * n_groups);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_RMS_NORM, .name = "rms_norm exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "rms_norm",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_rms_norm = WEFT_KERNEL_ROWS(kernels);
