#version 450
/* y[:, t] = sum over j of weights[j, t] * x[:, n_chosen * t + j]. An invocation has one value of y. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, weights, y;
    uint n, n_chosen, n_columns;
} p;

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.y; column < p.n_columns; column += gl_NumWorkGroups.y) {
        Floats x = Floats(address_of(p.x, column, p.n_chosen * p.n * 4u)), y = Floats(address_of(p.y, column, p.n * 4u));
        for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
            precise float sum = 0.0;
            for (uint j = 0u; j < p.n_chosen; j++) {
                precise float product = Floats(p.weights).at[column * p.n_chosen + j] * x.at[j * p.n + i];
                sum = sum + product;
            }
            y.at[i] = sum;
        }
    }
}
