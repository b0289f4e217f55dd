#version 450
/* y[i] = (x[i] * r) * weight[i] with r = 1 / sqrt(dot(x, x) / n + epsilon), for each group of n values by itself. Each workgroup has
 * one group. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#define LANE_ROWS 1u
#define LANE_SUMS 1u
#include "shaders/common/lanes.glsl"

layout(local_size_x = 32) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, weight, y; /* the weight may be left out */
    uint n, n_groups;            /* values in a group; groups in all columns */
    float epsilon;
} p;

void normalise(uint group) {
    Floats x = Floats(address_of(p.x, group, p.n * 4u)), y = Floats(address_of(p.y, group, p.n * 4u));
    precise float square_sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
        precise float square = x.at[i] * x.at[i];
        square_sum = square_sum + square;
    }
    precise float mean = weft_divide(sum_of_lanes(square_sum), float(p.n));
    precise float moved = mean + p.epsilon;
    float scale = weft_divide(1.0, weft_sqrt(moved));
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
        precise float value = x.at[i] * scale;
        if (is_present(p.weight)) value = value * Floats(p.weight).at[i];
        y.at[i] = value;
    }
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint group = gl_WorkGroupID.x; group < p.n_groups; group += gl_NumWorkGroups.x) normalise(group);
}
