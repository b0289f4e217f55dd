#include "backends/vulkan/kernels.h"

/* Inputs */
enum { WEIGHT, X, BIAS, RESIDUAL };

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &node->inputs[WEIGHT],
                                                         .x = node->inputs[X].address,
                                                         .y = node->outputs[0].address,
                                                         .bias = node->inputs[BIAS].address,
                                                         .residual = node->inputs[RESIDUAL].address,
                                                         .n_columns = node->inputs[X].shape[1]});
}

const weft_vulkan_op weft_vulkan_op_mul_mat_add = {.record = record};
