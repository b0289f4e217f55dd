#version 450
/* y[j, c] = row j of matrix ids[c] . a column of x, or 0 where there is no such matrix. A workgroup has 2 rows and one column. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/weights.glsl"

layout(push_constant, std430) uniform Parameters {
    uvec2 control, weight, x, ids, y;
    uint k, n, n_experts, n_columns, n_ids, row_bytes; /* n_columns: of x */
} p;

#include "shaders/common/product_lanes.glsl"

void multiply(uint first_row, uint column) {
    uint row = first_row + gl_LocalInvocationID.y;
    int expert = Words(p.ids).at[column];
    bool exists = expert >= 0 && uint(expert) < p.n_experts; /* the same for the whole workgroup */
    if (exists)
        multiply_lanes(address_of(p.weight, uint(expert) * p.n + min(row, p.n - 1u), p.row_bytes), column / (p.n_ids / p.n_columns));
    if (gl_LocalInvocationID.x == 0u && row < p.n)
        Floats(address_of(p.y, column, p.n * 4u)).at[row] = exists ? lane_sum(0u) : 0.0;
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.y; column < p.n_ids; column += gl_NumWorkGroups.y)
        for (uint row = gl_WorkGroupID.x * LANE_ROWS; row < p.n; row += gl_NumWorkGroups.x * LANE_ROWS) multiply(row, column);
}
