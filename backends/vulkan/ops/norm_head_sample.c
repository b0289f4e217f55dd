#include "weft/ops/norm_head_sample.h"

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/units.h"

typedef struct head_parts {
    weft_vulkan_sampler sampler;
    weft_vulkan_columns normed; /* of one run */
    uint64_t logits;
} head_parts;

static head_parts parts_of(const weft_vulkan_call *call, weft_vulkan_scratch *scratch) {
    const weft_norm_head_sample_params *params = call->phase->params;
    int64_t n_columns = call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1],
            n_vocab = call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].tensor.shape[1];
    if (n_columns > WEFT_VULKAN_SAMPLE_COLUMNS) n_columns = WEFT_VULKAN_SAMPLE_COLUMNS;
    head_parts parts;
    weft_vulkan_sampler_init(&parts.sampler, call, WEFT_NORM_HEAD_SAMPLE_HEADS, n_vocab, params->n_top, scratch);
    parts.normed = weft_vulkan_columns_take(call, scratch, call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0], n_columns,
                                            params->extra_precision != 0);
    parts.normed.x = weft_vulkan_take(
        scratch, (uint64_t)(call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0] * n_columns) * sizeof(float));
    parts.logits = weft_vulkan_take(scratch, (uint64_t)(n_vocab * n_columns) * sizeof(float));
    return parts;
}

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    weft_vulkan_scratch scratch = {0};
    parts_of(call, &scratch);
    return scratch.used;
}

static void record_columns(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, const head_parts *parts, int64_t first,
                           int64_t n_columns) {
    const weft_norm_head_sample_params *params = call->phase->params;
    int64_t n_embd = call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0];
    weft_vulkan_columns columns = parts->normed;
    columns.n_columns = n_columns;
    weft_vulkan_rms_norm(recorder,
                         call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].address + (uint64_t)(first * n_embd) * sizeof(float),
                         call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_NORM].address, columns.x, n_embd, n_columns, params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &columns);
    weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT],
                                                         .columns = &columns,
                                                         .y = parts->logits,
                                                         .extra_precision = params->extra_precision != 0});
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_sample(recorder, &parts->sampler, parts->logits, first, n_columns);
}

/* The same from a weight in units, which norms the columns itself. */
static void record_columns_units(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, const head_parts *parts,
                                 int64_t first, int64_t n_columns) {
    const weft_norm_head_sample_params *params = call->phase->params;
    const weft_place *inputs = call->phase->inputs;
    uint64_t column_bytes = (uint64_t)inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[0] * sizeof(float);
    weft_vulkan_record_unit_products(
        recorder, &(weft_vulkan_unit_products){.matrices = {{.weight = &inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT], .y = parts->logits}},
                                               .n_matrices = 1,
                                               .by_dots = weft_vulkan_by_dots(call),
                                               .x = inputs[WEFT_NORM_HEAD_SAMPLE_X].address + (uint64_t)first * column_bytes,
                                               .norm = inputs[WEFT_NORM_HEAD_SAMPLE_NORM].address,
                                               .epsilon = params->epsilon,
                                               .n_columns = n_columns});
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_sample(recorder, &parts->sampler, parts->logits, first, n_columns);
}

typedef void (*columns_function)(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, const head_parts *parts,
                                 int64_t first, int64_t n_columns);

static void record_all(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, columns_function record_some) {
    head_parts parts = parts_of(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address});
    int64_t n_columns = call->phase->inputs[WEFT_NORM_HEAD_SAMPLE_X].tensor.shape[1];
    for (int64_t first = 0; first < n_columns; first += WEFT_VULKAN_SAMPLE_COLUMNS) {
        int64_t left = n_columns - first;
        if (first > 0) weft_vulkan_record_barrier(recorder); /* the scratch is used again */
        record_some(recorder, call, &parts, first, left < WEFT_VULKAN_SAMPLE_COLUMNS ? left : WEFT_VULKAN_SAMPLE_COLUMNS);
    }
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    record_all(recorder, call, record_columns);
}

static void record_units(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    record_all(recorder, call, record_columns_units);
}

#define MATRICES WEFT_PORT_BIT(WEFT_NORM_HEAD_SAMPLE_WEIGHT)

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_DOTS_ROW(WEFT_OP_NORM_HEAD_SAMPLE, "norm_head_sample units, dots", MATRICES), .record = record_units,
     .scratch_bytes = scratch_bytes},
    {WEFT_VULKAN_UNITS_ROW(WEFT_OP_NORM_HEAD_SAMPLE, "norm_head_sample units", MATRICES), .record = record_units,
     .scratch_bytes = scratch_bytes},
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_NORM_HEAD_SAMPLE, "norm_head_sample int8", MATRICES), .record = record,
     .scratch_bytes = scratch_bytes},
    {.kernel = {.op = WEFT_OP_NORM_HEAD_SAMPLE,
                .name = "norm_head_sample exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_norm_head_sample = WEFT_KERNEL_ROWS(kernels);
