#include <string.h>

#include "backends/cpu/elementwise.h"

static void copy_column(const weft_cpu_phase *phase, int64_t column) {
    const weft_cpu_tensor *x = &phase->inputs[WEFT_COPY_X];
    float *y = (float *)phase->outputs[WEFT_COPY_OUT_Y].data + column * x->shape[0];
    weft_cpu_matrix matrix = {x->type, x->layout, x->shape[0], weft_cpu_column_count(x), x->data};
    if (x->type == WEFT_F32 && x->layout == 0)
        memmove(y, (const float *)x->data + column * x->shape[0], (size_t)x->shape[0] * sizeof(float));
    else
        phase->device->kernels->unpack_row(&matrix, column, y);
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_each_column(phase, weft_cpu_column_count(&phase->inputs[WEFT_COPY_X]), phase->inputs[WEFT_COPY_X].shape[0],
                         copy_column);
}

const weft_cpu_op weft_cpu_op_copy = {.run = run, .looked_up = 1 << WEFT_COPY_X};
