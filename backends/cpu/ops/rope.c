#include "weft/ops/rope.h"

#include "backends/cpu/elementwise.h"
#include "backends/cpu/rows.h"

static void rope_column(const weft_cpu_phase *phase, int64_t column) {
    const weft_rope_params *params = (const void *)phase->params;
    int64_t n = phase->inputs[WEFT_ROPE_X].shape[0];
    weft_cpu_rope(&phase->inputs[WEFT_ROPE_ROWS], &phase->inputs[WEFT_ROPE_TABLE], column, params->head_dim, params->order,
                  (const float *)phase->inputs[WEFT_ROPE_X].data + column * n, n,
                  (float *)phase->outputs[WEFT_ROPE_OUT_Y].data + column * n);
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_each_column(phase, phase->inputs[WEFT_ROPE_X].shape[1], phase->inputs[WEFT_ROPE_X].shape[0] * 2, rope_column);
}

const weft_cpu_op weft_cpu_op_rope = {.run = run};
