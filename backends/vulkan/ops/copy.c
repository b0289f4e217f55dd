#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *x = &call->phase->inputs[WEFT_COPY_X];
    int64_t n_rows = x->tensor.shape[1] * x->tensor.shape[2] * x->tensor.shape[3];
    const struct {
        uint64_t control, table, y;
        uint32_t n, n_columns, n_rows, row_bytes;
    } push = {0,
              x->address,
              call->phase->outputs[WEFT_COPY_OUT_Y].address,
              (uint32_t)x->tensor.shape[0],
              (uint32_t)n_rows,
              (uint32_t)n_rows,
              weft_vulkan_row_bytes(recorder->device, x)};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_copy,
                                                         .constants = {weft_vulkan_matrix_type(x)},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(x->tensor.shape[0], 64 * 32),
                                                         .groups_y = (uint64_t)n_rows});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_COPY,
                .name = "copy exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_COPY_X), .layouts = WEFT_VULKAN_EXACT_LAYOUTS}},
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_copy = WEFT_KERNEL_ROWS(kernels);
