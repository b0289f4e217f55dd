#include "weft/ops/rms_norm.h"

#include "backends/cpu/elementwise.h"

static void norm_column(const weft_cpu_phase *phase, int64_t column) {
    const weft_rms_norm_params *params = (const void *)phase->params;
    int64_t n = phase->inputs[WEFT_RMS_NORM_X].shape[0];
    int64_t group = params->n_groups > 1 ? n / params->n_groups : n;
    const float *x = (const float *)phase->inputs[WEFT_RMS_NORM_X].data + column * n,
                *weight = phase->inputs[WEFT_RMS_NORM_WEIGHT].data;
    float *y = (float *)phase->outputs[WEFT_RMS_NORM_OUT_Y].data + column * n;
    for (int64_t i = 0; i < n; i += group) {
        if (phase->precision == WEFT_EXACT)
            weft_cpu_exact_rms_norm(phase->device->exact, x + i, weight, group, params->epsilon, y + i);
        else
            phase->device->kernels->rms_norm(x + i, weight, group, params->epsilon, y + i);
    }
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_each_column(phase, phase->inputs[WEFT_RMS_NORM_X].shape[1], phase->inputs[WEFT_RMS_NORM_X].shape[0] * 2, norm_column);
}

const weft_cpu_op weft_cpu_op_rms_norm = {.run = run, .has_fast = true};
