#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_elementwise_node(recorder, WEFT_VULKAN_SHADER_gelu, node);
}

const weft_vulkan_op weft_vulkan_op_gelu = {.record = record, .in_place = true};
