#include "backends/cuda/launch.h"

/* Scratch, for as many columns as go together: normalised ones, logits, and what sampling needs. */

/* Columns that go together: bounds the scratch of a step with many heads. */
#define MOST_COLUMNS 32

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static uint64_t scratch_bytes(const weft_cuda_phase *phase) {
    int64_t n_columns = least(phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[1], MOST_COLUMNS),
            n_vocab = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].shape[1];
    return (uint64_t)((phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[0] + n_vocab) * n_columns) * sizeof(float) +
           weft_cuda_sample_bytes(n_vocab, n_columns);
}

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[1],
            n_vocab = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].shape[1];
    weft_cuda_phase some = *phase;
    for (some.first_column = 0; some.first_column < n_columns; some.first_column += MOST_COLUMNS) {
        some.n_columns = least(n_columns - some.first_column, MOST_COLUMNS);
        weft_cuda_record(recorder, "weft_norm", weft_cuda_norm(some.inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[0], some.n_columns),
                         &some);
        weft_cuda_record_product(recorder, "weft_logits", "weft_logits_of_one", &some, n_vocab, some.n_columns);
        weft_cuda_record_sample(recorder, &some, n_vocab);
    }
}

const weft_cuda_op weft_cuda_op_norm_head_sample = {.record = record, .scratch_bytes = scratch_bytes, .reads_layouts = true};
