#include "weft/ops/norm_head_sample.h"

#include "backends/vulkan/kernels.h"

typedef struct head_parts {
    weft_vulkan_sampler sampler;
    weft_vulkan_columns normed; /* of one run */
    uint64_t logits;
} head_parts;

static head_parts parts_of(const weft_backend_device *device, const weft_vulkan_node *node, weft_vulkan_scratch *scratch) {
    const weft_norm_head_sample_params *params = (const void *)node->params;
    int64_t n_columns = node->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[1],
            n_vocab = node->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT].shape[1];
    if (n_columns > WEFT_VULKAN_SAMPLE_COLUMNS) n_columns = WEFT_VULKAN_SAMPLE_COLUMNS;
    head_parts parts;
    weft_vulkan_sampler_init(&parts.sampler, node, WEFT_NORM_HEAD_SAMPLE_HEADS, n_vocab, params->n_top, scratch);
    parts.normed = weft_vulkan_columns_take(device, node, scratch, node->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[0], n_columns, true);
    parts.normed.x =
        weft_vulkan_take(scratch, (uint64_t)(node->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[0] * n_columns) * sizeof(float));
    parts.logits = weft_vulkan_take(scratch, (uint64_t)(n_vocab * n_columns) * sizeof(float));
    return parts;
}

static uint64_t scratch_bytes(const weft_backend_device *device, const weft_vulkan_node *node) {
    weft_vulkan_scratch scratch = {0};
    parts_of(device, node, &scratch);
    return scratch.used;
}

static void record_columns(weft_vulkan_recorder *recorder, const weft_vulkan_node *node, const head_parts *parts, int64_t first,
                           int64_t n_columns) {
    const weft_norm_head_sample_params *params = (const void *)node->params;
    int64_t n_embd = node->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[0];
    weft_vulkan_columns columns = parts->normed;
    columns.n_columns = n_columns;
    weft_vulkan_rms_norm(recorder, node->inputs[WEFT_NORM_HEAD_SAMPLE_X].address + (uint64_t)(first * n_embd) * sizeof(float),
                         node->inputs[WEFT_NORM_HEAD_SAMPLE_NORM].address, columns.x, n_embd, n_columns, params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &columns);
    weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &node->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT],
                                                         .columns = &columns,
                                                         .y = parts->logits,
                                                         .fine = true});
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_sample(recorder, &parts->sampler, parts->logits, first, n_columns);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    head_parts parts = parts_of(recorder->device, node, &(weft_vulkan_scratch){.base = node->scratch});
    int64_t n_columns = node->inputs[WEFT_NORM_HEAD_SAMPLE_X].shape[1];
    for (int64_t first = 0; first < n_columns; first += WEFT_VULKAN_SAMPLE_COLUMNS) {
        int64_t left = n_columns - first;
        if (first > 0) weft_vulkan_record_barrier(recorder); /* the scratch is used again */
        record_columns(recorder, node, &parts, first, left < WEFT_VULKAN_SAMPLE_COLUMNS ? left : WEFT_VULKAN_SAMPLE_COLUMNS);
    }
}

const weft_vulkan_op weft_vulkan_op_norm_head_sample = {.record = record, .scratch_bytes = scratch_bytes, .multiplies = true};
