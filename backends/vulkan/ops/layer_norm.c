#include "weft/ops/layer_norm.h"

#include "backends/vulkan/kernels.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_layer_norm_params *params = call->phase->params;
    const weft_place *inputs = call->phase->inputs;
    const struct {
        uint64_t control, x, weight, bias, y;
        uint32_t n, n_columns;
        float epsilon;
    } push = {0,
              inputs[WEFT_LAYER_NORM_X].address,
              inputs[WEFT_LAYER_NORM_WEIGHT].address,
              inputs[WEFT_LAYER_NORM_BIAS].address,
              call->phase->outputs[WEFT_LAYER_NORM_OUT_Y].address,
              (uint32_t)inputs[WEFT_LAYER_NORM_X].tensor.shape[0],
              (uint32_t)inputs[WEFT_LAYER_NORM_X].tensor.shape[1],
              params->epsilon};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_layer_norm,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = push.n_columns});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_LAYER_NORM,
                .name = "layer_norm exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_layer_norm = WEFT_KERNEL_ROWS(kernels);
