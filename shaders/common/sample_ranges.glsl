/* What is known of all ranges of a column. The includer defines WIDTH, the workgroup's size; all its invocations call these. */
shared float range_values[WIDTH];

/* Copies value `which` of up to WIDTH ranges. */
void load_ranges(uint column, uint first, uint which) {
    uint range = first + gl_LocalInvocationID.x;
    barrier(); /* all have read the last ones */
    if (range < p.n_ranges) range_values[gl_LocalInvocationID.x] = range_parts(column, range).at[which];
    barrier();
}

float column_largest(uint column) {
    float largest = -INFINITY;
    for (uint first = 0u; first < p.n_ranges; first += WIDTH) {
        load_ranges(column, first, 0u);
        for (uint i = 0u; i < min(WIDTH, p.n_ranges - first); i++) largest = max(largest, range_values[i]);
    }
    return largest;
}
