#include "weft/ops/rms_norm.h"

#include "backends/cpu/elementwise.h"

static void norm_column(const weft_cpu_call *call, int64_t column) {
    const weft_rms_norm_params *params = call->phase->params;
    int64_t n = call->phase->inputs[WEFT_RMS_NORM_X].tensor.shape[0];
    int64_t group = params->n_groups > 1 ? n / params->n_groups : n;
    const float *x = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_RMS_NORM_X]) + column * n,
                *weight = weft_cpu_data(&call->phase->inputs[WEFT_RMS_NORM_WEIGHT]);
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_RMS_NORM_OUT_Y]) + column * n;
    for (int64_t i = 0; i < n; i += group) {
        if (!weft_cpu_is_fast(call))
            weft_cpu_exact_rms_norm(call->device->exact, x + i, weight, group, params->epsilon, y + i);
        else
            call->device->kernels->rms_norm(x + i, weight, group, params->epsilon, y + i);
    }
}

static void run(const weft_cpu_call *call) {
    weft_cpu_each_column(call, call->phase->inputs[WEFT_RMS_NORM_X].tensor.shape[1],
                         call->phase->inputs[WEFT_RMS_NORM_X].tensor.shape[0] * 2, norm_column);
}

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_RMS_NORM, "rms_norm", .run = run),
    WEFT_CPU_FAST(WEFT_OP_RMS_NORM, "rms_norm", 0, .run = run),
};
const weft_kernel_rows weft_cpu_op_rms_norm = WEFT_KERNEL_ROWS(rows);
