#include "weft/ops/get_rows.h"

#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *table = &call->phase->inputs[WEFT_GET_ROWS_TABLE], *index = &call->phase->inputs[WEFT_GET_ROWS_INDEX],
                     *sequences = &call->phase->inputs[WEFT_GET_ROWS_SEQUENCES];
    const struct {
        uint64_t control, table, y, index, sequences;
        uint32_t n, n_columns, n_rows, row_bytes, index_words, sequence_words, n_sequences;
    } push = {0,
              table->address,
              call->phase->outputs[WEFT_GET_ROWS_OUT_Y].address,
              index->address,
              sequences->address,
              (uint32_t)table->tensor.shape[0],
              (uint32_t)index->tensor.shape[1],
              (uint32_t)(table->tensor.shape[1] * table->tensor.shape[2] * table->tensor.shape[3]),
              weft_vulkan_row_bytes(recorder->device, table),
              (uint32_t)index->tensor.shape[0],
              (uint32_t)sequences->tensor.shape[0],
              (uint32_t)sequences->tensor.shape[1]};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_get_rows,
                                                         .constants = {weft_vulkan_matrix_type(table)},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(table->tensor.shape[0], 64 * 32),
                                                         .groups_y = (uint64_t)index->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_GET_ROWS,
                .name = "get_rows exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE), .layouts = WEFT_VULKAN_EXACT_LAYOUTS}},
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_get_rows = WEFT_KERNEL_ROWS(kernels);
