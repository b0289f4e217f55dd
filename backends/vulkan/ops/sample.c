#include "weft/ops/sample.h"

#include "backends/vulkan/kernels.h"

static weft_vulkan_sampler sampler_of(const weft_vulkan_call *call, weft_vulkan_scratch *scratch) {
    const weft_sample_params *params = call->phase->params;
    weft_vulkan_sampler sampler;
    weft_vulkan_sampler_init(&sampler, call, WEFT_SAMPLE_HEADS, call->phase->inputs[WEFT_SAMPLE_LOGITS].tensor.shape[0],
                             params->n_top, scratch);
    return sampler;
}

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    weft_vulkan_scratch scratch = {0};
    sampler_of(call, &scratch);
    return scratch.used;
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *logits = &call->phase->inputs[WEFT_SAMPLE_LOGITS];
    weft_vulkan_sampler sampler = sampler_of(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address});
    for (int64_t first = 0; first < logits->tensor.shape[1]; first += WEFT_VULKAN_SAMPLE_COLUMNS) {
        int64_t left = logits->tensor.shape[1] - first;
        if (first > 0) weft_vulkan_record_barrier(recorder); /* the scratch is used again */
        weft_vulkan_sample(recorder, &sampler, logits->address + (uint64_t)(first * logits->tensor.shape[0]) * sizeof(float), first,
                           left < WEFT_VULKAN_SAMPLE_COLUMNS ? left : WEFT_VULKAN_SAMPLE_COLUMNS);
    }
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SAMPLE,
                .name = "sample exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_sample = WEFT_KERNEL_ROWS(kernels);
