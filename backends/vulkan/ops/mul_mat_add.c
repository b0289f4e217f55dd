#include "weft/ops/mul_mat_add.h"

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/wide.h"

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    const weft_mul_mat_add_params *params = call->phase->params;
    return weft_vulkan_mul_mat_bytes(call, params->extra_precision != 0);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_mul_mat_add_params *params = call->phase->params;
    weft_vulkan_mul_mat_node(recorder, call, call->phase->inputs[WEFT_MUL_MAT_ADD_BIAS].address,
                             call->phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address, params->extra_precision != 0);
}

/* The weight is in the planar layout; x is half floats with scales, or F32. */
static void record_halves(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_place *weight = &call->phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT], *x = &call->phase->inputs[WEFT_MUL_MAT_ADD_X];
    const bool halves = x->storage.type == WEFT_F16;
    const int64_t rows_at_once = 4;
    uint32_t tile = weft_vulkan_tile(x->tensor.shape[1], 16);
    const struct {
        uint64_t control, weight, x, x_scales, y, bias, residual;
        uint32_t k, n, n_columns, row_bytes;
    } push = {0,
              weight->address,
              x->address,
              halves ? x->companion : 0,
              call->phase->outputs[WEFT_MUL_MAT_ADD_OUT_Y].address,
              call->phase->inputs[WEFT_MUL_MAT_ADD_BIAS].address,
              call->phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address,
              (uint32_t)weight->tensor.shape[0],
              (uint32_t)weight->tensor.shape[1],
              (uint32_t)x->tensor.shape[1],
              weft_vulkan_row_bytes(recorder->device, weight)};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_mul_mat_halves,
                                                         .constants = {halves, tile},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(weight->tensor.shape[1], rows_at_once),
                                                         .groups_y = weft_vulkan_groups(x->tensor.shape[1], tile)});
}

static void record_units(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_record_units_node(recorder, call, call->phase->inputs[WEFT_MUL_MAT_ADD_BIAS].address,
                                  call->phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address);
}

static uint64_t scratch_bytes_wide(const weft_vulkan_call *call) {
    return weft_vulkan_halves_bytes(call, WEFT_MUL_MAT_ADD_X);
}

static void record_wide(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_record_wide_node(recorder, call, call->phase->inputs[WEFT_MUL_MAT_ADD_BIAS].address,
                                 call->phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address);
}

#define MATRICES WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT)

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_WIDE_ROW(WEFT_OP_MUL_MAT_ADD, "mul_mat_add units, matrices", MATRICES), .record = record_wide,
     .scratch_bytes = scratch_bytes_wide},
    {WEFT_VULKAN_DOTS_ROW(WEFT_OP_MUL_MAT_ADD, "mul_mat_add units, dots", MATRICES), .record = record_units},
    {WEFT_VULKAN_UNITS_ROW(WEFT_OP_MUL_MAT_ADD, "mul_mat_add units", MATRICES), .record = record_units},
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_MUL_MAT_ADD, "mul_mat_add int8", MATRICES), .record = record, .scratch_bytes = scratch_bytes},
    {.kernel =
         {.op = WEFT_OP_MUL_MAT_ADD,
          .name = "mul_mat_add f16, q8_0 planar",
          .precisions = WEFT_RUNS_FAST,
          .rank = 1,
          .weights = {{.inputs = MATRICES, .types = WEFT_TYPE_BIT(WEFT_Q8_0), .layouts = WEFT_LAYOUT_BIT(WEFT_VULKAN_Q8_0_PLANAR)}},
          .reads = {{.ports = WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_X), .set = WEFT_VULKAN_SCALED_HALVES}}},
     .record = record_halves},
    {.kernel = {.op = WEFT_OP_MUL_MAT_ADD,
                .name = "mul_mat_add exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_mul_mat_add = WEFT_KERNEL_ROWS(kernels);
