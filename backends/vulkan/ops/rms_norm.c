#include "weft/ops/rms_norm.h"

#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_rms_norm_params *params = (const void *)node->params;
    const weft_vulkan_tensor *x = &node->inputs[WEFT_RMS_NORM_X];
    int64_t n_groups = params->n_groups > 1 ? params->n_groups : 1;
    weft_vulkan_rms_norm(recorder, x->address, node->inputs[WEFT_RMS_NORM_WEIGHT].address,
                         node->outputs[WEFT_RMS_NORM_OUT_Y].address, x->shape[0] / n_groups, x->shape[1] * n_groups,
                         params->epsilon);
}

const weft_vulkan_op weft_vulkan_op_rms_norm = {.record = record};
