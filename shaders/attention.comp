#version 450
/* A workgroup computes one head of one row and goes through the ranges one after the other. This is for steps with enough rows and
 * heads to fill a device.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/attention.glsl"
#include "shaders/common/attention_range.glsl"

void attend(uint pair) {
    uint own = gl_LocalInvocationID.x;
    visible_range visible = visible_to(pair);
    precise float sum = 0.0, out_values[PLACES];
    float maximum = -INFINITY;
    for (uint i = 0u; i < PLACES; i++) out_values[i] = 0.0;
    load_query(pair);
    for (uint range = 0u; range < n_ranges_of(visible); range++) {
        vec2 part = range_of(visible, pair, range);
        float next = part.x > maximum ? part.x : maximum;
        float a = weight_of(maximum, next), b = weight_of(part.x, next);
        sum = sum * a + part.y * b;
        maximum = next;
        for (uint i = 0u; i < PLACES; i++)
            if (own + i * RANGE < p.head_dim) out_values[i] = out_values[i] * a + values_of(own + i * RANGE) * b;
    }
    for (uint i = 0u; i < PLACES; i++)
        if (own + i * RANGE < p.head_dim) finish(pair, own + i * RANGE, out_values[i], sum);
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint t = gl_WorkGroupID.y; t < p.n_rows; t += gl_NumWorkGroups.y) attend(t * p.n_heads + gl_WorkGroupID.x);
}
