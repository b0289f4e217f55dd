#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_soft_max", weft_cuda_blocks(phase->inputs[WEFT_SOFT_MAX_X].tensor.shape[1], 1, 256), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SOFT_MAX, .name = "soft_max exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST, .in_place = true},
     .file = "soft_max",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_soft_max = WEFT_KERNEL_ROWS(kernels);
