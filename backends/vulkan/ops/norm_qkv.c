#include "weft/ops/norm_qkv.h"

#include "backends/vulkan/kernels.h"

/* Inputs, and the three matrices in their order. */

static uint64_t scratch_bytes(const weft_backend_device *device, const weft_vulkan_node *node) {
    return weft_vulkan_normed_bytes(device, node, node->inputs[WEFT_NORM_QKV_K].shape[1], true);
}

/* Norm and rotation of the heads of one matrix's result, in place. */
static void record_heads(weft_vulkan_recorder *recorder, const weft_vulkan_node *node, uint64_t x, int64_t n, uint64_t norm) {
    const weft_norm_qkv_params *params = (const void *)node->params;
    const weft_vulkan_tensor *table = &node->inputs[WEFT_NORM_QKV_TABLE];
    int64_t n_heads = n / params->head_dim, n_columns = node->inputs[WEFT_NORM_QKV_X].shape[1];
    const struct {
        uint64_t control, x, norm, rows, table;
        uint32_t n_heads, n_columns, head_dim, n_dims, n_positions;
        int32_t order;
        float epsilon;
    } push = {0,
              x,
              norm,
              node->inputs[WEFT_NORM_QKV_ROWS].address,
              table->address,
              (uint32_t)n_heads,
              (uint32_t)n_columns,
              (uint32_t)params->head_dim,
              (uint32_t)table->shape[0],
              (uint32_t)table->shape[1],
              params->order,
              params->head_epsilon};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_norm_qkv,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)(n_heads * n_columns)});
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_node *node) {
    const weft_norm_qkv_params *params = (const void *)node->params;
    const weft_vulkan_tensor *x = &node->inputs[WEFT_NORM_QKV_X];
    weft_vulkan_normed parts = weft_vulkan_normed_take(recorder->device, node, &(weft_vulkan_scratch){.base = node->scratch},
                                                       node->inputs[WEFT_NORM_QKV_K].shape[1], true);
    const uint64_t results[] = {node->outputs[WEFT_NORM_QKV_OUT_Y].address, parts.results[0], parts.results[1]};
    weft_vulkan_rms_norm(recorder, x->address, node->inputs[WEFT_NORM_QKV_NORM].address, parts.columns.x, x->shape[0], x->shape[1],
                         params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &parts.columns);
    for (int i = 0; i < 3; i++)
        weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &node->inputs[WEFT_NORM_QKV_Q + i],
                                                             .columns = &parts.columns,
                                                             .y = results[i],
                                                             .bias = node->inputs[WEFT_NORM_QKV_Q_BIAS + i].address,
                                                             .fine = WEFT_NORM_QKV_Q + i != WEFT_NORM_QKV_Q});
    weft_vulkan_record_barrier(recorder);
    for (int i = 0; i < 2; i++)
        record_heads(recorder, node, results[i], node->inputs[WEFT_NORM_QKV_Q + i].shape[1],
                     node->inputs[WEFT_NORM_QKV_Q_NORM + i].address);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_kv_write(recorder, parts.results[0], parts.results[1], x->shape[1], &node->inputs[WEFT_NORM_QKV_KV],
                         &node->inputs[WEFT_NORM_QKV_ROWS], &node->inputs[WEFT_NORM_QKV_SEQUENCES]);
}

const weft_vulkan_op weft_vulkan_op_norm_qkv = {.record = record, .scratch_bytes = scratch_bytes, .multiplies = true};
