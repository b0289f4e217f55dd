#version 450
/* The product of mul_mat.comp for weights of Q8_0 in the layout of shaders/parts/pack_planar.comp (a row's quants in words, then its
 * scales) and for columns of half floats with a scale for each 32 values, or of floats. A workgroup has 4 rows and a tile of columns.
 * 32 invocations share a row: each has every 32nd block of it. Their sums are added in a fixed order for any tile, so that a result
 * does not depend on the columns beside it. Products of quants and half floats are exact; sums are rounded to floats.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"

layout(constant_id = 0) const bool HALVES = true; /* of the columns; false: floats */
layout(constant_id = 1) const uint TILE = 1u;     /* columns, 16 at most */

#define BLOCK 32u
#define LANES 32u
#define ROWS 4u
#define LINE (LANES + 1u) /* of `sums`: the padding makes lines begin in different banks */

layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, x, x_scales, y, bias, residual; /* bias and residual may be left out, and with floats x_scales */
    uint k, n, n_columns, row_bytes;
} p;

#include "shaders/common/product.glsl"

shared float sums[ROWS * TILE * LINE];

/* Values 4 q .. 4 q + 3 of block `block`, counted through all columns. */
vec4 four_of(uint block, uint q) {
    if (HALVES) {
        Words x = Words(address_of(p.x, block, BLOCK * 2u));
        return vec4(unpackHalf2x16(uint(x.at[2u * q])), unpackHalf2x16(uint(x.at[2u * q + 1u])));
    }
    Floats x = Floats(address_of(p.x, block, BLOCK * 4u));
    return vec4(x.at[4u * q], x.at[4u * q + 1u], x.at[4u * q + 2u], x.at[4u * q + 3u]);
}

float scale_of(uint block) {
    return HALVES ? Floats(p.x_scales).at[block] : 1.0;
}

/* The dot product of a block of the row and the same block of a column. */
float product_of(vec4 w[8], float scale, uint column, uint piece) {
    uint block = column * (p.k / BLOCK) + piece;
    precise vec4 four = vec4(0.0);
    for (uint q = 0u; q < 8u; q++) {
        precise vec4 products = w[q] * four_of(block, q);
        four = four + products;
    }
    precise float sum = (four.x + four.y) + (four.z + four.w);
    precise float both = scale * scale_of(block);
    precise float product = sum * both;
    return product;
}

/* Adds the lanes of each result. */
void combine(uint first_row, uint first_column) {
    for (uint i = gl_LocalInvocationID.x; i < ROWS * TILE; i += gl_WorkGroupSize.x) {
        uint row = first_row + i / TILE, column = first_column + i % TILE;
        precise float sum = 0.0;
        for (uint l = 0u; l < LANES; l++) sum = sum + sums[i * LINE + l];
        if (row < p.n && column < p.n_columns) finish(row, column, sum);
    }
}

void multiply(uint first_row, uint first_column) {
    uint lane = gl_LocalInvocationID.x % LANES, own = gl_LocalInvocationID.x / LANES;
    uvec2 row = address_of(p.weight, min(first_row + own, p.n - 1u), p.row_bytes);
    precise float sum[TILE];
    for (uint c = 0u; c < TILE; c++) sum[c] = 0.0;
    for (uint piece = lane; piece < p.k / BLOCK; piece += LANES) {
        vec4 w[8];
        for (uint q = 0u; q < 8u; q++)
            w[q] = vec4(ivec4(Words(row).at[piece * 8u + q]) << ivec4(24, 16, 8, 0) >> 24);
        float scale = half_to_float(uint(Halves(row).at[p.k / 2u + piece]));
        for (uint c = 0u; c < TILE; c++)
            sum[c] = sum[c] + product_of(w, scale, min(first_column + c, p.n_columns - 1u), piece);
    }
    for (uint c = 0u; c < TILE; c++) sums[(own * TILE + c) * LINE + lane] = sum[c];
    barrier();
    combine(first_row, first_column);
    barrier();
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint c = gl_WorkGroupID.y * TILE; c < p.n_columns; c += gl_NumWorkGroups.y * TILE)
        for (uint row = gl_WorkGroupID.x * ROWS; row < p.n; row += gl_NumWorkGroups.x * ROWS) multiply(row, c);
}
