#include "weft/ops/soft_max.h"

#include <math.h>

#include "backends/cpu/elementwise.h"

static void soft_max_column(const weft_cpu_call *call, int64_t column) {
    const weft_soft_max_params *params = call->phase->params;
    const weft_cpu_exact *exact = call->device->exact;
    int64_t n = call->phase->inputs[WEFT_SOFT_MAX_X].tensor.shape[0];
    const float *x = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_SOFT_MAX_X]) + column * n,
                *mask = weft_cpu_data(&call->phase->inputs[WEFT_SOFT_MAX_MASK]);
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_SOFT_MAX_OUT_Y]) + column * n;
    for (int64_t i = 0; i < n; i++) {
        float z = params->scale * x[i];
        y[i] = mask == NULL ? z : z + mask[column * n + i];
    }
    float max = exact->largest(y, n);
    float sum = 0.0f;
    if (max > -INFINITY) sum = exact->exp_sum(y, n, max, y);
    for (int64_t i = 0; i < n; i++) y[i] = sum == 0.0f ? 0.0f : y[i] / sum;
}

static void run(const weft_cpu_call *call) {
    weft_cpu_each_column(call, call->phase->inputs[WEFT_SOFT_MAX_X].tensor.shape[1],
                         call->phase->inputs[WEFT_SOFT_MAX_X].tensor.shape[0] * 8, soft_max_column);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_ELEMENTWISE(WEFT_OP_SOFT_MAX, "soft_max", .run = run)};
const weft_kernel_rows weft_cpu_op_soft_max = WEFT_KERNEL_ROWS(rows);
