#include "weft/ops/norm_qkv.h"

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/wide.h"

/* The inputs of each of the three matrices, in order. */

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    const weft_norm_qkv_params *params = call->phase->params;
    return weft_vulkan_normed_bytes(call, call->phase->inputs[WEFT_NORM_QKV_K].tensor.shape[1], params->extra_precision != 0);
}

/* What follows the products, whose keys and values are in `k` and `v`: norms of heads, rotation, and the write to the cache. */
static void record_heads(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t k, uint64_t v) {
    const weft_norm_qkv_params *params = call->phase->params;
    const weft_place *inputs = call->phase->inputs, *table = &inputs[WEFT_NORM_QKV_TABLE], *kv = &inputs[WEFT_NORM_QKV_KV];
    const struct {
        uint64_t control, q, k, v, q_norm, k_norm, rows, table, kv, sequences;
        weft_vulkan_cache_shape shape;
        uint32_t n_heads, n_rows, n_dims, n_positions;
        int32_t order;
        float epsilon;
    } push = {0,
              call->phase->outputs[WEFT_NORM_QKV_OUT_Y].address,
              k,
              v,
              inputs[WEFT_NORM_QKV_Q_NORM].address,
              inputs[WEFT_NORM_QKV_K_NORM].address,
              inputs[WEFT_NORM_QKV_ROWS].address,
              table->address,
              kv->address,
              inputs[WEFT_NORM_QKV_SEQUENCES].address,
              weft_vulkan_cache_shape_of(kv, &inputs[WEFT_NORM_QKV_SEQUENCES]),
              (uint32_t)(inputs[WEFT_NORM_QKV_Q].tensor.shape[1] / params->head_dim),
              (uint32_t)inputs[WEFT_NORM_QKV_X].tensor.shape[1],
              (uint32_t)table->tensor.shape[0],
              (uint32_t)table->tensor.shape[1],
              params->order,
              params->head_epsilon};
    uint64_t n_each = push.n_heads + 2 * (uint64_t)push.shape.n_kv_heads;
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_norm_qkv,
                                               .constants = {(uint32_t)kv->tensor.type, push.q_norm != 0 || push.k_norm != 0},
                                               .push = &push,
                                               .push_size = sizeof push,
                                               .groups_x = n_each * push.n_rows});
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
    record_heads(recorder, call, parts.results[0], parts.results[1]);
}

/* Keys and values before they are in the cache. */
static void take_results(const weft_vulkan_call *call, weft_vulkan_scratch *scratch, uint64_t results[2]) {
    int64_t n_columns = call->phase->inputs[WEFT_NORM_QKV_X].tensor.shape[1];
    for (int i = 0; i < 2; i++)
        results[i] = weft_vulkan_take(scratch, (uint64_t)(call->phase->inputs[WEFT_NORM_QKV_K + i].tensor.shape[1] * n_columns) *
                                                   sizeof(float));
}

static weft_vulkan_unit_rotation rotation_of(const weft_vulkan_call *call) {
    const weft_norm_qkv_params *params = call->phase->params;
    const weft_place *inputs = call->phase->inputs, *table = &inputs[WEFT_NORM_QKV_TABLE], *kv = &inputs[WEFT_NORM_QKV_KV];
    return (weft_vulkan_unit_rotation){.rows = inputs[WEFT_NORM_QKV_ROWS].address,
                                       .table = table->address,
                                       .kv = kv->address,
                                       .sequences = inputs[WEFT_NORM_QKV_SEQUENCES].address,
                                       .shape = weft_vulkan_cache_shape_of(kv, &inputs[WEFT_NORM_QKV_SEQUENCES]),
                                       .n_dims = (uint32_t)table->tensor.shape[0],
                                       .n_positions = (uint32_t)table->tensor.shape[1],
                                       .order = params->order,
                                       .kv_type = kv->tensor.type};
}

/* Whether the products of few columns rotate, too: heads that have norms are only known when all products have ended. */
static bool rotates_at_once(const weft_vulkan_call *call) {
    const weft_place *inputs = call->phase->inputs;
    weft_vulkan_unit_rotation rotation = rotation_of(call);
    bool has_norms = inputs[WEFT_NORM_QKV_Q_NORM].present || inputs[WEFT_NORM_QKV_K_NORM].present;
    return !has_norms && weft_vulkan_can_rotate(&call->device->traits, &rotation);
}

