#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *state = &call->phase->inputs[WEFT_SCATTER_STATE], *updates = &call->phase->inputs[WEFT_SCATTER_UPDATES];
    const struct {
        uint64_t control, state, updates;
        uint32_t n_words, n_updates, update_words;
    } push = {0,
              state->address,
              updates->address,
              (uint32_t)weft_vulkan_elements(state),
              (uint32_t)updates->tensor.shape[1],
              (uint32_t)updates->tensor.shape[0]};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_scatter,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(updates->tensor.shape[1], 64)});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SCATTER,
                .name = "scatter exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_scatter = WEFT_KERNEL_ROWS(kernels);
