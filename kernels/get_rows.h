/* Which rows get_rows gets. */
#ifndef WEFT_KERNELS_GET_ROWS_H
#define WEFT_KERNELS_GET_ROWS_H

#include "kernels/common.h"
#include "weft/ops/get_rows.h"

static __device__ inline int32_t weft_row_to_get(const weft_cuda_phase &phase, int64_t column) {
    const weft_cuda_tensor &index = phase.inputs[WEFT_GET_ROWS_INDEX], &sequences = phase.inputs[WEFT_GET_ROWS_SEQUENCES];
    const int32_t *words = weft_at<const int32_t>(index) + column * index.shape[0];
    if (words[0] != -1) return words[0];
    if (sequences.data == 0 || index.shape[0] <= WEFT_ROW_SEQUENCE) return -1;
    int32_t sequence = words[WEFT_ROW_SEQUENCE];
    if (sequence < 0 || sequence >= sequences.shape[1]) return -1;
    return weft_at<const int32_t>(sequences)[sequence * sequences.shape[0] + WEFT_SEQUENCE_LAST_TOKEN];
}

#endif
