#version 450
/* y[j, t] = weight row j . column t of x, and what mul_mat_add adds: (product + bias) + residual. An invocation is one lane of the
 * sums of one row with the columns of a tile, for which the row is unpacked once.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/weights.glsl"

layout(constant_id = 1) const uint TILE = 1u; /* columns */
#define TILE_ROWS 4u
#define LANE_ROWS TILE_ROWS
#define LANE_SUMS TILE
#include "shaders/common/lanes.glsl"

layout(local_size_x = 32, local_size_y = 4) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, x, y, bias, residual; /* the last two may be left out */
    uint k, n, n_columns, row_bytes;
} p;

void finish(uint row, uint column) {
    precise float value = lane_sum(gl_LocalInvocationID.x);
    uint place = column * p.n + row;
    if (is_present(p.bias)) value = value + Floats(p.bias).at[row];
    if (is_present(p.residual)) value = value + Floats(p.residual).at[place];
    Floats(p.y).at[place] = value;
}

void multiply(uint row, uint first_column) {
    uvec2 weights = address_of(p.weight, min(row, p.n - 1u), p.row_bytes);
    Floats columns[TILE];
    precise float sums[TILE];
    for (uint c = 0u; c < TILE; c++) {
        columns[c] = Floats(address_of(p.x, min(first_column + c, p.n_columns - 1u), p.k * 4u));
        sums[c] = 0.0;
    }
    for (uint i = gl_LocalInvocationID.x; i < p.k; i += LANES) {
        float weight = weight_at(weights, i);
        for (uint c = 0u; c < TILE; c++) {
            precise float product = weight * columns[c].at[i];
            sums[c] = sums[c] + product;
        }
    }
    for (uint c = 0u; c < TILE; c++) lanes[lane_place(c)] = sums[c];
    combine_lanes();
    uint column = first_column + gl_LocalInvocationID.x;
    if (gl_LocalInvocationID.x < TILE && row < p.n && column < p.n_columns) finish(row, column);
    barrier();
}

void main() {
    LEAVE_IF_STOPPED();
    uint row_tiles = ceil_div(p.n, TILE_ROWS), column_tiles = ceil_div(p.n_columns, TILE);
    for (uint c = gl_WorkGroupID.y; c < column_tiles; c += gl_NumWorkGroups.y)
        for (uint r = gl_WorkGroupID.x; r < row_tiles; r += gl_NumWorkGroups.x)
            multiply(r * TILE_ROWS + gl_LocalInvocationID.y, c * TILE);
}
