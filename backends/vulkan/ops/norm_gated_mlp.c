#include "weft/ops/norm_gated_mlp.h"

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/wide.h"

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    return weft_vulkan_normed_bytes(call, call->phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1],
                                    params->extra_precision != 0);
}

/* The norm and both products. */
static weft_vulkan_normed record_products(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    const weft_place *x = &call->phase->inputs[WEFT_NORM_GATED_MLP_X];
    weft_vulkan_normed parts =
        weft_vulkan_normed_take(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address},
                                call->phase->inputs[WEFT_NORM_GATED_MLP_GATE].tensor.shape[1], params->extra_precision != 0);
    weft_vulkan_rms_norm(recorder, x->address, call->phase->inputs[WEFT_NORM_GATED_MLP_NORM].address, parts.columns.x,
                         x->tensor.shape[0], x->tensor.shape[1], params->epsilon);
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_columns_prepare(recorder, &parts.columns);
    weft_vulkan_product product = {.weight = &call->phase->inputs[WEFT_NORM_GATED_MLP_GATE],
                                   .columns = &parts.columns,
                                   .y = parts.results[0],
                                   .extra_precision = params->extra_precision & 1};
    weft_vulkan_mul_mat(recorder, &product);
    product.weight = &call->phase->inputs[WEFT_NORM_GATED_MLP_UP];
    product.y = parts.results[1];
    product.extra_precision = params->extra_precision >> 1 & 1;
    weft_vulkan_mul_mat(recorder, &product);
    weft_vulkan_record_barrier(recorder);
    return parts;
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    const weft_place *y = &call->phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y];
    weft_vulkan_normed parts = record_products(recorder, call);
    int64_t n = weft_vulkan_elements(y);
    weft_vulkan_elementwise(recorder, WEFT_VULKAN_SHADER_norm_gated_mlp, (uint32_t)params->activation, parts.results[0],
                            parts.results[1], y->address, n, n);
}

/* The same arithmetic, but the result is stored as half floats with scales. */
static void record_scaled(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    const weft_place *y = &call->phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y];
    weft_vulkan_normed parts = record_products(recorder, call);
    const int64_t groups_at_once = 4;
    int64_t column_groups = (int64_t)weft_vulkan_groups(y->tensor.shape[0], WEFT_VULKAN_SCALED_GROUP);
    const struct {
        uint64_t control, gate, up, halves, scales;
        uint32_t n, n_columns;
    } push = {0,
              parts.results[0],
              parts.results[1],
              y->address,
              y->companion,
              (uint32_t)y->tensor.shape[0],
              (uint32_t)y->tensor.shape[1]};
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_gated_scaled,
                                               .constants = {(uint32_t)params->activation},
                                               .push = &push,
                                               .push_size = sizeof push,
                                               .groups_x = weft_vulkan_groups(column_groups * y->tensor.shape[1], groups_at_once)});
}

/* The other rows write F32. */
static const char *refuses_scaled(const weft_phase *phase) {
    const weft_storage *storage = &phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y].storage;
    bool open = storage->type == WEFT_STORAGE_UNCHOSEN;
    return open || storage->type == WEFT_F16 ? NULL : "nothing reads its result as half floats";
}

static weft_vulkan_unit_products products_of(const weft_vulkan_call *call) {
    const weft_norm_gated_mlp_params *params = call->phase->params;
    const weft_place *inputs = call->phase->inputs;
    bool is_gelu = params->activation == WEFT_ACTIVATION_GELU;
    return (weft_vulkan_unit_products){
        .matrices = {{.weight = &inputs[WEFT_NORM_GATED_MLP_GATE], .y = call->phase->outputs[WEFT_NORM_GATED_MLP_OUT_Y].address},
                     {.weight = &inputs[WEFT_NORM_GATED_MLP_UP]}},
        .n_matrices = 2,
        .by_dots = weft_vulkan_by_dots(call),
        .end = is_gelu ? WEFT_VULKAN_END_GELU : WEFT_VULKAN_END_SILU,
        .x = inputs[WEFT_NORM_GATED_MLP_X].address,
        .norm = inputs[WEFT_NORM_GATED_MLP_NORM].address,
        .epsilon = params->epsilon,
        .n_columns = inputs[WEFT_NORM_GATED_MLP_X].tensor.shape[1]};
}

static void record_units(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_unit_products products = products_of(call);
    weft_vulkan_record_unit_products(recorder, &products);
}

static uint64_t scratch_bytes_wide(const weft_vulkan_call *call) {
    return weft_vulkan_halves_bytes(call, WEFT_NORM_GATED_MLP_X);
}

static void record_wide(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_unit_products products = products_of(call);
    weft_vulkan_record_wide_products(recorder, &products, call->phase->scratch.address);
}

static const char *refuses_units(const weft_phase *phase) {
    const weft_place *inputs = phase->inputs;
    bool alike = inputs[WEFT_NORM_GATED_MLP_GATE].tensor.type == inputs[WEFT_NORM_GATED_MLP_UP].tensor.type;
    return alike ? NULL : "gate and up have different types";
}

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) | WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP))

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_WIDE_ROW(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp units, matrices", MATRICES), .record = record_wide,
     .scratch_bytes = scratch_bytes_wide, .refuses = refuses_units},
    {WEFT_VULKAN_DOTS_ROW(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp units, dots", MATRICES), .record = record_units,
     .refuses = refuses_units},
    {WEFT_VULKAN_UNITS_ROW(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp units", MATRICES), .record = record_units,
     .refuses = refuses_units},
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_NORM_GATED_MLP, "norm_gated_mlp int8", MATRICES), .record = record,
     .scratch_bytes = scratch_bytes},
    {.kernel = {.op = WEFT_OP_NORM_GATED_MLP,
                .name = "norm_gated_mlp exact, to f16",
                .precisions = WEFT_RUNS_FAST,
                .rank = 1,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}},
                .writes = {{.ports = WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_OUT_Y), .set = WEFT_VULKAN_SCALED_HALVES}}},
     .record = record_scaled,
     .scratch_bytes = scratch_bytes,
     .refuses = refuses_scaled},
    {.kernel = {.op = WEFT_OP_NORM_GATED_MLP,
                .name = "norm_gated_mlp exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_norm_gated_mlp = WEFT_KERNEL_ROWS(kernels);
