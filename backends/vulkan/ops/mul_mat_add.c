#include "backends/vulkan/kernels.h"

static uint64_t scratch_bytes(const weft_backend_device *device, const weft_vulkan_node *node) {
    return weft_vulkan_mul_mat_bytes(device, node, false);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_mul_mat_node(recorder, node, node->inputs[WEFT_MUL_MAT_ADD_BIAS].address,
                             node->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address, false);
}

const weft_vulkan_op weft_vulkan_op_mul_mat_add = {.record = record, .scratch_bytes = scratch_bytes, .multiplies = true};
