#include "weft/ops/sample.h"

#include "backends/cuda/launch.h"
#include "kernels/phase.h"

#define FILE_OF_KERNELS "sample"
#define MOST_FAST 4 /* columns; with more, blocks have fewer threads, so that more of them run at a time */

static int64_t n_ranges(int64_t n_vocab) {
    return weft_cuda_ceil(n_vocab, WEFT_SAMPLE_RANGE);
}

/* Keys, then sums. */
uint64_t weft_cuda_sample_bytes(int64_t n_vocab, int64_t n_columns) {
    return (uint64_t)(n_ranges(n_vocab) * n_columns) * (sizeof(uint64_t) + 2 * sizeof(float));
}

weft_cuda_sample weft_cuda_sample_of(const weft_cuda_recorder *recorder, const weft_phase *phase, const weft_cuda_choice *choice) {
    const weft_place *sequences = &phase->inputs[choice->sequences];
    int64_t first = choice->columns.first, n = n_ranges(choice->n_vocab);
    uint64_t sums = choice->scratch + (uint64_t)(n * choice->columns.n) * sizeof(uint64_t);
    return (weft_cuda_sample){
        .control = weft_cuda_recorder_control(recorder),
        .logits = choice->logits,
        .heads = phase->inputs[choice->heads].address + (uint64_t)(first * WEFT_HEAD_WORDS) * sizeof(int32_t),
        .chosen = phase->outputs[WEFT_SAMPLE_OUT_CHOSEN].address + (uint64_t)(first * 2) * sizeof(int32_t),
        .top = phase->outputs[WEFT_SAMPLE_OUT_TOP].address + (uint64_t)(first * choice->n_top * 2) * sizeof(int32_t),
        .sequences = sequences->address,
        .keys = choice->scratch,
        .sums = sums,
        .tempered = sums + (uint64_t)(n * choice->columns.n) * sizeof(float),
        .n_vocab = choice->n_vocab,
        .n_columns = choice->columns.n,
        .n_top = choice->n_top,
        .n_ranges = n,
        .sequence_words = sequences->tensor.shape[0],
        .n_sequences = sequences->tensor.shape[1],
    };
}

void weft_cuda_record_sample(weft_cuda_recorder *recorder, weft_cuda_sample *sample) {
    int64_t n = sample->n_columns;
    if (sample->n_keys == 0) {
        sample->n_keys = sample->n_ranges;
        weft_cuda_launch(recorder, FILE_OF_KERNELS, "weft_largest_logits", weft_cuda_blocks(sample->n_ranges, n, 256), sample);
    }
    weft_cuda_launch(recorder, FILE_OF_KERNELS, "weft_sum_exponentials",
                     weft_cuda_blocks(sample->n_ranges, n, n <= MOST_FAST ? 1024 : 256), sample);
    weft_cuda_launch(recorder, FILE_OF_KERNELS, "weft_choose", weft_cuda_blocks(n, 1, 1024), sample);
}
