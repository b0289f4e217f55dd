#include "backends/vulkan/recorder.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_vulkan_tensor *x = &node->inputs[WEFT_COPY_X];
    int64_t n_rows = x->shape[1] * x->shape[2] * x->shape[3];
    const struct {
        uint64_t control, table, y;
        uint32_t n, n_columns, n_rows, row_bytes;
    } push = {0,
              x->address,
              node->outputs[WEFT_COPY_OUT_Y].address,
              (uint32_t)x->shape[0],
              (uint32_t)n_rows,
              (uint32_t)n_rows,
              weft_vulkan_row_bytes(recorder->device, x)};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_copy,
                                                         .constants = {weft_vulkan_matrix_type(x)},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(x->shape[0], 64 * 32),
                                                         .groups_y = (uint64_t)n_rows});
}

const weft_vulkan_op weft_vulkan_op_copy = {.record = record};
