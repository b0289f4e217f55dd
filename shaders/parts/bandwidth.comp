#version 450
/* Reads memory and does nothing else. The memory holds zeros, so that `sum` is never written, but a compiler cannot know that. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"

layout(local_size_x = 256) in;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Vectors { uvec4 at[]; };

layout(push_constant, std430) uniform Parameters {
    uvec2 control, memory, sum;
    uint n; /* vectors of 16 bytes */
} p;

#define AT_ONCE 4u

void main() {
    uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    uvec4 sum = uvec4(0u);
    uint i = gl_GlobalInvocationID.x;
    for (; i + (AT_ONCE - 1u) * stride < p.n; i += AT_ONCE * stride) {
        uvec4 read[AT_ONCE];
        for (uint j = 0u; j < AT_ONCE; j++) read[j] = Vectors(p.memory).at[i + j * stride];
        for (uint j = 0u; j < AT_ONCE; j++) sum |= read[j];
    }
    for (; i < p.n; i += stride) sum |= Vectors(p.memory).at[i];
    if (sum != uvec4(0u)) Words(p.sum).at[0] = 1;
}
