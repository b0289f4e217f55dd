#version 450
/* Combines the parts of attention's ranges in order. Each invocation combines one place of the head. The weights of the parts depend
 * on the parts' largest scores alone: each invocation computes the weight of one part, for 64 parts at a time.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/attention.glsl"

shared float largest[RANGE], sums[RANGE];
shared float so_far[RANGE]; /* the largest score of a part and all parts before it */
shared vec2 weights[RANGE]; /* of the sum of all parts before a part, and of the part itself */

/* Fills the shared memory for `count` parts from `first` on. `maximum` is the largest score before them. */
void weigh(Floats parts, uint first, uint count, float maximum) {
    uint own = gl_LocalInvocationID.x;
    barrier(); /* all have added the last parts */
    if (own < count) {
        largest[own] = parts.at[part_largest(first + own)];
        sums[own] = parts.at[part_sum(first + own)];
    }
    barrier();
    if (own < count) {
        for (uint i = 0u; i < own; i++) maximum = largest[i] > maximum ? largest[i] : maximum;
        so_far[own] = largest[own] > maximum ? largest[own] : maximum;
        weights[own] = vec2(weight_of(maximum, so_far[own]), weight_of(largest[own], so_far[own]));
    }
    barrier();
}

void combine(uint pair, uint place) {
    Floats parts = parts_of(pair);
    uint n_ranges = n_ranges_of(visible_to(pair)), inside = min(place, p.head_dim - 1u);
    precise float sum = 0.0, value = 0.0;
    float maximum = -INFINITY;
    for (uint first = 0u; first < n_ranges; first += RANGE) {
        uint count = min(RANGE, n_ranges - first);
        weigh(parts, first, count, maximum);
        maximum = so_far[count - 1u];
        for (uint i = 0u; i < count; i += AT_ONCE) {
            float values[AT_ONCE];
            for (uint j = 0u; j < AT_ONCE; j++) values[j] = parts.at[part_value(min(first + i + j, n_ranges - 1u), inside)];
            for (uint j = 0u; j < AT_ONCE && i + j < count; j++) {
                sum = sum * weights[i + j].x + sums[i + j] * weights[i + j].y;
                value = value * weights[i + j].x + values[j] * weights[i + j].y;
            }
        }
    }
    if (place < p.head_dim) finish(pair, place, value, sum);
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint pair = gl_WorkGroupID.y; pair < p.n_rows * p.n_heads; pair += gl_NumWorkGroups.y)
        for (uint i = gl_WorkGroupID.x; i < PLACES; i += gl_NumWorkGroups.x) combine(pair, i * RANGE + gl_LocalInvocationID.x);
}
