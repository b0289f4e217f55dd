#version 450
/* Computes each range of attention in a workgroup of its own, so that few rows and heads fill a device, too.
 * attention_combine.comp then combines the ranges' parts.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/attention.glsl"
#include "shaders/common/attention_range.glsl"

/* Every gl_NumWorkGroups.x-th range of a pair. */
void attend(uint pair) {
    visible_range visible = visible_to(pair);
    uint own = gl_LocalInvocationID.x, n_ranges = n_ranges_of(visible);
    if (gl_WorkGroupID.x >= n_ranges) return;
    Floats parts = parts_of(pair);
    load_query(pair);
    for (uint range = gl_WorkGroupID.x; range < n_ranges; range += gl_NumWorkGroups.x) {
        vec2 part = range_of(visible, pair, range);
        if (own == 0u) {
            parts.at[part_largest(range)] = part.x;
            parts.at[part_sum(range)] = part.y;
        }
        for (uint place = own; place < p.head_dim; place += RANGE) parts.at[part_value(range, place)] = values_of(place);
    }
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint pair = gl_WorkGroupID.y; pair < p.n_rows * p.n_heads; pair += gl_NumWorkGroups.y) attend(pair);
}
