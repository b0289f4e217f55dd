#include "weft/ops/soft_cap.h"

#include "backends/cpu/elementwise.h"
#include "weft/ops/math.h"

static void cap_column(const weft_cpu_call *call, int64_t column) {
    const weft_soft_cap_params *params = call->phase->params;
    const int64_t n = call->phase->inputs[WEFT_SOFT_CAP_X].tensor.shape[0];
    const float *x = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_SOFT_CAP_X]) + column * n;
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_SOFT_CAP_OUT_Y]) + column * n;
    for (int64_t i = 0; i < n; i++) y[i] = weft_soft_cap_of(x[i], params->cap);
}

static void run(const weft_cpu_call *call) {
    const weft_tensor *x = &call->phase->inputs[WEFT_SOFT_CAP_X].tensor;
    weft_cpu_each_column(call, x->shape[1], x->shape[0] * 10, cap_column);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_ELEMENTWISE(WEFT_OP_SOFT_CAP, "soft_cap", .run = run)};
const weft_kernel_rows weft_cpu_op_soft_cap = WEFT_KERNEL_ROWS(rows);
