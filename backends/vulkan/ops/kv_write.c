#include "backends/vulkan/kernels.h"

/* Inputs */
enum { K, V, KV, ROWS, SEQUENCES };

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_kv_write(recorder, node->inputs[K].address, node->inputs[V].address, node->inputs[K].shape[1], &node->inputs[KV],
                         &node->inputs[ROWS], &node->inputs[SEQUENCES]);
}

const weft_vulkan_op weft_vulkan_op_kv_write = {.record = record};
