#version 450
/* Each workgroup has one column. Each value is read and written by one invocation alone, so that y may be x. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#define LANE_ROWS 1u
#define LANE_SUMS 1u
#include "shaders/common/lanes.glsl"

layout(local_size_x = 32) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, mask, y; /* the mask may be left out */
    uint n, n_columns;
    float scale;
} p;

shared float largest[LANES];

float z_at(uint column, uint i) {
    precise float z = p.scale * Floats(address_of(p.x, column, p.n * 4u)).at[i];
    if (is_present(p.mask)) z = z + Floats(address_of(p.mask, column, p.n * 4u)).at[i];
    return z;
}

float largest_of(uint column) {
    float own = -INFINITY;
    for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
        float z = z_at(column, i);
        own = z > own ? z : own;
    }
    barrier();
    largest[gl_LocalInvocationID.x] = own;
    barrier();
    float all = -INFINITY;
    for (uint i = 0u; i < LANES; i++) all = largest[i] > all ? largest[i] : all;
    return all;
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint column = gl_WorkGroupID.x; column < p.n_columns; column += gl_NumWorkGroups.x) {
        Floats y = Floats(address_of(p.y, column, p.n * 4u));
        float maximum = largest_of(column);
        precise float part = 0.0;
        for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) {
            precise float difference = z_at(column, i) - maximum;
            float e = weft_exp(difference);
            y.at[i] = e;
            part = part + e;
        }
        float sum = sum_of_lanes(part);
        if (!(maximum > -INFINITY)) sum = 0.0;
        for (uint i = gl_LocalInvocationID.x; i < p.n; i += LANES) y.at[i] = sum == 0.0 ? 0.0 : weft_divide(y.at[i], sum);
    }
}
