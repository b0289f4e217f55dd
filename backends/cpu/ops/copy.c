#include <string.h>

#include "backends/cpu/elementwise.h"

static void copy_column(const weft_cpu_call *call, int64_t column) {
    const weft_place *x = &call->phase->inputs[WEFT_COPY_X];
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_COPY_OUT_Y]) + column * x->tensor.shape[0];
    weft_cpu_matrix matrix = weft_cpu_matrix_of(x);
    if (x->tensor.type == WEFT_F32 && x->layout == WEFT_LAYOUT_FILE)
        memmove(y, (const float *)weft_cpu_data(x) + column * x->tensor.shape[0], (size_t)x->tensor.shape[0] * sizeof(float));
    else
        call->device->kernels->unpack_row(&matrix, column, y);
}

static void run(const weft_cpu_call *call) {
    weft_cpu_each_column(call, weft_cpu_column_count(&call->phase->inputs[WEFT_COPY_X]),
                         call->phase->inputs[WEFT_COPY_X].tensor.shape[0], copy_column);
}

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_COPY, "copy", .run = run),
    WEFT_CPU_PACKED_LOOKUP(WEFT_OP_COPY, "copy", WEFT_PORT_BIT(WEFT_COPY_X), .run = run),
};
const weft_kernel_rows weft_cpu_op_copy = WEFT_KERNEL_ROWS(rows);
