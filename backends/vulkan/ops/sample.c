#include "weft/ops/sample.h"

#include "backends/vulkan/kernels.h"

static weft_vulkan_sampler sampler_of(const weft_vulkan_node *node, weft_vulkan_scratch *scratch) {
    const weft_sample_params *params = (const void *)node->params;
    weft_vulkan_sampler sampler;
    weft_vulkan_sampler_init(&sampler, node, WEFT_SAMPLE_HEADS, node->inputs[WEFT_SAMPLE_LOGITS].shape[0], params->n_top, scratch);
    return sampler;
}

static uint64_t scratch_bytes(const weft_backend_device *device, const weft_vulkan_node *node) {
    (void)device;
    weft_vulkan_scratch scratch = {0};
    sampler_of(node, &scratch);
    return scratch.used;
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_vulkan_tensor *logits = &node->inputs[WEFT_SAMPLE_LOGITS];
    weft_vulkan_sampler sampler = sampler_of(node, &(weft_vulkan_scratch){.base = node->scratch});
    for (int64_t first = 0; first < logits->shape[1]; first += WEFT_VULKAN_SAMPLE_COLUMNS) {
        int64_t left = logits->shape[1] - first;
        if (first > 0) weft_vulkan_record_barrier(recorder); /* the scratch is used again */
        weft_vulkan_sample(recorder, &sampler, logits->address + (uint64_t)(first * logits->shape[0]) * sizeof(float), first,
                           left < WEFT_VULKAN_SAMPLE_COLUMNS ? left : WEFT_VULKAN_SAMPLE_COLUMNS);
    }
}

const weft_vulkan_op weft_vulkan_op_sample = {.record = record, .scratch_bytes = scratch_bytes};
