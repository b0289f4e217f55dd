#version 450
/* The power of each row of a matrix in units (shaders/common/units.glsl). Each workgroup has one row. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/units_exact.glsl"

#define WIDTH 64u

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, units, powers; /* of the first row, which begins a band */
    uint n_rows, n_units; /* rows in whole bands; units in a row */
} p;

shared float largest[WIDTH];

float largest_of(uint row) {
    float own = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.n_units * UNIT_VALUES; i += WIDTH) {
        uvec2 unit = unit_address(p.units, row / UNIT_ROWS, p.n_units, i / UNIT_VALUES);
        float magnitude = abs(unit_value(unit, row % UNIT_ROWS, i / 32u % UNIT_GROUPS, i % 32u));
        own = magnitude > own ? magnitude : own;
    }
    return own;
}

void main() {
    for (uint row = gl_WorkGroupID.x; row < p.n_rows; row += gl_NumWorkGroups.x) {
        barrier(); /* the last row is done */
        largest[gl_LocalInvocationID.x] = largest_of(row);
        barrier();
        if (gl_LocalInvocationID.x != 0u) continue;
        float all = 0.0;
        for (uint i = 0u; i < WIDTH; i++) all = max(all, largest[i]);
        uint exponent = exponent_of(all);
        Floats(p.powers).at[row] = exponent == 255u || all == 0.0 ? 1.0 : uintBitsToFloat(max(exponent, 1u) << 23);
    }
}
