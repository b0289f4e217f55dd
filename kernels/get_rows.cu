#include "weft/ops/get_rows.h"

#include "kernels/format.h"

static __device__ int32_t row_of(const weft_cuda_phase &phase, int64_t column) {
    const weft_cuda_tensor &index = phase.inputs[WEFT_GET_ROWS_INDEX], &sequences = phase.inputs[WEFT_GET_ROWS_SEQUENCES];
    const int32_t *words = weft_at<const int32_t>(index) + column * index.shape[0];
    if (words[0] != -1) return words[0];
    if (sequences.data == 0 || index.shape[0] <= WEFT_ROW_SEQUENCE) return -1;
    int32_t sequence = words[WEFT_ROW_SEQUENCE];
    if (sequence < 0 || sequence >= sequences.shape[1]) return -1;
    return weft_at<const int32_t>(sequences)[sequence * sequences.shape[0] + WEFT_SEQUENCE_LAST_TOKEN];
}

/* One block a column. */
WEFT_KERNEL(weft_get_rows, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_cuda_tensor &table = phase.inputs[WEFT_GET_ROWS_TABLE];
    int64_t n = table.shape[0], n_rows = table.shape[1] * table.shape[2] * table.shape[3], column = blockIdx.x,
            row = row_of(phase, column);
    float *y = weft_at<float>(phase.outputs[WEFT_GET_ROWS_OUT_Y]) + column * n;
    bool there = row >= 0 && row < n_rows;
    int format = weft_format_of(table);
    const uint8_t *values = weft_at<const uint8_t>(table) + (there ? row : 0) * weft_row_bytes(format, n);
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) y[i] = there ? weft_value(format, values, n, i) : 0.0f;
}
