/* What shaders/fast/mul_mat_units.comp and mul_mat_dots.comp have in common: what they are specialised by, their parameters, and how the
 * sums of a band become results. A workgroup has one band, and each 32 of its invocations (a warp) every WARPS-th unit. Up to three
 * matrices of one type are multiplied with the same columns: with END_PLAIN y = (product + bias) + residual of each, else
 * y = activation(gate . x) * (up . x). NORM: the columns are normed first, that is multiplied with the norm's weight; the sums of
 * squares come along, and their factor is applied to the results.
 */
#include "shaders/common/units.glsl"

#define END_PLAIN 0u
#define END_SILU 1u
#define END_GELU 2u

layout(constant_id = 1) const uint TILE = 1u;  /* columns: 1, 2, 4 or 8 */
layout(constant_id = 2) const uint WARPS = 1u; /* groups of 32 invocations */
layout(constant_id = 3) const uint END = END_PLAIN;
layout(constant_id = 4) const bool NORM = false;
layout(constant_id = 5) const bool SUBGROUPS = false; /* 32 neighbouring invocations are always of one subgroup */
layout(constant_id = 6) const uint SHARED = 56u;      /* vectors of shared memory */

layout(local_size_x_id = 7) in;

#define WARP 32u
#define STEP_VALUES 64u

const uint TOGETHER = END == END_PLAIN ? 1u : 2u; /* matrices whose rows a workgroup multiplies at once */

struct Matrix {
    uvec2 weight, bias, y; /* the bias may be left out */
};

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, norm, residual; /* the last may be left out */
    Matrix matrices[3];
    uint n[3]; /* rows of each matrix */
    uint k, n_columns;
    float epsilon;
} p;

uint warp_of_invocation() {
    return gl_LocalInvocationIndex / WARP;
}

uint lane_of_invocation() {
    return gl_LocalInvocationIndex % WARP;
}

/* A number of the shared memory that `keep` wrote. */
float kept(uint place);

/* Where a warp's sums are, one of each lane. `which`: a matrix, or TOGETHER for squares. */
uint sum_place(uint which, uint column, uint warp) {
    return ((which * TILE + column) * WARPS + warp) * WARP;
}

/* The sum of all warps' parts for a row of the band. */
float total(uint which, uint column, uint row) {
    precise float sum = 0.0;
    for (uint warp = 0u; warp < WARPS; warp++) {
        uint place = sum_place(which, column, warp) + row;
        sum = sum + kept(place);
        sum = sum + kept(place + UNIT_ROWS);
    }
    return sum;
}

float activated(float x) {
    if (END == END_SILU) return x / (1.0 + exp(-x));
    float u = 0.797884561 * (x + 0.044715 * x * x * x);
    return 0.5 * x * (2.0 - 2.0 / (1.0 + exp(2.0 * u)));
}

float norm_factor(uint column) {
    if (!NORM) return 1.0;
    precise float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < UNIT_ROWS; i++) sum = sum + kept(sum_place(TOGETHER, column, 0u) + i);
    precise float moved = sum / float(p.k) + p.epsilon;
    return 1.0 / sqrt(moved);
}
