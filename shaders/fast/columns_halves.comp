#version 450
/* Columns of floats as half floats for products with matrix units. A column is first multiplied with the norm's weights, if there is a
 * norm, and divided by a power of two, so that values of any size fit: 1e6 does not become infinite. The largest magnitude becomes
 * 2^11 to 2^12, and values of up to 2^26 times less keep 11 bits. A column's scale is what its sums are multiplied with: that power,
 * and the norm's factor.
 *
 * The halves lie in blocks of 16 columns and 32 values. Each workgroup has one column.
 */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#include "shaders/common/common.glsl"
#include "shaders/common/wide.glsl"

layout(constant_id = 0) const bool HAS_NORM = false;

#define WIDTH 256u
#define AT_ONCE 8u /* values */

layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, norm, halves, scales;
    uint k, n_columns, n_blocks; /* blocks of 32 values of a column */
    float epsilon;
} p;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Fours { vec4 at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer Vectors { uvec4 at[]; };

shared float sums[WIDTH], magnitudes[WIDTH];

/* Values first .. first + 7, which are 0 past the end. */
void load(uvec2 column, uint first, out float values[AT_ONCE]) {
    if ((p.k & 7u) == 0u && first < p.k) {
        vec4 low = Fours(column).at[first / 4u], high = Fours(column).at[first / 4u + 1u];
        for (uint i = 0u; i < 4u; i++) {
            values[i] = low[i];
            values[i + 4u] = high[i];
        }
        return;
    }
    for (uint i = 0u; i < AT_ONCE; i++) values[i] = first + i < p.k ? Floats(column).at[first + i] : 0.0;
}

/* The same times the norm's weights; adds the squares before that. */
void load_normed(uvec2 column, uint first, out float values[AT_ONCE], inout float squares) {
    load(column, first, values);
    if (!HAS_NORM) return;
    float weights[AT_ONCE];
    load(p.norm, first, weights);
    for (uint i = 0u; i < AT_ONCE; i++) {
        squares = fma(values[i], values[i], squares);
        precise float product = values[i] * weights[i];
        values[i] = product;
    }
}

/* Adds up `sums` and finds the largest of `magnitudes`. NaN does not count here: it is stored as a half. */
void combine(float squares, float largest) {
    uint own = gl_LocalInvocationID.x;
    sums[own] = squares;
    magnitudes[own] = largest;
    barrier();
    for (uint width = WIDTH / 2u; width > 0u; width /= 2u) {
        if (own < width) {
            sums[own] += sums[own + width];
            magnitudes[own] = magnitudes[own + width] > magnitudes[own] ? magnitudes[own + width] : magnitudes[own];
        }
        barrier();
    }
}

void prepare(uint t) {
    uvec2 column = address_of(p.x, t, p.k * 4u);
    float values[AT_ONCE], squares = 0.0, largest = 0.0;
    for (uint i = gl_LocalInvocationID.x * AT_ONCE; i < p.k; i += WIDTH * AT_ONCE) {
        load_normed(column, i, values, squares);
        for (uint j = 0u; j < AT_ONCE; j++) largest = abs(values[j]) > largest ? abs(values[j]) : largest;
    }
    combine(squares, largest);
    float power = power_below(magnitudes[0]), inverse = inverse_power(power) * COLUMN_FACTOR;
    float factor = HAS_NORM ? 1.0 / sqrt(sums[0] / float(p.k) + p.epsilon) : 1.0;
    if (gl_LocalInvocationID.x == 0u) Floats(p.scales).at[t] = power / COLUMN_FACTOR * factor;
    for (uint i = gl_LocalInvocationID.x * AT_ONCE; i < p.n_blocks * 32u; i += WIDTH * AT_ONCE) {
        float unused = 0.0;
        load_normed(column, i, values, unused);
        uvec4 halves;
        for (uint j = 0u; j < 4u; j++)
            halves[j] = packFloat2x16(f16vec2(float16_t(values[2u * j] * inverse), float16_t(values[2u * j + 1u] * inverse)));
        uvec2 block = address_of(p.halves, t / COLUMN_BLOCK * p.n_blocks + i / 32u, COLUMN_BLOCK_BYTES);
        Vectors(block).at[t % COLUMN_BLOCK * 4u + i % 32u / 8u] = halves;
    }
    barrier(); /* the shared memory is used again */
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint t = gl_WorkGroupID.x; t < p.n_columns; t += gl_NumWorkGroups.x) prepare(t);
}
