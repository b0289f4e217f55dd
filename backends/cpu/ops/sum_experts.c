#include <string.h>

#include "backends/cpu/elementwise.h"

static void sum_column(const weft_cpu_call *call, int64_t column) {
    const int64_t n = call->phase->inputs[WEFT_SUM_EXPERTS_X].tensor.shape[0],
                  n_chosen = call->phase->inputs[WEFT_SUM_EXPERTS_WEIGHTS].tensor.shape[0];
    const float *x = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_SUM_EXPERTS_X]) + column * n_chosen * n;
    const float *weights = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_SUM_EXPERTS_WEIGHTS]) + column * n_chosen;
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_SUM_EXPERTS_OUT_Y]) + column * n;
    memset(y, 0, (size_t)n * sizeof *y);
    call->device->exact->weighted_sum(weights, n_chosen, x, n, n, y);
}

static void run(const weft_cpu_call *call) {
    const int64_t *x = call->phase->inputs[WEFT_SUM_EXPERTS_X].tensor.shape,
                  *y = call->phase->outputs[WEFT_SUM_EXPERTS_OUT_Y].tensor.shape;
    weft_cpu_each_column(call, y[1], x[0] * x[1] / y[1], sum_column);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_SUM_EXPERTS, "sum_experts", .run = run)};
const weft_kernel_rows weft_cpu_op_sum_experts = WEFT_KERNEL_ROWS(rows);
