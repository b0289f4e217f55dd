/* The band of a workgroup of products_units.glsl and products_dots.glsl: `multiply` keeps its sums, if the step was not stopped. */

void finish_band(Matrix matrix, uint role, uint n, uint band, uint first_column) {
    barrier();
    if (NORM) { /* one invocation reads what its total replaces */
        [[dont_unroll]] for (uint i = gl_LocalInvocationIndex; i < TILE * UNIT_ROWS; i += INVOCATIONS)
            keep(sum_place(TOGETHER, i / UNIT_ROWS, 0u) + i % UNIT_ROWS, total(TOGETHER, i / UNIT_ROWS, i % UNIT_ROWS));
        barrier();
    }
    finish_results(matrix, role, n, band, first_column);
}

/* No loops over bands or columns: with them the same code takes a few percent longer. */
void main() {
    bool stopped = Words(p.control).at[CONTROL_STOPPED] != 0;
    uint first = ceil_div(p.n[0], BANDS * UNIT_ROWS), second = END == END_PLAIN ? first + ceil_div(p.n[1], BANDS * UNIT_ROWS) : first;
    uint i = gl_WorkGroupID.y, which = END != END_PLAIN || i < first ? 0u : i < second ? 1u : 2u;
    uint band = i - (which == 0u ? 0u : which == 1u ? first : second), column = gl_WorkGroupID.x * TILE;
    multiply(p.matrices[which], role_of(which), p.n[which], band, column, stopped);
    if (!stopped) finish_band(p.matrices[which], role_of(which), p.n[which], band, column);
}
