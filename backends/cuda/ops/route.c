#include "weft/ops/route.h"

#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    weft_cuda_record(recorder, "weft_route", weft_cuda_blocks(phase->inputs[WEFT_ROUTE_LOGITS].tensor.shape[1], 1, WEFT_CUDA_WARP),
                     phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ROUTE, .name = "route exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "route",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_route = WEFT_KERNEL_ROWS(kernels);
