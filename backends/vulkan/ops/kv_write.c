#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_kv_write(recorder, node->inputs[WEFT_KV_WRITE_K].address, node->inputs[WEFT_KV_WRITE_V].address,
                         node->inputs[WEFT_KV_WRITE_K].shape[1], &node->inputs[WEFT_KV_WRITE_KV], &node->inputs[WEFT_KV_WRITE_ROWS],
                         &node->inputs[WEFT_KV_WRITE_SEQUENCES]);
}

const weft_vulkan_op weft_vulkan_op_kv_write = {.record = record};
