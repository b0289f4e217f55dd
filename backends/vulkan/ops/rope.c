#include "weft/ops/rope.h"

#include "backends/vulkan/recorder.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_rope_params *params = (const void *)node->params;
    const weft_vulkan_tensor *x = &node->inputs[WEFT_ROPE_X], *table = &node->inputs[WEFT_ROPE_TABLE];
    const struct {
        uint64_t control, x, rows, table, y;
        uint32_t n, n_columns, head_dim, n_dims, n_positions;
        int32_t order;
    } push = {0,
              x->address,
              node->inputs[WEFT_ROPE_ROWS].address,
              table->address,
              node->outputs[WEFT_ROPE_OUT_Y].address,
              (uint32_t)x->shape[0],
              (uint32_t)x->shape[1],
              (uint32_t)params->head_dim,
              (uint32_t)table->shape[0],
              (uint32_t)table->shape[1],
              params->order};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_rope,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(x->shape[0], 64),
                                                         .groups_y = (uint64_t)x->shape[1]});
}

const weft_vulkan_op weft_vulkan_op_rope = {.record = record};
