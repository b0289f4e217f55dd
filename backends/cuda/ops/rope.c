#include "weft/ops/rope.h"

#include "backends/cuda/launch.h"

static void record(weft_cuda_recorder *recorder, const weft_cuda_phase *phase) {
    const weft_rope_params *params = (const void *)phase->params;
    int64_t n_heads = phase->inputs[WEFT_ROPE_X].shape[0] / params->head_dim;
    weft_cuda_record(recorder, "weft_rope", weft_cuda_blocks(phase->inputs[WEFT_ROPE_X].shape[1], n_heads, 64), phase);
}

const weft_cuda_op weft_cuda_op_rope = {.record = record};
