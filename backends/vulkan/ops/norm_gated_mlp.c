#include "weft/ops/norm_gated_mlp.h"

#include "backends/vulkan/kernels.h"

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    return weft_vulkan_normed_bytes(call, call->phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1], false);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    const weft_place *x = &call->phase->inputs[WEFT_NORM_GATED_MLP_X];
    weft_vulkan_normed parts = weft_vulkan_normed_take(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address},
                                                       call->phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1], false);
    weft_vulkan_rms_norm(recorder, x->address, call->phase->inputs[WEFT_NORM_GATED_MLP_NORM].address, parts.columns.x,
                         x->tensor.shape[0], x->tensor.shape[1], params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &parts.columns);
    weft_vulkan_product product = {
        .weight = &call->phase->inputs[WEFT_NORM_GATED_MLP_GATE], .columns = &parts.columns, .y = parts.results[0]};
    weft_vulkan_mul_mat(recorder, &product);
    product.weight = &call->phase->inputs[WEFT_NORM_GATED_MLP_UP];
    product.y = parts.results[1];
    weft_vulkan_mul_mat(recorder, &product);
    weft_vulkan_record_barrier(recorder);
    int64_t n = weft_vulkan_elements(&call->phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y]);
    weft_vulkan_elementwise(recorder, WEFT_VULKAN_SHADER_norm_gated_mlp, (uint32_t)params->activation, parts.results[0],
                            parts.results[1], call->phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y].address, n, n);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) | WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP))

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp int8", MATRICES), .record = record,
     .scratch_bytes = scratch_bytes},
    {.kernel = {.op = WEFT_OP_NORM_GATED_MLP,
                .name = "norm_gated_mlp exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_norm_gated_mlp = WEFT_KERNEL_ROWS(kernels);
