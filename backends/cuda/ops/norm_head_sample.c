#include "weft/ops/norm_head_sample.h"

#include "backends/cuda/products.h"

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
        weft_cuda_record_sample(recorder, "norm_head_sample", phase, n_vocab, columns);
    }
}

/* Before the scratch of the product: that of the other kernel. */
static uint64_t before_bytes(const weft_phase *phase) {
    return (scratch_bytes(phase) + 63) / 64 * 64;
}

static uint64_t units_bytes(const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape;
    return before_bytes(phase) +
           weft_cuda_product_bytes(shape[0], shape[1], 1, min(phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1], MAX_COLUMNS));
}

static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_norm_head_sample_params *params = phase->params;
    const weft_place *x = &phase->inputs[WEFT_NORM_HEAD_SAMPLE_X], *weight = &phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT];
    int64_t n_columns = x->tensor.shape[1], n_embd = x->tensor.shape[0];
    for (int64_t first = 0; first < n_columns; first += MAX_COLUMNS) {
        weft_cuda_columns columns = {first, min(n_columns - first, MAX_COLUMNS)};
        weft_cuda_product product = {.x = x->address + (uint64_t)(first * n_embd) * sizeof(float),
                                     .norm = phase->inputs[WEFT_NORM_HEAD_SAMPLE_NORM].address,
                                     .k = n_embd,
                                     .n_columns = columns.n,
                                     .epsilon = params->epsilon};
        weft_cuda_add_matrix(&product, weight, NULL, phase->scratch.address + (uint64_t)(n_embd * columns.n) * sizeof(float));
        weft_cuda_record_units(recorder, &product, phase->scratch.address + before_bytes(phase));
        weft_cuda_record_sample(recorder, "norm_head_sample", phase, weight->tensor.shape[1], columns);
    }
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_NORM_HEAD_SAMPLE,
                .name = "norm_head_sample f16 mma, units",
                .precisions = WEFT_RUNS_FAST,
                .rank = 2,
                .weights = {WEFT_CUDA_UNIT_WEIGHTS(WEFT_PORT_BIT(WEFT_NORM_HEAD_SAMPLE_WEIGHT))}},
     WEFT_CUDA_PRODUCT_ROW,
     .record = record_units,
     .scratch_bytes = units_bytes},
    {.kernel = {.op = WEFT_OP_NORM_HEAD_SAMPLE,
                .name = "norm_head_sample exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_NORM_HEAD_SAMPLE_WEIGHT), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "norm_head_sample",
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_cuda_op_norm_head_sample = WEFT_KERNEL_ROWS(kernels);
