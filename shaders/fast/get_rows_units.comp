#version 450
/* get_rows.comp from a table in units. */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/units_exact.glsl"

layout(local_size_x = 64) in;

#include "shaders/common/row_of.glsl"

void main() {
    LEAVE_IF_STOPPED();
    uint n_units = ceil_div(p.n, UNIT_VALUES);
    for (uint column = gl_WorkGroupID.y; column < p.n_columns; column += gl_NumWorkGroups.y) {
        int row = row_of(column);
        bool inside = row >= 0 && uint(row) < p.n_rows;
        uint from = inside ? uint(row) : 0u;
        Floats y = Floats(address_of(p.y, column, p.n * 4u));
        for (uint i = gl_GlobalInvocationID.x; i < p.n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
            uvec2 unit = unit_address(p.table, from / UNIT_ROWS, n_units, i / UNIT_VALUES);
            y.at[i] = inside ? unit_value(unit, from % UNIT_ROWS, i / 32u % UNIT_GROUPS, i % 32u) : 0.0;
        }
    }
}
