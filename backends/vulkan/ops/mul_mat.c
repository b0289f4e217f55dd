#include "weft/ops/mul_mat.h"

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/wide.h"

static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    const weft_mul_mat_params *params = call->phase->params;
    return weft_vulkan_mul_mat_bytes(call, params->extra_precision != 0);
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_mul_mat_params *params = call->phase->params;
    weft_vulkan_mul_mat_node(recorder, call, 0, 0, params->extra_precision != 0);
}

static void record_units(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_record_units_node(recorder, call, 0, 0);
}

static uint64_t scratch_bytes_wide(const weft_vulkan_call *call) {
    return weft_vulkan_halves_bytes(call, WEFT_MUL_MAT_X);
}

static void record_wide(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    weft_vulkan_record_wide_node(recorder, call, 0, 0);
}

#define MATRICES WEFT_PORT_BIT(WEFT_MUL_MAT_WEIGHT)

static const weft_vulkan_kernel kernels[] = {
    {WEFT_VULKAN_WIDE_ROW(WEFT_OP_MUL_MAT, "mul_mat units, matrices", MATRICES), .record = record_wide,
     .scratch_bytes = scratch_bytes_wide},
    {WEFT_VULKAN_DOTS_ROW(WEFT_OP_MUL_MAT, "mul_mat units, dots", MATRICES), .record = record_units},
    {WEFT_VULKAN_UNITS_ROW(WEFT_OP_MUL_MAT, "mul_mat units", MATRICES), .record = record_units},
    {WEFT_VULKAN_INT8_ROW(WEFT_OP_MUL_MAT, "mul_mat int8", MATRICES), .record = record, .scratch_bytes = scratch_bytes},
    {.kernel = {.op = WEFT_OP_MUL_MAT,
                .name = "mul_mat exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = MATRICES, .layouts = WEFT_VULKAN_EXACT_LAYOUTS}}},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_mul_mat = WEFT_KERNEL_ROWS(kernels);
