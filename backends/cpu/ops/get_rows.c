#include "weft/ops/get_rows.h"

#include <string.h>

#include "backends/cpu/elementwise.h"

static int32_t row_of(const weft_cpu_call *call, int64_t column) {
    const weft_place *index = &call->phase->inputs[WEFT_GET_ROWS_INDEX], *sequences = &call->phase->inputs[WEFT_GET_ROWS_SEQUENCES];
    const int32_t *words = (const int32_t *)weft_cpu_data(index) + column * index->tensor.shape[0];
    if (words[0] != -1) return words[0];
    if (!sequences->present || index->tensor.shape[0] <= WEFT_ROW_SEQUENCE) return -1;
    int32_t sequence = words[WEFT_ROW_SEQUENCE];
    if (sequence < 0 || sequence >= sequences->tensor.shape[1]) return -1;
    return ((const int32_t *)weft_cpu_data(sequences))[sequence * sequences->tensor.shape[0] + WEFT_SEQUENCE_LAST_TOKEN];
}

static void get_row(const weft_cpu_call *call, int64_t column) {
    const weft_place *table = &call->phase->inputs[WEFT_GET_ROWS_TABLE];
    int64_t n = table->tensor.shape[0];
    float *y = (float *)weft_cpu_data(&call->phase->outputs[WEFT_GET_ROWS_OUT_Y]) + column * n;
    int32_t row = row_of(call, column);
    weft_cpu_matrix matrix = weft_cpu_matrix_of(table);
    if (row < 0 || row >= weft_cpu_column_count(table))
        memset(y, 0, (size_t)n * sizeof *y);
    else if (table->tensor.type == WEFT_F32 && table->layout == WEFT_LAYOUT_FILE)
        memcpy(y, (const float *)weft_cpu_data(table) + row * n, (size_t)n * sizeof *y);
    else
        call->device->kernels->unpack_row(&matrix, row, y);
}

static void run(const weft_cpu_call *call) {
    weft_cpu_each_column(call, call->phase->outputs[WEFT_GET_ROWS_OUT_Y].tensor.shape[1],
                         call->phase->inputs[WEFT_GET_ROWS_TABLE].tensor.shape[0], get_row);
}

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_GET_ROWS, "get_rows", .run = run),
    WEFT_CPU_PACKED_LOOKUP(WEFT_OP_GET_ROWS, "get_rows", WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE), .run = run),
};
const weft_kernel_rows weft_cpu_op_get_rows = WEFT_KERNEL_ROWS(rows);
