#include "weft/ops/sample.h"

#include "backends/cuda/launch.h"

static int64_t n_ranges(int64_t n_vocab) {
    return weft_cuda_ceil(n_vocab, WEFT_SAMPLE_RANGE);
}

uint64_t weft_cuda_sample_bytes(int64_t n_vocab, int64_t n_columns) {
    return (uint64_t)(3 * n_ranges(n_vocab) * n_columns) * sizeof(float);
}

void weft_cuda_record_sample(weft_cuda_recorder *recorder, const char *file, const weft_phase *phase, int64_t n_vocab,
                             weft_cuda_columns columns) {
    weft_cuda_shape ranges = weft_cuda_blocks(n_ranges(n_vocab), columns.n, 256);
    weft_cuda_record_columns(recorder, file, "weft_largest_logits", ranges, phase, columns);
    weft_cuda_record_columns(recorder, file, "weft_sum_exponentials", ranges, phase, columns);
    weft_cuda_record_columns(recorder, file, "weft_choose", weft_cuda_blocks(columns.n, 1, 1024), phase, columns);
    if (columns.n > 1) weft_cuda_record_columns(recorder, file, "weft_remember", weft_cuda_blocks(1, 1, 128), phase, columns);
}
