#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_scatter", weft_cuda_blocks(1, 1, 1024), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_SCATTER, .name = "scatter exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "scatter",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_scatter = WEFT_KERNEL_ROWS(kernels);
