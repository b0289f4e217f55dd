#include "backends/cuda/products.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record_product(recorder, "weft_mul_mat_add", "weft_mul_mat_add_of_one", phase,
                             phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT].tensor.shape[1],
                             weft_cuda_all(phase->inputs[WEFT_MUL_MAT_ADD_X].tensor.shape[1]));
}

static uint64_t units_bytes(const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT].tensor.shape;
    return weft_cuda_product_bytes(shape[0], shape[1], 1, phase->inputs[WEFT_MUL_MAT_ADD_X].tensor.shape[1]);
}

static void record_units(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_place *weight = &phase->inputs[WEFT_MUL_MAT_ADD_WEIGHT], *x = &phase->inputs[WEFT_MUL_MAT_ADD_X];
    weft_cuda_product product = {.x = x->address,
                                 .residual = phase->inputs[WEFT_MUL_MAT_ADD_RESIDUAL].address,
                                 .k = weight->tensor.shape[0],
                                 .n_columns = x->tensor.shape[1]};
    weft_cuda_add_matrix(&product, weight, &phase->inputs[WEFT_MUL_MAT_ADD_BIAS], phase->outputs[WEFT_MUL_MAT_ADD_OUT_Y].address);
    weft_cuda_record_units(recorder, &product, phase->scratch.address);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_MUL_MAT_ADD,
                .name = "mul_mat_add f16 mma, units",
                .precisions = WEFT_RUNS_FAST,
                .rank = 2,
                .weights = {WEFT_CUDA_UNIT_WEIGHTS(WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT))}},
     WEFT_CUDA_PRODUCT_ROW,
     .record = record_units,
     .scratch_bytes = units_bytes},
    {.kernel = {.op = WEFT_OP_MUL_MAT_ADD,
                .name = "mul_mat_add exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "mul_mat_add",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_mul_mat_add = WEFT_KERNEL_ROWS(kernels);
