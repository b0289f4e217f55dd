#include "weft/ops/soft_max.h"

#include <math.h>

#include "backends/cpu/elementwise.h"

static void soft_max_column(const weft_cpu_phase *phase, int64_t column) {
    const weft_soft_max_params *params = (const void *)phase->params;
    const weft_cpu_exact *exact = phase->device->exact;
    int64_t n = phase->inputs[WEFT_SOFT_MAX_X].shape[0];
    const float *x = (const float *)phase->inputs[WEFT_SOFT_MAX_X].data + column * n,
                *mask = phase->inputs[WEFT_SOFT_MAX_MASK].data;
    float *y = (float *)phase->outputs[WEFT_SOFT_MAX_OUT_Y].data + column * n;
    for (int64_t i = 0; i < n; i++) {
        float z = params->scale * x[i];
        y[i] = mask == NULL ? z : z + mask[column * n + i];
    }
    float max = exact->largest(y, n);
    float sum = 0.0f;
    if (max > -INFINITY) sum = exact->exp_sum(y, n, max, y);
    for (int64_t i = 0; i < n; i++) y[i] = sum == 0.0f ? 0.0f : y[i] / sum;
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_each_column(phase, phase->inputs[WEFT_SOFT_MAX_X].shape[1], phase->inputs[WEFT_SOFT_MAX_X].shape[0] * 8,
                         soft_max_column);
}

const weft_cpu_op weft_cpu_op_soft_max = {.run = run, .in_place = weft_cpu_elementwise_in_place};
