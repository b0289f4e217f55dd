#version 450
/* The part of norm_qkv after the products. Of queries and keys each head's norm, if the model has one, and its rotation; keys and
 * values then go to the cache, as kv_write.comp writes them, and queries stay in place. Each workgroup has one head of one row.
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
    uvec2 control, q, k, v, q_norm, k_norm, rows, table, kv, sequences; /* the norms may be left out */
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences;
    uint n_heads, n_rows, n_dims, n_positions; /* heads of queries */
    int order;
    float epsilon;
} p;

#include "shaders/common/cache.glsl"

layout(constant_id = 1) const bool HAS_NORMS = true; /* long code that is not run takes time, too */

shared float head[MAX_HEAD_DIM];
shared uint n_later; /* rows after this one that name its place of the cache */

void normalise(uvec2 norm) {
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
        value = value * Floats(norm).at[i];
        head[i] = value;
    }
}

Words row_at(uint t) {
    return Words(address_of(p.rows, t, WEFT_ROW_WORDS * 4u));
}

/* Whether a later row names the same place: then that row's values stay in the cache. */
bool is_replaced(uint t) {
    if (t + 1u == p.n_rows) return false;
    int index = row_at(t).at[WEFT_ROW_CACHE_INDEX], sequence = row_at(t).at[WEFT_ROW_SEQUENCE];
    if (gl_LocalInvocationID.x == 0u) n_later = 0u;
    barrier();
    for (uint later = t + 1u + gl_LocalInvocationID.x; later < p.n_rows; later += LANES)
        if (row_at(later).at[WEFT_ROW_CACHE_INDEX] == index && row_at(later).at[WEFT_ROW_SEQUENCE] == sequence)
            atomicAdd(n_later, 1u);
    barrier();
    return n_later > 0u;
}

/* A place of the head, rotated where the row has a position (of queries and keys), else -1. */
float result_at(uint i, int position) {
    if (position < 0 || i >= p.n_dims) return head[i];
    Floats table = Floats(address_of(p.table, uint(position), p.n_dims * 4u));
    return rotated(table, head[i], head[rotation_partner(i, p.n_dims, p.order)], i, p.n_dims, p.order);
}

void write_to_cache(uint t, int index, int page, bool values, uint kv_head, int position) {
    if (is_replaced(t) || page < 0) return;
    uvec2 to = cache_address(cache_row(page, values, kv_head, uint(index) % p.page_size));
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) {
        if (KV_TYPE == TYPE_F16)
            Halves(to).at[i] = uint16_t(float_to_half(result_at(i, position)));
        else
            Floats(to).at[i] = result_at(i, position);
    }
}

/* Heads count through queries, keys and values. All that is read is read early, since a dispatch of one row does little but wait. */
void finish(uint t, uint which, bool stopped) {
    bool is_query = which < p.n_heads, is_value = which >= p.n_heads + p.n_kv_heads;
    uint own = is_query ? which : (which - p.n_heads) % p.n_kv_heads, n = is_query ? p.n_heads : p.n_kv_heads;
    Floats x = Floats(address_of(is_query ? p.q : is_value ? p.v : p.k, t * n + own, p.head_dim * 4u));
    uvec2 norm = is_query ? p.q_norm : p.k_norm;
    int position = is_value ? -1 : rotation_position(p.rows, t, p.n_positions);
    int index = is_query ? -1 : row_at(t).at[WEFT_ROW_CACHE_INDEX];
    int page = index < 0 ? -1 : page_of(sequence_of(row_at(t)), uint(index));
    barrier(); /* all have read the last head */
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) head[i] = x.at[i];
    if (stopped) return; /* all invocations of a step decide alike */
    if (HAS_NORMS && !is_value && is_present(norm)) normalise(norm);
    barrier();
    if (!is_query)
        write_to_cache(t, index, page, is_value, own, position);
    else
        for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += LANES) x.at[i] = result_at(i, position);
}

void main() {
    bool stopped = Words(p.control).at[CONTROL_STOPPED] != 0;
    uint n_each = p.n_heads + 2u * p.n_kv_heads, n = n_each * p.n_rows;
    for (uint i = gl_WorkGroupID.x; i < n; i += gl_NumWorkGroups.x) finish(i / n_each, i % n_each, stopped);
}
