#include "weft/ops/soft_max.h"

#include "backends/vulkan/recorder.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_soft_max_params *params = (const void *)node->params;
    const weft_vulkan_tensor *x = &node->inputs[WEFT_SOFT_MAX_X];
    const struct {
        uint64_t control, x, mask, y;
        uint32_t n, n_columns;
        float scale;
    } push = {0,
              x->address,
              node->inputs[WEFT_SOFT_MAX_MASK].address,
              node->outputs[WEFT_SOFT_MAX_OUT_Y].address,
              (uint32_t)x->shape[0],
              (uint32_t)x->shape[1],
              params->scale};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_soft_max,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)x->shape[1]});
}

const weft_vulkan_op weft_vulkan_op_soft_max = {.record = record, .in_place = true};
