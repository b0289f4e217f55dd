#version 450
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/rotate.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, rows, table, y;
    uint n, n_columns, head_dim, n_dims, n_positions;
    int order;
} p;

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.y; column < p.n_columns; column += gl_NumWorkGroups.y) {
        Floats x = Floats(address_of(p.x, column, p.n * 4u)), y = Floats(address_of(p.y, column, p.n * 4u));
        int position = rotation_position(p.rows, column, p.n_positions);
        Floats table = Floats(address_of(p.table, uint(max(position, 0)), p.n_dims * 4u));
        for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
            uint place = i % p.head_dim;
            if (position < 0 || place >= p.n_dims)
                y.at[i] = x.at[i];
            else
                y.at[i] = rotated(table, x.at[i], x.at[i - place + rotation_partner(place, p.n_dims, p.order)], place, p.n_dims,
                                 p.order);
        }
    }
}
