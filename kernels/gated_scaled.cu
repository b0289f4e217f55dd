/* The product of kernels/norm_gated_mlp.cu with a result in half floats and a scale for each 32 values of a column. One block
 * computes these 32 rows. */
#include "kernels/product.h"
#include "kernels/scaled.h"
#include "weft/ops/norm_gated_mlp.h"

/* Scratch: the normalised columns. */

/* A row's values in a tile's columns, one for each lane. */
static __device__ float gated_row(const weft_cuda_phase &phase, int64_t row, int64_t first, int count) {
    float gate = 0.0f, up = 0.0f;
#pragma unroll 1 /* one copy of the code of all types */
    for (int input = WEFT_NORM_GATED_MLP_GATE; input <= WEFT_NORM_GATED_MLP_UP; input++) {
        float sums[WEFT_TILE_COLUMNS];
        weft_dots<false>(phase.inputs[input], row, (const float *)phase.scratch, first, count, sums);
        gate = up;
        up = weft_own_sum(sums);
    }
    bool silu = weft_params<weft_norm_gated_mlp_params>(phase).activation == WEFT_ACTIVATION_SILU;
    return (silu ? weft_silu(gate) : weft_gelu(gate)) * up;
}

/* Stores a group of a column, with a warp. Lane l has value l of the group. */
static __device__ void store_group(const weft_cuda_scaled_phase &scaled, int64_t column, float value) {
    const weft_cuda_phase &phase = scaled.phase;
    int64_t n = phase.inputs[WEFT_NORM_GATED_MLP_GATE].shape[1], row = (int64_t)blockIdx.x * WEFT_SCALED_GROUP + weft_lane();
    int64_t n_groups = (n + WEFT_SCALED_GROUP - 1) / WEFT_SCALED_GROUP;
    float scale = weft_power_below(weft_largest(weft_larger_magnitude(0.0f, value)));
    if (row < n)
        weft_at<uint16_t>(phase.outputs[WEFT_NORM_GATED_MLP_OUT_Y])[column * n + row] =
            weft_to_f16(value * weft_inverse_power(scale));
    if (weft_lane() == 0) ((float *)scaled.scales)[column * n_groups + blockIdx.x] = scale;
}

/* Grid: groups of 32 rows, tiles of columns. Each warp has four rows, then two columns. */
WEFT_KERNEL(weft_gated_scaled, weft_cuda_scaled_phase, scaled) {
    __shared__ float values[WEFT_TILE_COLUMNS][WEFT_SCALED_GROUP];
    const weft_cuda_phase &phase = scaled.phase;
    if (weft_cancelled(phase)) return;
    int64_t n = phase.inputs[WEFT_NORM_GATED_MLP_GATE].shape[1], first = (int64_t)blockIdx.y * WEFT_TILE_COLUMNS;
    int count = weft_tile_count(phase.inputs[WEFT_NORM_GATED_MLP_X].shape[1]);
    int warp = (int)threadIdx.x / WEFT_LANES, n_warps = (int)blockDim.x / WEFT_LANES;
    for (int i = warp; i < WEFT_SCALED_GROUP; i += n_warps) {
        int64_t row = (int64_t)blockIdx.x * WEFT_SCALED_GROUP + i;
        float value = row < n ? gated_row(phase, row, first, count) : 0.0f;
        if (weft_lane() < count) values[weft_lane()][i] = value;
    }
    __syncthreads();
    for (int c = warp; c < count; c += n_warps) store_group(scaled, first + c, values[c][weft_lane()]);
}
