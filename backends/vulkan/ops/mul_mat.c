#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &node->inputs[0],
                                                         .x = node->inputs[1].address,
                                                         .y = node->outputs[0].address,
                                                         .n_columns = node->inputs[1].shape[1]});
}

const weft_vulkan_op weft_vulkan_op_mul_mat = {.record = record};
