#include "weft/ops/soft_cap.h"

#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_soft_cap_params *params = call->phase->params;
    const int64_t n = weft_vulkan_elements(&call->phase->inputs[WEFT_SOFT_CAP_X]);
    const struct {
        uint64_t control, x, y;
        uint32_t n;
        float cap;
    } push = {0, call->phase->inputs[WEFT_SOFT_CAP_X].address, call->phase->outputs[WEFT_SOFT_CAP_OUT_Y].address, (uint32_t)n,
              params->cap};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_soft_cap,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(n, 128)});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SOFT_CAP,
                .name = "soft_cap exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .in_place = true,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_soft_cap = WEFT_KERNEL_ROWS(kernels);
