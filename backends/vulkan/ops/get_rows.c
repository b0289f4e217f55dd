#include "weft/ops/get_rows.h"

#include "backends/vulkan/recorder.h"

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_vulkan_tensor *table = &node->inputs[WEFT_GET_ROWS_TABLE], *index = &node->inputs[WEFT_GET_ROWS_INDEX],
                             *sequences = &node->inputs[WEFT_GET_ROWS_SEQUENCES];
    const struct {
        uint64_t control, table, y, index, sequences;
        uint32_t n, n_columns, n_rows, row_bytes, index_words, sequence_words, n_sequences;
    } push = {0,
              table->address,
              node->outputs[WEFT_GET_ROWS_OUT_Y].address,
              index->address,
              sequences->address,
              (uint32_t)table->shape[0],
              (uint32_t)index->shape[1],
              (uint32_t)(table->shape[1] * table->shape[2] * table->shape[3]),
              weft_vulkan_row_bytes(recorder->device, table),
              (uint32_t)index->shape[0],
              (uint32_t)sequences->shape[0],
              (uint32_t)sequences->shape[1]};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_get_rows,
                                                         .constants = {weft_vulkan_matrix_type(table)},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(table->shape[0], 64 * 32),
                                                         .groups_y = (uint64_t)index->shape[1]});
}

const weft_vulkan_op weft_vulkan_op_get_rows = {.record = record};
