#version 450
/* The sums of exponentials of each range, at temperature 1 and at the column's temperature. Each workgroup has one range: all
 * invocations compute exponentials, and the first 32 are the lanes of the sum.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/sampling.glsl"

#define LANES 32u
#define WIDTH 256u
#include "shaders/common/sample_ranges.glsl"

layout(local_size_x = 256) in;

shared float exponentials[SAMPLE_RANGE];

/* The sum is that of the first invocation. */
float sum_of(uint column, uint range, float largest, float temperature) {
    Floats x = logits_of(column);
    uint first = range * SAMPLE_RANGE, n = min(SAMPLE_RANGE, p.n_vocab - first), lane = gl_LocalInvocationID.x;
    precise float sum = 0.0;
    barrier(); /* the last sum is complete */
    for (uint i = lane; i < n; i += WIDTH) exponentials[i] = exponential(x.at[first + i], largest, temperature);
    barrier();
    if (lane < LANES)
        for (uint i = lane; i < n; i += LANES) sum = sum + exponentials[i];
    barrier();
    if (lane < LANES) exponentials[lane] = sum;
    for (uint width = LANES / 2u; width > 0u; width /= 2u) {
        barrier();
        if (lane < width) {
            precise float both = exponentials[lane] + exponentials[lane + width];
            exponentials[lane] = both;
        }
    }
    return exponentials[0];
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
