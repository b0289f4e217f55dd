#include "weft/ops/route.h"

#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_route_params *params = call->phase->params;
    const weft_place *logits = &call->phase->inputs[WEFT_ROUTE_LOGITS];
    const struct {
        uint64_t control, logits, ids, weights;
        uint32_t n, n_columns, n_chosen, function, normalised;
        float scale;
    } push = {0,
              logits->address,
              call->phase->outputs[WEFT_ROUTE_OUT_IDS].address,
              call->phase->outputs[WEFT_ROUTE_OUT_WEIGHTS].address,
              (uint32_t)logits->tensor.shape[0],
              (uint32_t)logits->tensor.shape[1],
              (uint32_t)params->n_chosen,
              (uint32_t)params->function,
              (uint32_t)params->normalised,
              params->scale};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_route,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)logits->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ROUTE,
                .name = "route exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_route = WEFT_KERNEL_ROWS(kernels);
