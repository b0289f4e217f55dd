#include "weft/ops/norm_head_sample.h"

#include "backends/cuda/launch.h"

/* Scratch, for the columns that are computed together: the normalised columns, the logits, and the sampler's scratch. */

/* The maximum number of columns that are computed together. It bounds the scratch of a step with many heads. */
#define MAX_COLUMNS 32

static int64_t min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static uint64_t scratch_bytes(const weft_phase *phase) {
    int64_t n_columns = min(phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1], MAX_COLUMNS),
            n_vocab = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
    return (uint64_t)((phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0] + n_vocab) * n_columns) * sizeof(float) +
           weft_cuda_sample_bytes(n_vocab, n_columns);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1],
            n_vocab = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
    const weft_norm_head_sample_params *params = phase->params;
    int64_t n_embd = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0];
    for (int64_t first = 0; first < n_columns; first += MAX_COLUMNS) {
        weft_cuda_columns columns = {first, min(n_columns - first, MAX_COLUMNS)};
        weft_cuda_norm norm = {
            .x = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].address + (uint64_t)(first * n_embd) * sizeof(float),
            .weight = phase->inputs[WEFT_NORM_HEAD_SAMPLE_NORM].address,
            .y = phase->scratch.address,
            .n = n_embd,
            .epsilon = params->epsilon,
        };
        weft_cuda_record_norm(recorder, &norm, columns.n);
        weft_cuda_record_product(recorder, "weft_logits", "weft_logits_of_one", phase, n_vocab, columns);
        weft_cuda_record_sample(recorder, phase, n_vocab, columns);
    }
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_NORM_HEAD_SAMPLE,
                .name = "norm_head_sample exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_NORM_HEAD_SAMPLE_WEIGHT), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "norm_head_sample",
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_cuda_op_norm_head_sample = WEFT_KERNEL_ROWS(kernels);
