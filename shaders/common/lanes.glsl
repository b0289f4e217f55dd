/* Sums in 32 lanes, combined by the fixed tree in shared memory: the result is the same for any subgroup size. A workgroup is 32
 * invocations wide (x), and each of its rows (y) computes sums of its own. The includer defines LANE_ROWS, the number of rows, and
 * LANE_SUMS, the number of sums in a row.
 */
#define LANES 32u

shared float lanes[LANE_ROWS * LANE_SUMS * LANES];

/* Before combine_lanes an invocation writes its part of each sum to lanes[lane_place(sum)]; afterwards lane_sum(sum) is the whole
 * sum, the same for all invocations of the row. */
uint lane_place(uint sum) {
    return (gl_LocalInvocationID.y * LANE_SUMS + sum) * LANES + gl_LocalInvocationID.x;
}

void combine_lanes() {
    barrier();
    for (uint width = LANES / 2u; width > 0u; width /= 2u) {
        if (gl_LocalInvocationID.x < width) {
            for (uint i = 0u; i < LANE_SUMS; i++) {
                precise float sum = lanes[lane_place(i)] + lanes[lane_place(i) + width];
                lanes[lane_place(i)] = sum;
            }
        }
        barrier();
    }
}

float lane_sum(uint sum) {
    return lanes[(gl_LocalInvocationID.y * LANE_SUMS + sum) * LANES];
}

/* The sum of one value of each invocation of a row. */
float sum_of_lanes(float value) {
    barrier(); /* all have read the last sum */
    lanes[lane_place(0u)] = value;
    combine_lanes();
    return lane_sum(0u);
}
