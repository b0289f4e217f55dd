#include "weft/ops/rms_norm.h"

#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_rms_norm_params *params = call->phase->params;
    const weft_place *x = &call->phase->inputs[WEFT_RMS_NORM_X];
    int64_t n_groups = params->n_groups > 1 ? params->n_groups : 1;
    weft_vulkan_rms_norm(recorder, x->address, call->phase->inputs[WEFT_RMS_NORM_WEIGHT].address,
                         call->phase->outputs[WEFT_RMS_NORM_OUT_Y].address, x->tensor.shape[0] / n_groups,
                         x->tensor.shape[1] * n_groups, params->epsilon);
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_RMS_NORM,
                .name = "rms_norm exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_rms_norm = WEFT_KERNEL_ROWS(kernels);
