#version 450
/* The product of mul_mat.comp for int8 activations (quantise.comp) and the weight's own quants: dot products of 32 elements in
 * integers. A workgroup has 4 rows and a tile of columns. 32 invocations share a row: each has every 32nd piece of it. Their sums are
 * added in a fixed order for any tile, so that a result does not depend on the columns beside it. With extra precision the
 * activations' rounding errors, a second int8 column, are multiplied as well and added in the same integers.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_integer_dot_product : require
#include "shaders/common/common.glsl"
#include "shaders/common/extra_precision.glsl"
#include "shaders/common/weights_int8.glsl"

layout(constant_id = 1) const uint TILE = 1u; /* columns, 16 at most */
layout(constant_id = 2) const bool EXTRA_PRECISION = false;

#define LANES 32u
#define ROWS 4u
#define LINE (LANES + 1u) /* of `sums`: the padding makes lines begin in different banks */

layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, quants, error_quants, scales, y, bias, residual; /* the last two may be left out */
    uint k, n, n_columns, row_bytes;
} p;

#include "shaders/common/product.glsl"

shared float sums[ROWS * TILE * LINE];

/* The dot products of the first 16 elements and of the second 16. */
ivec2 halves_of(int w[8], Words x) {
    ivec2 halves = ivec2(0);
    for (uint q = 0u; q < 4u; q++) {
        halves.x += dotPacked4x8EXT(w[q], x.at[q]);
        halves.y += dotPacked4x8EXT(w[q + 4u], x.at[q + 4u]);
    }
    return halves;
}

/* The same with both columns of the activations. */
ivec2 halves_of_block(int w[8], uint block) {
    ivec2 halves = halves_of(w, Words(address_of(p.quants, block, PIECE)));
    if (EXTRA_PRECISION) halves = halves * ERROR_STEPS + halves_of(w, Words(address_of(p.error_quants, block, PIECE)));
    return halves;
}

/* The dot product of a piece of the row and the same piece of a column. */
float product_of(int w[8], vec2 scale, vec2 minimum, uint column, uint piece) {
    const int ones[8] = int[](0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x01010101);
    uint block = column * (p.k / PIECE) + piece;
    Floats scales = Floats(address_of(p.scales, block, 8u));
    ivec2 halves = halves_of_block(w, block);
    precise float product = scale.x * float(halves.x);
    if (HALVES_DIFFER) {
        precise float second = scale.y * float(halves.y);
        product = product + second;
    } else {
        product = scale.x * float(halves.x + halves.y);
    }
    if (MINIMUMS_DIFFER) {
        precise vec2 products_of_minimums = minimum * vec2(halves_of_block(ones, block));
        product = product + products_of_minimums.x;
        product = product + products_of_minimums.y;
        product = product * scales.at[0];
        return product;
    }
    product = product * scales.at[0];
    precise float product_of_minimum = minimum.x * scales.at[1];
    product = product + product_of_minimum;
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
    uvec2 weights = address_of(p.weight, min(first_row + own, p.n - 1u), p.row_bytes);
    precise float sum[TILE];
    for (uint c = 0u; c < TILE; c++) sum[c] = 0.0;
    for (uint piece = lane; piece < p.k / PIECE; piece += LANES) {
        int w[8];
        vec2 scale, minimum;
        unpack_int8(weights, piece, p.k, w, scale, minimum);
        for (uint c = 0u; c < TILE; c++)
            sum[c] = sum[c] + product_of(w, scale, minimum, min(first_column + c, p.n_columns - 1u), piece);
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
