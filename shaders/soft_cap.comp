#version 450
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"

layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, y;
    uint n;
    float cap;
} p;

void main() {
    LEAVE_IF_STOPPED();
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    for (uint i = gl_GlobalInvocationID.x; i < p.n; i += stride) Floats(p.y).at[i] = weft_soft_cap_of(Floats(p.x).at[i], p.cap);
}
