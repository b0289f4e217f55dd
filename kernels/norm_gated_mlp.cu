#include "weft/ops/norm_gated_mlp.h"

#include "kernels/product.h"

/* Scratch: the normalised columns. */

template <bool ONE> static __device__ void gated(const weft_cuda_phase &phase) {
    if (weft_cancelled(phase)) return;
    int64_t n = phase.inputs[WEFT_NORM_GATED_MLP_GATE].shape[1], row = weft_product_row(),
            first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int count = weft_tile_count(phase.inputs[WEFT_NORM_GATED_MLP_X].shape[1]);
    if (row >= n) return;
    float gate = 0.0f, up = 0.0f;
#pragma unroll 1 /* one copy of the code of all types */
    for (int input = WEFT_NORM_GATED_MLP_GATE; input <= WEFT_NORM_GATED_MLP_UP; input++) {
        float sums[WEFT_TILE_COLUMNS];
        weft_dots<ONE>(phase.inputs[input], row, (const float *)phase.scratch, first, count, sums);
        gate = up;
        up = weft_own_sum(sums);
    }
    if (weft_lane() >= count) return;
    bool silu = weft_params<weft_norm_gated_mlp_params>(phase).activation == WEFT_ACTIVATION_SILU;
    weft_at<float>(phase.outputs[WEFT_NORM_GATED_MLP_OUT_Y])[(first + weft_lane()) * n + row] =
        (silu ? weft_silu(gate) : weft_gelu(gate)) * up;
}

WEFT_PRODUCT_KERNEL(weft_gated, gated)
