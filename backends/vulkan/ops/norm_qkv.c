#include "weft/ops/norm_qkv.h"

#include "backends/vulkan/kernels.h"

/* The inputs of each of the three matrices, in order. */

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    const weft_norm_qkv_params *params = call->phase->params;
    return weft_vulkan_normed_bytes(call, call->phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1], params->extra_precision != 0);
}

/* The norm and the rotation of each head of one matrix's result, in place. */
static void record_heads(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t x, int64_t n, uint64_t norm) {
    const weft_norm_qkv_params *params = call->phase->params;
    const weft_place *table = &call->phase->inputs[WEFT_NORM_QKV_TABLE];
    int64_t n_heads = n / params->head_dim, n_columns = call->phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    const struct {
        uint64_t control, x, norm, rows, table;
        uint32_t n_heads, n_columns, head_dim, n_dims, n_positions;
        int32_t order;
        float epsilon;
    } push = {0,
              x,
              norm,
              call->phase->inputs[WEFT_NORM_QKV_ROWS].address,
              table->address,
              (uint32_t)n_heads,
              (uint32_t)n_columns,
              (uint32_t)params->head_dim,
              (uint32_t)table->tensor.shape[0],
              (uint32_t)table->tensor.shape[1],
              params->order,
              params->head_epsilon};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_norm_qkv,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)(n_heads * n_columns)});
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_norm_qkv_params *params = call->phase->params;
    const weft_place *x = &call->phase->inputs[WEFT_NORM_QKV_X];
    weft_vulkan_normed parts =
        weft_vulkan_normed_take(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address},
                                call->phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1], params->extra_precision != 0);
    const uint64_t results[] = {call->phase->outputs[WEFT_NORM_QKV_OUT_Y].address, parts.results[0], parts.results[1]};
    weft_vulkan_rms_norm(recorder, x->address, call->phase->inputs[WEFT_NORM_QKV_NORM].address, parts.columns.x, x->tensor.shape[0],
                         x->tensor.shape[1], params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &parts.columns);
    for (int i = 0; i < 3; i++)
        weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &call->phase->inputs[WEFT_NORM_QKV_Q + i],
                                                             .columns = &parts.columns,
                                                             .y = results[i],
                                                             .bias = call->phase->inputs[WEFT_NORM_QKV_Q_BIAS + i].address,
                                                             .extra_precision = params->extra_precision >> i & 1});
    weft_vulkan_record_barrier(recorder);
    for (int i = 0; i < 2; i++)
        record_heads(recorder, call, results[i], call->phase->inputs[WEFT_NORM_QKV_Q + i].tensor.shape[1],
                     call->phase->inputs[WEFT_NORM_QKV_Q_NORM + i].address);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_kv_write(recorder, parts.results[0], parts.results[1], x->tensor.shape[1], &call->phase->inputs[WEFT_NORM_QKV_KV],
                         &call->phase->inputs[WEFT_NORM_QKV_ROWS], &call->phase->inputs[WEFT_NORM_QKV_SEQUENCES]);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_QKV_Q) | WEFT_PORT_BIT(WEFT_NORM_QKV_K) | WEFT_PORT_BIT(WEFT_NORM_QKV_V))

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_NORM_QKV, "norm_qkv int8", MATRICES), .record = record, .scratch_bytes = scratch_bytes},
    {.kernel = {.op = WEFT_OP_NORM_QKV,
                .name = "norm_qkv exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_norm_qkv = WEFT_KERNEL_ROWS(kernels);
