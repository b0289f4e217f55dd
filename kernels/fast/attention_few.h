/* Attention in half floats of up to 16 pairs of a row and a head: the four warps of a block share a piece. Each multiplies the keys
 * of 16 positions, and then a quarter of the values of all 64.
 */
#ifndef WEFT_KERNELS_FAST_ATTENTION_FEW_H
#define WEFT_KERNELS_FAST_ATTENTION_FEW_H

#include "kernels/fast/attention.h"

#define WEFT_WEIGHTS_PAD 8 /* halves, so that a warp's loads come from all banks */

struct weft_few_work {
    float largest[WARPS][TILE];
    uint16_t weights[TILE][PIECE + WEFT_WEIGHTS_PAD];
};

/* Makes weights of the scores, in shared memory. Multiplies the sums so far by the factors that the new largest scores demand. */
template <int HEAD>
static __device__ inline void weft_weigh_few(const weft_queries<HEAD> &q, int first, float (&scores)[2][4],
                                             float (&largest_so_far)[2], float (&o)[HEAD / 32][4], float (&weights)[4],
                                             weft_few_work &work) {
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES;
    float largest[2] = {-WEFT_INFINITY, -WEFT_INFINITY};
#pragma unroll
    for (int half = 0; half < 2; half++)
        weft_scale_scores<HEAD>(q, first + warp * 16 + half * 8 + lane % 4 * 2, scores[half], largest);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        if (i == 1 && !q.has_second) continue;
        for (int distance = 1; distance < 4; distance *= 2) {
            float other = __shfl_xor_sync(WEFT_ALL_LANES, largest[i], distance);
            largest[i] = other > largest[i] ? other : largest[i];
        }
        if (lane % 4 == 0) work.largest[warp][lane / 4 + i * 8] = largest[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint16_t *own = &work.weights[lane / 4 + i * 8][warp * 16 + lane % 4 * 2];
        if (i == 1 && !q.has_second) {
            *(uint32_t *)own = *(uint32_t *)(own + 8) = 0;
            continue;
        }
        float larger = largest_so_far[i];
        for (int other = 0; other < WARPS; other++) {
            float of_warp = work.largest[other][lane / 4 + i * 8];
            larger = of_warp > larger ? of_warp : larger;
        }
        float factor = weft_weight(largest_so_far[i], larger);
        largest_so_far[i] = larger;
        weights[2 * i] = weft_times(weights[2 * i], factor);
#pragma unroll
        for (int n = 0; n < HEAD / 32; n++) {
            o[n][2 * i] = weft_times(o[n][2 * i], factor);
            o[n][2 * i + 1] = weft_times(o[n][2 * i + 1], factor);
        }
#pragma unroll
        for (int half = 0; half < 2; half++)
            *(uint32_t *)(own + half * 8) =
                weft_halves(weft_weight(scores[half][2 * i], larger), weft_weight(scores[half][2 * i + 1], larger));
    }
    __syncthreads();
}

/* The weights of 16 positions as an operand. */
static __device__ inline void weft_few_operand(const weft_few_work &work, int step, uint32_t (&a)[4]) {
    int row = weft_lane() / 4, column = weft_lane() % 4 * 2;
    const uint16_t *top = &work.weights[row][step * 16 + column], *bottom = &work.weights[row + 8][step * 16 + column];
    a[0] = *(const uint32_t *)top, a[1] = *(const uint32_t *)bottom;
    a[2] = *(const uint32_t *)(top + 8), a[3] = *(const uint32_t *)(bottom + 8);
}

#endif
