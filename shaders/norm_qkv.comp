#version 450
/* The part of norm_qkv between the products and the cache, for queries and keys in place: each head's norm, if the model has one,
 * and its rotation. Each workgroup has one head of one row.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "shaders/common/rotate.glsl"
#define LANE_ROWS 1u
#define LANE_SUMS 1u
#include "shaders/common/lanes.glsl"

#define MAX_HEAD_DIM 1024

layout(local_size_x = 32) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, x, norm, rows, table; /* the norm may be left out */
    uint n_heads, n_columns, head_dim, n_dims, n_positions;
    int order;
    float epsilon;
} p;

shared float head[MAX_HEAD_DIM];

void normalise() {
    precise float square_sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) {
        precise float square = head[i] * head[i];
        square_sum = square_sum + square;
    }
    precise float mean = weft_divide(sum_of_lanes(square_sum), float(p.head_dim));
    precise float moved = mean + p.epsilon;
    float scale = weft_divide(1.0, weft_sqrt(moved));
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) {
        precise float value = head[i] * scale;
        value = value * Floats(p.norm).at[i];
        head[i] = value;
    }
}

void finish(uint column, uint which) {
    Floats x = Floats(address_of(p.x, column * p.n_heads + which, p.head_dim * 4u));
    int position = rotation_position(p.rows, column, p.n_positions);
    Floats table = Floats(address_of(p.table, uint(max(position, 0)), p.n_dims * 4u));
    barrier();
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) head[i] = x.at[i];
    if (is_present(p.norm)) normalise();
    barrier();
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) {
        float value = head[i];
        if (position >= 0 && i < p.n_dims)
            value = rotated(table, value, head[rotation_partner(i, p.n_dims, p.order)], i, p.n_dims, p.order);
        x.at[i] = value;
    }
}

void main() {
    LEAVE_IF_STOPPED();
    uint n = p.n_heads * p.n_columns;
    for (uint i = gl_WorkGroupID.x; i < n; i += gl_NumWorkGroups.x) finish(i / p.n_heads, i % p.n_heads);
}
