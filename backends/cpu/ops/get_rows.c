#include "weft/ops/get_rows.h"

#include <string.h>

#include "backends/cpu/elementwise.h"

static int32_t row_of(const weft_cpu_phase *phase, int64_t column) {
    const weft_cpu_tensor *index = &phase->inputs[WEFT_GET_ROWS_INDEX], *sequences = &phase->inputs[WEFT_GET_ROWS_SEQUENCES];
    const int32_t *words = (const int32_t *)index->data + column * index->shape[0];
    if (words[0] != -1) return words[0];
    if (!sequences->present || index->shape[0] <= WEFT_ROW_SEQUENCE) return -1;
    int32_t sequence = words[WEFT_ROW_SEQUENCE];
    if (sequence < 0 || sequence >= sequences->shape[1]) return -1;
    return ((const int32_t *)sequences->data)[sequence * sequences->shape[0] + WEFT_SEQUENCE_LAST_TOKEN];
}

static void get_row(const weft_cpu_phase *phase, int64_t column) {
    const weft_cpu_tensor *table = &phase->inputs[WEFT_GET_ROWS_TABLE];
    int64_t n = table->shape[0], n_rows = weft_cpu_column_count(table);
    float *y = (float *)phase->outputs[WEFT_GET_ROWS_OUT_Y].data + column * n;
    int32_t row = row_of(phase, column);
    weft_cpu_matrix matrix = {table->type, table->layout, n, n_rows, table->data};
    if (row < 0 || row >= n_rows)
        memset(y, 0, (size_t)n * sizeof *y);
    else if (table->type == WEFT_F32 && table->layout == 0)
        memcpy(y, (const float *)table->data + row * n, (size_t)n * sizeof *y);
    else
        phase->device->kernels->unpack_row(&matrix, row, y);
}

static void run(const weft_cpu_phase *phase) {
    weft_cpu_each_column(phase, phase->outputs[WEFT_GET_ROWS_OUT_Y].shape[1], phase->inputs[WEFT_GET_ROWS_TABLE].shape[0], get_row);
}

const weft_cpu_op weft_cpu_op_get_rows = {.run = run, .looked_up = 1 << WEFT_GET_ROWS_TABLE};
