/* Sums in 32 lanes and their tree, in shared memory: the same for any subgroup size. A workgroup is 32 invocations wide (x), each
 * row of it (y) a sum of its own. The includer defines LANE_ROWS, the workgroup's height, and LANE_SUMS, sums an invocation.
 */
#define LANES 32u

shared float lanes[LANE_ROWS * LANE_SUMS * LANES];

/* lanes[] holds this invocation's part of each sum at lane_place(sum); afterwards lane_sum(sum) is the same for a whole row. */
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
    barrier(); /* the last sum has been read */
    lanes[lane_place(0u)] = value;
    combine_lanes();
    return lane_sum(0u);
}
