/* The bands of products_units.glsl and products_dots.glsl, one after the other: `multiply` keeps a band's sums, if the step was not
 * stopped. */

void finish_band(Matrix matrix, uint role, uint n, uint band, uint first_column) {
    barrier();
    if (NORM) { /* one invocation reads what its total replaces */
        [[dont_unroll]] for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += INVOCATIONS)
            keep(sum_place(TOGETHER, i / UNIT_ROWS, 0u) + i % UNIT_ROWS, total(TOGETHER, i / UNIT_ROWS, i % UNIT_ROWS));
        barrier();
    }
    finish_results(matrix, role, n, band, first_column);
    barrier(); /* before the columns are staged again */
}

void main() {
    bool stopped = Words(p.control).at[CONTROL_STOPPED] != 0;
    uint first = ceil_div(p.n[0], BANDS * UNIT_ROWS), second = first, n_bands = first;
    if (END == END_PLAIN) {
        second += ceil_div(p.n[1], BANDS * UNIT_ROWS);
        n_bands = second + ceil_div(p.n[2], BANDS * UNIT_ROWS);
    }
    [[dont_unroll]] for (uint c = gl_WorkGroupID.x * TILE; c < p.n_columns; c += gl_NumWorkGroups.x * TILE)
        [[dont_unroll]] for (uint i = gl_WorkGroupID.y; i < n_bands; i += gl_NumWorkGroups.y) {
            uint which = i < first ? 0u : i < second ? 1u : 2u;
            uint band = i - (which == 0u ? 0u : which == 1u ? first : second);
            multiply(p.matrices[which], role_of(which), p.n[which], band, c, stopped);
            if (!stopped) finish_band(p.matrices[which], role_of(which), p.n[which], band, c);
        }
}
