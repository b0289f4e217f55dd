#include "backends/cuda/launch.h"
#include "kernels/units.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record_product(recorder, "weft_mul_mat_add", "weft_mul_mat_add_of_one", phase,
                             phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT].tensor.shape[1],
                             weft_cuda_all(phase->inputs[WEFT_MUL_MAT_ADD_X].tensor.shape[1]));
}

/* Weights in the layout for matrix units, x in half floats or F32. */
static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_place *weight = &phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT], *x = &phase->inputs[WEFT_MUL_MAT_ADD_X];
    weft_cuda_unit_product product = {
        .control = weft_cuda_recorder_control(recorder),
        .weight = weight->address,
        .x = x->address,
        .x_scales = x->storage.type == WEFT_F16 ? x->companion : 0,
        .bias = phase->inputs[WEFT_MUL_MAT_ADD_BIAS].address,
        .residual = phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address,
        .y = phase->outputs[WEFT_MUL_MAT_ADD_OUT_Y].address,
        .k = weight->tensor.shape[0],
        .n = weight->tensor.shape[1],
        .n_columns = x->tensor.shape[1],
    };
    const int64_t tile_columns = 8;
    weft_cuda_shape shape = weft_cuda_blocks(weft_unit_bands(product.n), weft_cuda_ceil(product.n_columns, tile_columns), 512);
    weft_cuda_launch(recorder, "mul_mat_units", "weft_mul_mat_q8_0_units", shape, &product);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_MUL_MAT_ADD,
                .name = "mul_mat_add f16 mma, q8_0 units",
                .precisions = WEFT_RUNS_FAST,
                .rank = 1,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT),
                             .types = WEFT_TYPE_BIT(WEFT_Q8_0),
                             .layouts = WEFT_LAYOUT_BIT(WEFT_CUDA_Q8_0_UNITS)}},
                .reads = {{.ports = WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_X), .set = WEFT_CUDA_SCALED_HALVES}}},
     .min_capability = 80,
     .file = "mul_mat_units",
     .record = record_units},
    {.kernel = {.op = WEFT_OP_MUL_MAT_ADD,
                .name = "mul_mat_add exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "mul_mat_add",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_mul_mat_add = WEFT_KERNEL_ROWS(kernels);
