#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *weight = &call->phase->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], *x = &call->phase->inputs[WEFT_MUL_MAT_EXPERTS_X],
                     *y = &call->phase->outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y];
    const struct {
        uint64_t control, weight, x, ids, y;
        uint32_t k, n, n_experts, n_columns, n_ids, row_bytes;
    } push = {0,
              weight->address,
              x->address,
              call->phase->inputs[WEFT_MUL_MAT_EXPERTS_IDS].address,
              y->address,
              (uint32_t)weight->tensor.shape[0],
              (uint32_t)weight->tensor.shape[1],
              (uint32_t)weight->tensor.shape[2],
              (uint32_t)x->tensor.shape[1],
              (uint32_t)y->tensor.shape[1],
              weft_vulkan_row_bytes(recorder->device, weight)};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_mul_mat_experts,
                                                         .constants = {weft_vulkan_matrix_type(weight), 1},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(weight->tensor.shape[1], 2),
                                                         .groups_y = (uint64_t)y->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_MUL_MAT_EXPERTS,
                .name = "mul_mat_experts exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_MUL_MAT_EXPERTS_WEIGHT), .layouts = WEFT_VULKAN_EXACT_LAYOUTS}},
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_mul_mat_experts = WEFT_KERNEL_ROWS(kernels);
