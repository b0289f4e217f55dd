#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const int64_t warps = 8, max_blocks = 65535; /* of a launch in its second dimension; rows loop */
    int64_t blocks = weft_cuda_ceil(phase->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT].tensor.shape[1], warps);
    weft_cuda_record(recorder, "weft_mul_mat_experts",
                     weft_cuda_blocks(phase->outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y].tensor.shape[1],
                                      blocks < max_blocks ? blocks : max_blocks, (uint32_t)warps * WEFT_CUDA_WARP),
                     phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_MUL_MAT_EXPERTS,
                .name = "mul_mat_experts exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .weights = {{.inputs = WEFT_PORT_BIT(WEFT_MUL_MAT_EXPERTS_WEIGHT), .layouts = WEFT_CUDA_EXACT_LAYOUTS}}},
     .file = "mul_mat_experts",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_mul_mat_experts = WEFT_KERNEL_ROWS(kernels);
