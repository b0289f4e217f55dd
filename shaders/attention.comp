#version 450
/* One row and head a workgroup. Positions are taken in ranges of 64, an invocation a position: its dot product has the 32 lanes in
 * registers. Then an invocation is a place of the head, and sums the range's values.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/attention.h"

#define RANGE 64u /* WEFT_ATTENTION_RANGE, and the workgroup's size */
#define LANES 32u

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, q, kv, rows, sequences, y;
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences, n_rows, n_heads, window;
    float scale;
} p;

#include "shaders/common/cache.glsl"

layout(constant_id = 1) const uint PLACES = 4u; /* of a head for each invocation: head_dim / 64, rounded up */

shared float query[PLACES * RANGE];
shared float exponentials[RANGE];
shared int pages[RANGE];

/* The fixed tree over 32 lanes. */
float combined(float lane[LANES]) {
    precise float sums[LANES] = lane;
    for (uint width = LANES / 2u; width > 0u; width /= 2u)
        for (uint l = 0u; l < width; l++) sums[l] = sums[l] + sums[l + width];
    return sums[0];
}

float score_of(uvec2 key) {
    precise float lane[LANES];
    for (uint l = 0u; l < LANES; l++) lane[l] = 0.0;
    for (uint i = 0u; i < p.head_dim; i += LANES) {
        for (uint l = 0u; l < LANES; l++) {
            if (i + l < p.head_dim) {
                precise float product = query[i + l] * cache_at(key, i + l);
                lane[l] = lane[l] + product;
            }
        }
    }
    precise float score = combined(lane) * p.scale;
    return score;
}

/* exp(x - most), where nothing seen so far (most is -infinity) counts as 0. */
float weight_of(float x, float most) {
    precise float difference = x - (most > -INFINITY ? most : 0.0);
    return weft_exp(difference);
}

/* Fills pages and exponentials of the range from `first` on, and gives its largest score and their sum. */
vec2 range_of(int sequence, uint kv_head, uint first, uint low, uint high) {
    uint own = gl_LocalInvocationID.x, position = first + own;
    int page = position >= low && position < high ? page_of(sequence, position) : -1;
    float score = -INFINITY;
    if (page >= 0) score = score_of(cache_row(page, false, kv_head, position % p.page_size));
    barrier(); /* the last range's are not needed any more */
    pages[own] = page;
    exponentials[own] = score;
    barrier();
    float most = -INFINITY;
    for (uint i = 0u; i < RANGE; i++) most = exponentials[i] > most ? exponentials[i] : most;
    float e = weight_of(score, most);
    barrier();
    exponentials[own] = e;
    barrier();
    precise float lane[LANES];
    for (uint l = 0u; l < LANES; l++) {
        lane[l] = 0.0 + exponentials[l];
        lane[l] = lane[l] + exponentials[l + LANES];
    }
    return vec2(most, combined(lane));
}

float values_of(uint kv_head, uint first, uint place) {
    precise float sum = 0.0;
    for (uint i = 0u; i < RANGE; i++) {
        if (pages[i] < 0) continue;
        precise float product = exponentials[i] * cache_at(cache_row(pages[i], true, kv_head, (first + i) % p.page_size), place);
        sum = sum + product;
    }
    return sum;
}

void attend(uint t, uint head) {
    Words row = Words(address_of(p.rows, t, WEFT_ROW_WORDS * 4u));
    uint own = gl_LocalInvocationID.x, kv_head = head / (p.n_heads / p.n_kv_heads);
    uvec2 column = address_of(p.q, t * p.n_heads + head, p.head_dim * 4u);
    barrier();
    for (uint i = own; i < p.head_dim; i += RANGE) query[i] = Floats(column).at[i];
    barrier();
    int sequence = sequence_of(row), index = sequence < 0 ? -1 : row.at[WEFT_ROW_CACHE_INDEX];
    uint most_positions = (p.sequence_words - WEFT_SEQUENCE_PAGES) * p.page_size;
    uint high = index < 0 ? 0u : min(uint(index) + 1u, most_positions);
    uint low = p.window > 0u && index >= 0 && uint(index) + 1u > p.window ? uint(index) + 1u - p.window : 0u;
    precise float sum = 0.0, out_values[PLACES];
    float most = -INFINITY;
    for (uint i = 0u; i < PLACES; i++) out_values[i] = 0.0;
    for (uint first = low / RANGE * RANGE; first < high; first += RANGE) {
        vec2 part = range_of(sequence, kv_head, first, low, high);
        float next = part.x > most ? part.x : most;
        float a = weight_of(most, next), b = weight_of(part.x, next);
        sum = sum * a + part.y * b;
        most = next;
        for (uint i = 0u; i < PLACES; i++)
            if (own + i * RANGE < p.head_dim) out_values[i] = out_values[i] * a + values_of(kv_head, first, own + i * RANGE) * b;
    }
    Floats y = Floats(address_of(p.y, t * p.n_heads + head, p.head_dim * 4u));
    for (uint i = 0u; i < PLACES; i++)
        if (own + i * RANGE < p.head_dim) y.at[own + i * RANGE] = sum == 0.0 ? 0.0 : weft_divide(out_values[i], sum);
}

void main() {
    LEAVE_IF_STOPPED();
    for (uint t = gl_WorkGroupID.y; t < p.n_rows; t += gl_NumWorkGroups.y) attend(t, gl_WorkGroupID.x);
}
