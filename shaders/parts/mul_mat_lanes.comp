#version 450
/* The product of mul_mat.comp for few columns, with 2 rows and a tile of columns for a workgroup. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/weights.glsl"

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, x, y, bias, residual; /* the last two may be left out */
    uint k, n, n_columns, row_bytes;
} p;

#include "shaders/common/product.glsl"
#include "shaders/common/product_lanes.glsl"

void multiply(uint first_row, uint first_column) {
    uint lane = gl_LocalInvocationID.x, row = first_row + gl_LocalInvocationID.y;
    multiply_lanes(address_of(p.weight, min(row, p.n - 1u), p.row_bytes), first_column);
    if (lane < TILE && row < p.n && first_column + lane < p.n_columns) finish(row, first_column + lane, lane_sum(lane));
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint c = gl_WorkGroupID.y * TILE; c < p.n_columns; c += gl_NumWorkGroups.y * TILE)
        for (uint row = gl_WorkGroupID.x * LANE_ROWS; row < p.n; row += gl_NumWorkGroups.x * LANE_ROWS) multiply(row, c);
}
