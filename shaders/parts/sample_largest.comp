#version 450
/* The largest logit of each range; NaN does not count. Each workgroup has one range. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/sampling.glsl"

layout(local_size_x = 32) in;

shared float largest[32];

void main() {
    LEAVE_IF_STOPPED();
    uint range = gl_WorkGroupID.x, column = gl_WorkGroupID.y;
    if (is_padding(column)) return;
    Floats x = logits_of(column);
    float own = -INFINITY;
    uint end = min((range + 1u) * SAMPLE_RANGE, p.n_vocab);
    for (uint i = range * SAMPLE_RANGE + gl_LocalInvocationID.x; i < end; i += 32u) own = x.at[i] > own ? x.at[i] : own;
    largest[gl_LocalInvocationID.x] = own;
    barrier();
    if (gl_LocalInvocationID.x != 0u) return;
    for (uint i = 1u; i < 32u; i++) own = largest[i] > own ? largest[i] : own;
    range_parts(column, range).at[0] = own;
}
