#version 450
/* One row and head a workgroup, which takes the ranges one after the other: where there are enough rows and heads to fill a device.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/attention.glsl"
#include "shaders/common/attention_range.glsl"

void attend(uint pair) {
    uint own = gl_LocalInvocationID.x;
    sight seen = sight_of(pair);
    precise float sum = 0.0, out_values[PLACES];
    float most = -INFINITY;
    for (uint i = 0u; i < PLACES; i++) out_values[i] = 0.0;
    load_query(pair);
    for (uint range = 0u; range < n_ranges_of(seen); range++) {
        vec2 part = range_of(seen, pair, range);
        float next = part.x > most ? part.x : most;
        float a = weight_of(most, next), b = weight_of(part.x, next);
        sum = sum * a + part.y * b;
        most = next;
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
