#include "weft/ops/get_rows.h"

#include "backends/vulkan/kernel.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    bool in_units = call->kernel->shader == WEFT_VULKAN_SHADER_get_rows_units;
    const weft_place *table = &call->phase->inputs[WEFT_GET_ROWS_TABLE], *index = &call->phase->inputs[WEFT_GET_ROWS_INDEX],
                     *sequences = &call->phase->inputs[WEFT_GET_ROWS_SEQUENCES];
    bool one_each = in_units || table->tensor.type == WEFT_F32; /* an invocation has one value at a time, or else 32 */
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
              in_units ? 0 : weft_vulkan_row_bytes(recorder->device, table),
              (uint32_t)index->tensor.shape[0],
              (uint32_t)sequences->tensor.shape[0],
              (uint32_t)sequences->tensor.shape[1]};
    weft_vulkan_record(
        recorder, &(weft_vulkan_dispatch){.shader = in_units ? WEFT_VULKAN_SHADER_get_rows_units : WEFT_VULKAN_SHADER_get_rows,
                                          .constants = {in_units ? (uint32_t)table->tensor.type : weft_vulkan_matrix_type(table)},
                                          .push = &push,
                                          .push_size = sizeof push,
                                          .groups_x = weft_vulkan_groups(table->tensor.shape[0], one_each ? 64 : 64 * 32),
                                          .groups_y = (uint64_t)index->tensor.shape[1]});
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_GET_ROWS,
                .name = "get_rows units",
                .precisions = WEFT_RUNS_FAST,
                .rank = -1, /* units are for products: a table alone stays as in the file */
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE),
                             .types = WEFT_VULKAN_UNIT_TYPES,
                             .layouts = WEFT_LAYOUT_BIT(WEFT_VULKAN_UNITS)}}},
     .shader = WEFT_VULKAN_SHADER_get_rows_units,
     .for_gpus = true,
     .record = record},
    {.kernel = {.op = WEFT_OP_GET_ROWS,
                .name = "get_rows exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_GET_ROWS_TABLE), .layouts = WEFT_VULKAN_EXACT_LAYOUTS}},
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record},
};

const weft_kernel_rows weft_vulkan_op_get_rows = WEFT_KERNEL_ROWS(kernels);
