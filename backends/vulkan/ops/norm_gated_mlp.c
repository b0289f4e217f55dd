#include "weft/ops/norm_gated_mlp.h"

#include "backends/vulkan/kernels.h"

static uint64_t scratch_bytes(const weft_backend_device *device, const weft_vulkan_node *node) {
    return weft_vulkan_normed_bytes(device, node, node->inputs[WEFT_NORM_GATED_MLP_GATE].shape[1], false);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_norm_gated_mlp_params *params = (const void *)node->params;
    const weft_vulkan_tensor *x = &node->inputs[WEFT_NORM_GATED_MLP_X];
    weft_vulkan_normed parts = weft_vulkan_normed_take(recorder->device, node, &(weft_vulkan_scratch){.base = node->scratch},
                                                       node->inputs[WEFT_NORM_GATED_MLP_GATE].shape[1], false);
    weft_vulkan_rms_norm(recorder, x->address, node->inputs[WEFT_NORM_GATED_MLP_NORM].address, parts.columns.x, x->shape[0],
                         x->shape[1], params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &parts.columns);
    weft_vulkan_product product = {
        .weight = &node->inputs[WEFT_NORM_GATED_MLP_GATE], .columns = &parts.columns, .y = parts.results[0]};
    weft_vulkan_mul_mat(recorder, &product);
    product.weight = &node->inputs[WEFT_NORM_GATED_MLP_UP];
    product.y = parts.results[1];
    weft_vulkan_mul_mat(recorder, &product);
    weft_vulkan_record_barrier(recorder);
    int64_t n = weft_vulkan_elements(&node->outputs[WEFT_NORM_GATED_MLP_OUT_Y]);
    weft_vulkan_elementwise(recorder, WEFT_VULKAN_SHADER_norm_gated_mlp, (uint32_t)params->activation, parts.results[0],
                            parts.results[1], node->outputs[WEFT_NORM_GATED_MLP_OUT_Y].address, n, n);
}

const weft_vulkan_op weft_vulkan_op_norm_gated_mlp = {.record = record, .scratch_bytes = scratch_bytes, .multiplies = true};
