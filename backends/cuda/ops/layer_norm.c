#include "weft/ops/layer_norm.h"

#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const int64_t *shape = phase->inputs[WEFT_LAYER_NORM_X].tensor.shape;
    weft_cuda_record(recorder, "weft_layer_norm", weft_cuda_blocks(shape[1], 1, shape[0] > 512 ? 512 : 128), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_LAYER_NORM, .name = "layer_norm exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "layer_norm",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_layer_norm = WEFT_KERNEL_ROWS(kernels);
