#include "backends/vulkan/kernels.h"

static uint64_t scratch_bytes(const weft_backend_device *device, const weft_vulkan_node *node) {
    return weft_vulkan_mul_mat_bytes(device, node, true);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_mul_mat_node(recorder, node, 0, 0, true);
}

const weft_vulkan_op weft_vulkan_op_mul_mat = {.record = record, .scratch_bytes = scratch_bytes, .multiplies = true};
