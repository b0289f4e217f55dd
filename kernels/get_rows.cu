#include "kernels/get_rows.h"

#include "kernels/format.h"

/* One block a column. */
WEFT_KERNEL(weft_get_rows, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &table = phase.inputs[WEFT_GET_ROWS_TABLE];
    int64_t n = table.shape[0], n_rows = table.shape[1] * table.shape[2] * table.shape[3], column = blockIdx.x,
            row = weft_row_to_get(phase, column);
    float *y = weft_at<float>(phase.outputs[WEFT_GET_ROWS_OUT_Y]) + column * n;
    bool there = row >= 0 && row < n_rows;
    int format = weft_format_of(table);
    const uint8_t *values = weft_at<const uint8_t>(table) + (there ? row : 0) * weft_row_bytes(format, n);
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = there ? weft_value(format, values, n, i) : 0.0f;
}
