#version 450
/* The largest logit of each range; NaN does not count. Each workgroup has one range. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/sampling.glsl"

#define WIDTH 256u

layout(local_size_x = 256) in;

shared float largest[WIDTH];

void main() {
    LEAVE_IF_STOPPED();
    uint range = gl_WorkGroupID.x, column = gl_WorkGroupID.y, lane = gl_LocalInvocationID.x;
    if (is_padding(column)) return;
    Floats x = logits_of(column);
    float own = -INFINITY;
    uint end = min((range + 1u) * SAMPLE_RANGE, p.n_vocab);
    for (uint i = range * SAMPLE_RANGE + lane; i < end; i += WIDTH) own = x.at[i] > own ? x.at[i] : own;
    largest[lane] = own;
    for (uint width = WIDTH / 2u; width > 0u; width /= 2u) {
        barrier();
        if (lane < width && largest[lane + width] > largest[lane]) largest[lane] = largest[lane + width];
    }
    if (lane == 0u) range_parts(column, range).at[0] = largest[0];
}