static uint64_t scratch_bytes_results(const weft_vulkan_call *call) {
    weft_vulkan_scratch scratch = {0};
    uint64_t results[2];
    take_results(call, &scratch, results);
    return scratch.used;
}

static uint64_t scratch_bytes_units(const weft_vulkan_call *call) {
    return rotates_at_once(call) ? 0 : scratch_bytes_results(call);
}

/* The products, whose keys and values go to `results`. */
static weft_vulkan_unit_products products_of(const weft_vulkan_call *call, const uint64_t results[2]) {
    const weft_norm_qkv_params *params = call->phase->params;
    const weft_place *inputs = call->phase->inputs;
    weft_vulkan_unit_products products = {.n_matrices = 3,
                                          .by_dots = weft_vulkan_by_dots(call),
                                          .x = inputs[WEFT_NORM_QKV_X].address,
                                          .norm = inputs[WEFT_NORM_QKV_NORM].address,
                                          .epsilon = params->epsilon,
                                          .n_columns = inputs[WEFT_NORM_QKV_X].tensor.shape[1]};
    for (uint32_t i = 0; i < 3; i++)
        products.matrices[i] =
            (weft_vulkan_unit_matrix){.weight = &inputs[WEFT_NORM_QKV_Q + i],
                                      .bias = inputs[WEFT_NORM_QKV_Q_BIAS + i].address,
                                      .y = i == 0 ? call->phase->outputs[WEFT_NORM_QKV_OUT_Y].address : results[i - 1],
                                      .role = i};
    return products;
}

static void record_units(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    uint64_t results[2] = {0};
    bool at_once = rotates_at_once(call);
    if (!at_once) take_results(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address}, results);
    weft_vulkan_unit_rotation rotation = rotation_of(call);
    weft_vulkan_unit_products products = products_of(call, results);
    if (at_once) products.rotation = &rotation;
    weft_vulkan_record_unit_products(recorder, &products);
    if (at_once) return;
    weft_vulkan_record_barrier(recorder);
    record_heads(recorder, call, results[0], results[1]);
}

/* After keys and values the scratch has the columns as half floats. */
static uint64_t scratch_bytes_wide(const weft_vulkan_call *call) {
    return scratch_bytes_results(call) + weft_vulkan_halves_bytes(call, WEFT_NORM_QKV_X);
}

static void record_wide(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const int64_t *shape = call->phase->inputs[WEFT_NORM_QKV_X].tensor.shape;
    weft_vulkan_scratch scratch = {.base = call->phase->scratch.address};
    uint64_t results[2];
    take_results(call, &scratch, results);
    weft_vulkan_unit_products products = products_of(call, results);
    weft_vulkan_record_wide_products(recorder, &products, weft_vulkan_take_halves(&scratch, shape[0], shape[1]));
    weft_vulkan_record_barrier(recorder);
    record_heads(recorder, call, results[0], results[1]);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_QKV_Q) | WEFT_PORT_BIT(WEFT_NORM_QKV_K) | WEFT_PORT_BIT(WEFT_NORM_QKV_V))

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_WIDE_ROW(WEFT_OP_NORM_QKV, "norm_qkv units, matrices", MATRICES), .record = record_wide,
     .scratch_bytes = scratch_bytes_wide},
    {WEFT_VULKAN_DOTS_ROW(WEFT_OP_NORM_QKV, "norm_qkv units, dots", MATRICES), .record = record_units,
     .scratch_bytes = scratch_bytes_units},
    {WEFT_VULKAN_UNITS_ROW(WEFT_OP_NORM_QKV, "norm_qkv units", MATRICES), .record = record_units,
     .scratch_bytes = scratch_bytes_units},
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_NORM_QKV, "norm_qkv int8", MATRICES), .record = record, .scratch_bytes = scratch_bytes},
    {.kernel = {.op = WEFT_OP_NORM_QKV,
                .name = "norm_qkv exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_norm_qkv = WEFT_KERNEL_ROWS(kernels);
