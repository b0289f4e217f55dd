#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *x = &call->phase->inputs[WEFT_SUM_EXPERTS_X], *weights = &call->phase->inputs[WEFT_SUM_EXPERTS_WEIGHTS];
    const struct {
        uint64_t control, x, weights, y;
        uint32_t n, n_chosen, n_columns;
    } push = {0,
              x->address,
              weights->address,
              call->phase->outputs[WEFT_SUM_EXPERTS_OUT_Y].address,
              (uint32_t)x->tensor.shape[0],
              (uint32_t)weights->tensor.shape[0],
              (uint32_t)weights->tensor.shape[1]};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_sum_experts,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(x->tensor.shape[0], 64),
                                                         .groups_y = (uint64_t)weights->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SUM_EXPERTS,
                .name = "sum_experts exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_sum_experts = WEFT_KERNEL_ROWS(kernels);
