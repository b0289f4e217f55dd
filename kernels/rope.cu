#include "weft/ops/rope.h"

#include "kernels/rows.h"

/* One block a head of a column. */
WEFT_KERNEL(weft_rope, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_rope_params &params = weft_params<weft_rope_params>(phase);
    int64_t first = blockIdx.x * phase.inputs[WEFT_ROPE_X].shape[0] + (int64_t)blockIdx.y * params.head_dim;
    weft_rope_head(phase.inputs[WEFT_ROPE_ROWS], phase.inputs[WEFT_ROPE_TABLE], blockIdx.x, params.head_dim, params.order,
                   weft_at<const float>(phase.inputs[WEFT_ROPE_X]) + first, weft_at<float>(phase.outputs[WEFT_ROPE_OUT_Y]) + first);
}
