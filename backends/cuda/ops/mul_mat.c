#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record_product(recorder, "weft_mul_mat", "weft_mul_mat_of_one", phase,
                             phase->inputs[WEFT_MUL_MAT_WEIGHT].tensor.shape[1],
                             weft_cuda_all(phase->inputs[WEFT_MUL_MAT_X].tensor.shape[1]));
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_MUL_MAT,
                .name = "mul_mat exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_MUL_MAT_WEIGHT), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "mul_mat",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_mul_mat = WEFT_KERNEL_ROWS(kernels);
