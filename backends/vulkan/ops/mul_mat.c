#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_mul_mat_node(recorder, node, 0, 0);
}

const weft_vulkan_op weft_vulkan_op_mul_mat = {.record = record, .scratch_bytes = weft_vulkan_mul_mat_bytes, .multiplies = true};
