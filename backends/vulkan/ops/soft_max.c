#include "weft/ops/soft_max.h"

#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_soft_max_params *params = call->phase->params;
    const weft_place *x = &call->phase->inputs[WEFT_SOFT_MAX_X];
    const struct {
        uint64_t control, x, mask, y;
        uint32_t n, n_columns;
        float scale;
    } push = {0,
              x->address,
              call->phase->inputs[WEFT_SOFT_MAX_MASK].address,
              call->phase->outputs[WEFT_SOFT_MAX_OUT_Y].address,
              (uint32_t)x->tensor.shape[0],
              (uint32_t)x->tensor.shape[1],
              params->scale};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_soft_max,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)x->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SOFT_MAX,
                .name = "soft_max exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .in_place = true,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_soft_max = WEFT_KERNEL_ROWS(kernels);
