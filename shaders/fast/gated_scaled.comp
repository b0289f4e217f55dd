#version 450
/* The end of norm_gated_mlp, activation(gate) * up, as half floats with a scale for each group of 32 values of a column. The scale is
 * the largest power of two that is not above the group's largest magnitude. The halves are then below 2 for values of any size: 1e6
 * and 1e-6 both keep 11 bits. Each row of a workgroup computes one group.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/norm_gated_mlp.h"

layout(constant_id = 0) const int ACTIVATION = WEFT_ACTIVATION_SILU;

#define GROUP 32u
#define GROUPS 4u /* of a workgroup */

layout(local_size_x = 32, local_size_y = 4) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, gate, up, halves, scales;
    uint n, n_columns; /* values of a column */
} p;

shared float magnitudes[GROUPS][GROUP];

float value_at(uint i) {
    float gate = Floats(p.gate).at[i], up = Floats(p.up).at[i];
    precise float product = ACTIVATION == WEFT_ACTIVATION_GELU ? weft_gelu(gate) * up : weft_silu(gate) * up;
    return product;
}

/* The largest magnitude of a group. NaN does not count here: it is stored as a half. */
float largest_of_group(float value) {
    uint lane = gl_LocalInvocationID.x, group = gl_LocalInvocationID.y;
    float magnitude = abs(value);
    magnitudes[group][lane] = magnitude >= 0.0 ? magnitude : 0.0;
    barrier();
    for (uint width = GROUP / 2u; width > 0u; width /= 2u) {
        if (lane < width) magnitudes[group][lane] = max(magnitudes[group][lane], magnitudes[group][lane + width]);
        barrier();
    }
    float largest = magnitudes[group][0];
    barrier(); /* the next group may be written */
    return largest;
}

/* The exponent of the scale. Groups whose largest magnitude is 0 or infinity have scale 1. Neither the scale nor its inverse may be
 * subnormal. */
uint exponent_for(float largest) {
    uint exponent = exponent_of(largest);
    if (exponent == 255u || largest == 0.0) return 127u;
    return clamp(exponent, 2u, 252u);
}

void main() {
    LEAVE_IF_STOPPED();
    uint column_groups = ceil_div(p.n, GROUP), n_groups = column_groups * p.n_columns;
    for (uint first = gl_WorkGroupID.x * GROUPS; first < n_groups; first += gl_NumWorkGroups.x * GROUPS) {
        uint group = first + gl_LocalInvocationID.y, in_column = group % column_groups * GROUP + gl_LocalInvocationID.x;
        uint i = group / column_groups * p.n + in_column;
        bool present = group < n_groups && in_column < p.n;
        float value = present ? value_at(i) : 0.0;
        uint exponent = exponent_for(largest_of_group(value));
        float inverse = uintBitsToFloat((254u - exponent) << 23);
        if (present) Halves(p.halves).at[i] = uint16_t(float_to_half(value * inverse));
        if (group < n_groups && gl_LocalInvocationID.x == 0u) Floats(p.scales).at[group] = uintBitsToFloat(exponent << 23);
    }
}
