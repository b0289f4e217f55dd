#version 450
/* y[i] = ((x[i] - m) * r) * weight[i] + bias[i] with m = sum(x) / n and r = 1 / sqrt(dot(x - m, x - m) / n + epsilon). Each workgroup
 * has one column. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#define LANE_ROWS 1u
#define LANE_SUMS 1u
#include "shaders/common/lanes.glsl"

layout(local_size_x = 32) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, weight, bias, y; /* weight and bias may be left out */
    uint n, n_columns;
    float epsilon;
} p;

void normalise(uint column) {
    Floats x = Floats(address_of(p.x, column, p.n * 4u)), y = Floats(address_of(p.y, column, p.n * 4u));
    precise float sum = 0.0, square_sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) sum = sum + x.at[i];
    precise float mean = weft_divide(sum_of_lanes(sum), float(p.n));
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
        precise float distance = x.at[i] - mean;
        precise float square = distance * distance;
        square_sum = square_sum + square;
    }
    precise float variance = weft_divide(sum_of_lanes(square_sum), float(p.n));
    precise float moved = variance + p.epsilon;
    float scale = weft_divide(1.0, weft_sqrt(moved));
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
        precise float value = (x.at[i] - mean) * scale;
        if (is_present(p.weight)) value = value * Floats(p.weight).at[i];
        if (is_present(p.bias)) value = value + Floats(p.bias).at[i];
        y.at[i] = value;
    }
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.x; column < p.n_columns; column += gl_NumWorkGroups.x) normalise(column);
}
