#include "weft/ops/norm_head_sample.h"

#include "kernels/product.h"

/* Scratch, for the columns of one launch: the normalised columns, then the logits. */
static __device__ inline float *normed_of(const weft_cuda_phase &phase) {
    return (float *)phase.scratch;
}

static __device__ inline float *logits_of(const weft_cuda_phase &phase) {
    return normed_of(phase) + phase.inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[0] * phase.n_columns;
}

template <bool ONE> static __device__ void logits(const weft_cuda_phase &phase) {
    if (weft_cancelled(phase)) return;
    int64_t n = phase.inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].shape[1], row = weft_product_row(),
            first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int count = weft_tile_count(phase.n_columns);
    if (row >= n) return;
    float sums[WEFT_TILE_COLUMNS];
    weft_dots<ONE>(phase.inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT], row, normed_of(phase), first, count, sums);
    float sum = weft_own_sum(sums);
    if (weft_lane() < count) logits_of(phase)[(first + weft_lane()) * n + row] = sum;
}

WEFT_PRODUCT_KERNEL(weft_logits, logits)
