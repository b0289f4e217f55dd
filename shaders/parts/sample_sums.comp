#version 450
/* The sums of exponentials of each range, at temperature 1 and at the column's temperature. Each workgroup has one range. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/sampling.glsl"
#define LANE_ROWS 1u
#define LANE_SUMS 1u
#include "shaders/common/lanes.glsl"

layout(local_size_x = 32) in;

float sum_of(uint column, uint range, float largest, float temperature) {
    Floats x = logits_of(column);
    precise float sum = 0.0;
    uint end = min((range + 1u) * SAMPLE_RANGE, p.n_vocab);
    for (uint i = range * SAMPLE_RANGE + gl_LocalInvocationID.x; i < end; i += LANES)
        sum = sum + exponential(x.at[i], largest, temperature);
    return sum_of_lanes(sum);
}

void main() {
    LEAVE_IF_STOPPED();
    uint range = gl_WorkGroupID.x, column = gl_WorkGroupID.y;
    if (is_padding(column)) return;
    float largest = column_largest(column), temperature = temperature_of(column);
    float plain = sum_of(column, range, largest, 1.0), tempered = 0.0;
    if (temperature != 0.0) tempered = sum_of(column, range, largest, temperature);
    if (gl_LocalInvocationID.x != 0u) return;
    range_parts(column, range).at[1] = plain;
    range_parts(column, range).at[2] = tempered;
}
