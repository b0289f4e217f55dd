#include "weft/ops/rope.h"

#include "backends/cpu/elementwise.h"
#include "backends/cpu/rows.h"

static void rope_column(const weft_cpu_call *call, int64_t column) {
    const weft_rope_params *params = call->phase->params;
    int64_t n = call->phase->inputs[WEFT_ROPE_X].tensor.shape[0];
    weft_cpu_rope(&call->phase->inputs[WEFT_ROPE_ROWS], &call->phase->inputs[WEFT_ROPE_TABLE], column, params->head_dim,
                  params->order, (const float *)weft_cpu_data(&call->phase->inputs[WEFT_ROPE_X]) + column * n, n,
                  (float *)weft_cpu_data(&call->phase->outputs[WEFT_ROPE_OUT_Y]) + column * n);
}

static void run(const weft_cpu_call *call) {
    weft_cpu_each_column(call, call->phase->inputs[WEFT_ROPE_X].tensor.shape[1],
                         call->phase->inputs[WEFT_ROPE_X].tensor.shape[0] * 2, rope_column);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_ROPE, "rope", .run = run)};
const weft_kernel_rows weft_cpu_op_rope = WEFT_KERNEL_ROWS(rows);
