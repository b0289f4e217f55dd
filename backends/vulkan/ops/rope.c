#include "weft/ops/rope.h"

#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_rope_params *params = call->phase->params;
    const weft_place *x = &call->phase->inputs[WEFT_ROPE_X], *table = &call->phase->inputs[WEFT_ROPE_TABLE];
    const struct {
        uint64_t control, x, rows, table, y;
        uint32_t n, n_columns, head_dim, n_dims, n_positions;
        int32_t order;
    } push = {0,
              x->address,
              call->phase->inputs[WEFT_ROPE_ROWS].address,
              table->address,
              call->phase->outputs[WEFT_ROPE_OUT_Y].address,
              (uint32_t)x->tensor.shape[0],
              (uint32_t)x->tensor.shape[1],
              (uint32_t)params->head_dim,
              (uint32_t)table->tensor.shape[0],
              (uint32_t)table->tensor.shape[1],
              params->order};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_rope,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(x->tensor.shape[0], 64),
                                                         .groups_y = (uint64_t)x->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ROPE,
                .name = "rope exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_rope = WEFT_KERNEL_ROWS(kernels);
