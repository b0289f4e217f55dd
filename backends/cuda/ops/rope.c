#include "weft/ops/rope.h"

#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_rope_params *params = phase->params;
    int64_t n_heads = phase->inputs[WEFT_ROPE_X].tensor.shape[0] / params->head_dim;
    weft_cuda_record(recorder, "weft_rope", weft_cuda_blocks(phase->inputs[WEFT_ROPE_X].tensor.shape[1], n_heads, 64), phase);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ROPE, .name = "rope exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "rope",
     .record = record},
};

const weft_kernel_rows weft_cuda_op_rope = WEFT_KERNEL_ROWS(kernels);
