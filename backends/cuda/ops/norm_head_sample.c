#include "weft/ops/norm_head_sample.h"

#include "backends/cuda/products.h"

/* Scratch, for the columns that are computed together: the normalised columns, the logits, the sampler's; with weights in units
 * also keys and the product's. */

/* The maximum number of columns that are computed together. It bounds the scratch of a step with many heads. */
#define MAX_COLUMNS 32

/* Products of weights in units read the weights once for so many columns, as far as the logits of all these columns, and their sums
 * of slices where there are several, need no more memory than this: 128 columns up to a vocabulary of 262,144. */
#define MAX_UNIT_COLUMNS 128
#define MAX_LOGIT_BYTES ((int64_t)128 << 20)

static int64_t min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t vocabulary(const weft_phase *phase) {
    return phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
}

/* Of `n_columns` columns that are computed together, before the sampler's. */
static uint64_t logits_end(const weft_phase *phase, int64_t n_columns) {
    uint64_t floats = (uint64_t)((phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0] + vocabulary(phase)) * n_columns);
    return (floats * sizeof(float) + 63) / 64 * 64;
}

static uint64_t bytes_of(const weft_phase *phase, int64_t n_columns) {
    return logits_end(phase, n_columns) + weft_cuda_sample_bytes(vocabulary(phase), n_columns);
}

static weft_cuda_sample sample_of(const weft_cuda_recorder *recorder, const weft_phase *phase, weft_cuda_columns columns) {
    int64_t n_embd = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0];
    const weft_cuda_choice choice = {.heads = WEFT_NORM_HEAD_SAMPLE_HEADS,
                                     .sequences = WEFT_NORM_HEAD_SAMPLE_SEQUENCES,
                                     .n_vocab = vocabulary(phase),
                                     .n_top = ((const weft_norm_head_sample_params *)phase->params)->n_top,
                                     .columns = columns,
                                     .logits = phase->scratch.address + (uint64_t)(n_embd * columns.n) * sizeof(float),
                                     .scratch = phase->scratch.address + logits_end(phase, columns.n)};
    return weft_cuda_sample_of(recorder, phase, &choice);
}

/* Into the scratch's beginning. */
static void record_norm(weft_cuda_recorder *recorder, const weft_phase *phase, weft_cuda_columns columns) {
    int64_t n_embd = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0];
    weft_cuda_norm norm = {
        .x = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].address + (uint64_t)(columns.first * n_embd) * sizeof(float),
        .weight = phase->inputs[WEFT_NORM_HEAD_SAMPLE_NORM].address,
        .y = phase->scratch.address,
        .n = n_embd,
        .epsilon = ((const weft_norm_head_sample_params *)phase->params)->epsilon,
    };
    weft_cuda_record_norm(recorder, &norm, columns.n);
}

static uint64_t scratch_bytes(const weft_phase *phase) {
    return bytes_of(phase, min(phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1], MAX_COLUMNS));
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    int64_t n_columns = phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1],
            n_vocab = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
    for (int64_t first = 0; first < n_columns; first += MAX_COLUMNS) {
        weft_cuda_columns columns = {first, min(n_columns - first, MAX_COLUMNS)};
        record_norm(recorder, phase, columns);
        weft_cuda_record_product(recorder, "weft_logits", "weft_logits_of_one", phase, n_vocab, columns);
        weft_cuda_sample sample = sample_of(recorder, phase, columns);
        weft_cuda_record_sample(recorder, &sample);
    }
}

/* ---- Weights in units ---- */

static int64_t unit_columns(const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape;
    int64_t n_slices = weft_slices_of((int)weft_units_of(shape[0])), values = shape[1] * (n_slices > 1 ? 1 + n_slices : 1);
    int64_t most = MAX_LOGIT_BYTES / (values * (int64_t)sizeof(float)) / MAX_COLUMNS * MAX_COLUMNS;
    most = min(most > MAX_COLUMNS ? most : MAX_COLUMNS, MAX_UNIT_COLUMNS);
    return min(phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1], most);
}

/* Before the keys and the scratch of the product: that of the other kernel. */
static uint64_t before_bytes(const weft_phase *phase) {
    return (bytes_of(phase, unit_columns(phase)) + 63) / 64 * 64;
}

static uint64_t key_bytes(const weft_phase *phase) {
    return weft_cuda_key_bytes(vocabulary(phase), unit_columns(phase));
}

static uint64_t units_bytes(const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape;
    return before_bytes(phase) + key_bytes(phase) + weft_cuda_product_bytes(shape[0], shape[1], 1, unit_columns(phase));
}

/* The norm has a launch of its own. So logits have the same bits in steps that return them or the normalised row, where norm and
 * product are not fused. */
static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_tensor *x = &phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor;
    const int64_t n_columns = x->shape[1], most = unit_columns(phase);
    for (int64_t first = 0; first < n_columns; first += most) {
        weft_cuda_columns columns = {first, min(n_columns - first, most)};
        record_norm(recorder, phase, columns);
        weft_cuda_product product = {.x = phase->scratch.address, .k = x->shape[0], .n_columns = columns.n};
        weft_cuda_sample sample = sample_of(recorder, phase, columns);
        product.keys = phase->scratch.address + before_bytes(phase);
        weft_cuda_add_matrix(&product, &phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT], NULL, sample.logits);
        weft_cuda_record_units(recorder, &product, product.keys + key_bytes(phase));
        if (product.n_keys > 0) sample.keys = product.keys, sample.n_keys = product.n_keys;
        weft_cuda_record_sample(recorder, &sample);
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
