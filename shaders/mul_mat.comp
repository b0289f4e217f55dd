#version 450
/* y[j, t] = weight row j . column t of x; for mul_mat_add (product + bias) + residual. An invocation has one row and a tile of
 * columns, and the 32 lanes of each of its sums in registers. Neighbouring invocations read the same x.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/weights.glsl"

layout(constant_id = 1) const uint TILE = 1u; /* columns */

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, x, y, bias, residual; /* the last two may be left out */
    uint k, n, n_columns, row_bytes;
} p;

#include "shaders/common/product.glsl"

/* The fixed tree over lanes 4 q + l in lane[q][l]. */
float combined(vec4 lane[8]) {
    precise vec4 a = lane[0] + lane[4], b = lane[1] + lane[5], c = lane[2] + lane[6], d = lane[3] + lane[7];
    precise vec4 e = a + c, f = b + d;
    precise vec4 g = e + f;
    precise vec2 h = g.xy + g.zw;
    precise float sum = h.x + h.y;
    return sum;
}

/* Elements past the end of x are not read but count as 0. So do those of the weight: their products change no lane. */
vec4 four_of(Floats x, uint i) {
    if (i + 3u < p.k) return vec4(x.at[i], x.at[i + 1u], x.at[i + 2u], x.at[i + 3u]);
    return vec4(i < p.k ? x.at[i] : 0.0, i + 1u < p.k ? x.at[i + 1u] : 0.0, i + 2u < p.k ? x.at[i + 2u] : 0.0, 0.0);
}

void multiply(uint row, uint first_column) {
    uvec2 weights = address_of(p.weight, row, p.row_bytes);
    precise vec4 lanes[TILE][8];
    for (uint c = 0u; c < TILE; c++)
        for (uint q = 0u; q < 8u; q++) lanes[c][q] = vec4(0.0);
    for (uint piece = 0u; piece * PIECE < p.k; piece++) {
        vec4 w[8];
        unpack(weights, piece, p.k, w);
        for (uint c = 0u; c < TILE; c++) {
            Floats x = Floats(address_of(p.x, min(first_column + c, p.n_columns - 1u), p.k * 4u));
            for (uint q = 0u; q < 8u; q++) {
                precise vec4 products = w[q] * four_of(x, piece * PIECE + 4u * q);
                lanes[c][q] = lanes[c][q] + products;
            }
        }
    }
    for (uint c = 0u; c < TILE; c++)
        if (first_column + c < p.n_columns) finish(row, first_column + c, combined(lanes[c]));
}

void main() {
    LEAVE_IF_STOPPED();
    uint column_tiles = ceil_div(p.n_columns, TILE);
    for (uint c = gl_WorkGroupID.y; c < column_tiles; c += gl_NumWorkGroups.y)
        for (uint row = gl_GlobalInvocationID.x; row < p.n; row += gl_NumWorkGroups.x * gl_WorkGroupSize.x)
            multiply(row, c * TILE);
}
