/* Products of rows with columns of x, whose lanes are invocations. Neighbouring invocations read neighbouring weights, and few rows
 * fill a device. A workgroup has LANE_ROWS rows and a tile of columns. Quantised weights are first unpacked into shared memory, 32
 * pieces at a time and one piece by each invocation; each lane then reads its elements from there.
 *
 * The includer has x, k and n_columns (of x) among its parameters p.
 */
layout(constant_id = 1) const uint TILE = 1u; /* columns, 8 at most */

#define LANE_ROWS 2u
#define LANE_SUMS TILE
#include "shaders/common/lanes.glsl"

#define LINE (PIECE + 1u) /* of `unpacked`: the padding makes lines begin in different banks */
#define AT_ONCE 4u        /* independent reads in flight */

layout(local_size_x = 32, local_size_y = 2) in;

const bool IS_FLOAT = WEIGHT_TYPE == TYPE_F32 || WEIGHT_TYPE == TYPE_F16 || WEIGHT_TYPE == TYPE_BF16;

shared float unpacked[LANE_ROWS * LANES * LINE];

/* Where a piece of this invocation's row begins in `unpacked`. */
uint line_of(uint piece) {
    return (gl_LocalInvocationID.y * LANES + piece % LANES) * LINE;
}

/* Unpacks 32 pieces of each row, from `first` on. */
void unpack_pieces(uvec2 weights, uint first) {
    uint piece = first + gl_LocalInvocationID.x;
    barrier(); /* all have multiplied the last pieces */
    if (piece * PIECE < p.k) {
        vec4 w[8];
        unpack(weights, piece, p.k, w);
        for (uint i = 0u; i < PIECE; i++) unpacked[line_of(piece) + i] = w[i / 4u][i % 4u];
    }
    barrier();
}

float weight_at(uvec2 weights, uint i) {
    return IS_FLOAT ? float_at(weights, i) : unpacked[line_of(i / PIECE) + i % PIECE];
}

/* Adds the lane's products of elements i, i + 32 ... to the sums. Past the end of a row a product is +0, which changes no sum. */
void add_products(inout float sums[TILE], uvec2 weights, uint i, uint first_column) {
    float w[AT_ONCE], x[AT_ONCE];
    for (uint j = 0u; j < AT_ONCE; j++) w[j] = i + j * LANES < p.k ? weight_at(weights, i + j * LANES) : 0.0;
    for (uint c = 0u; c < TILE; c++) {
        uint column = min(first_column + c, p.n_columns - 1u) * p.k;
        for (uint j = 0u; j < AT_ONCE; j++) x[j] = i + j * LANES < p.k ? Floats(p.x).at[column + i + j * LANES] : 0.0;
        for (uint j = 0u; j < AT_ONCE; j++) {
            precise float product = w[j] * x[j];
            precise float sum = sums[c] + product;
            sums[c] = sum;
        }
    }
}

/* Afterwards lane_sum(c) is the product of this invocation's row, whose weights begin at `weights`, and column first_column + c. */
void multiply_lanes(uvec2 weights, uint first_column) {
    uint lane = gl_LocalInvocationID.x;
    float sums[TILE];
    for (uint c = 0u; c < TILE; c++) sums[c] = 0.0;
    for (uint first = 0u; first * PIECE < p.k; first += LANES) {
        if (!IS_FLOAT) unpack_pieces(weights, first);
        uint end = min((first + LANES) * PIECE, p.k);
        for (uint i = first * PIECE; i < end; i += AT_ONCE * LANES) add_products(sums, weights, i + lane, first_column);
    }
    barrier(); /* all have read the last sums */
    for (uint c = 0u; c < TILE; c++) lanes[lane_place(c)] = sums[c];
    combine_lanes();
}
