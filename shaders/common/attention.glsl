/* What the shaders of attention share: the positions that a row sees, the weights of ranges, and the layout of `parts`, which holds
 * the results of single ranges until they are combined (docs/numerics.md). A pair, t * n_heads + head, is one head of one row.
 */
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/attention.h"

#define RANGE 64u  /* WEFT_ATTENTION_RANGE, and the workgroup's size */
#define AT_ONCE 8u /* independent reads in flight */

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, q, kv, rows, sequences, y;
    uvec2 parts; /* of each pair: the ranges' largest scores, sums and values; 0 where a workgroup computes all ranges of a pair */
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences, n_rows, n_heads, window;
    float scale;
    float soft_cap; /* 0: none */
    uint n_parts; /* the most ranges that a row can see */
} p;

#include "shaders/common/cache.glsl"

layout(constant_id = 1) const uint PLACES = 4u; /* elements of a head for each invocation: head_dim / 64, rounded up */

/* The row sees positions [low, high) of the sequence. */
struct visible_range {
    int sequence;
    uint low, high;
};

visible_range visible_to(uint pair) {
    Words row = Words(address_of(p.rows, pair / p.n_heads, WEFT_ROW_WORDS * 4u));
    int sequence = sequence_of(row), index = sequence < 0 ? -1 : row.at[WEFT_ROW_CACHE_INDEX];
    uint max_positions = (p.sequence_words - WEFT_SEQUENCE_PAGES) * p.page_size;
    uint high = index < 0 ? 0u : min(uint(index) + 1u, max_positions);
    uint low = p.window > 0u && index >= 0 && uint(index) + 1u > p.window ? uint(index) + 1u - p.window : 0u;
    return visible_range(sequence, low, high);
}

/* The number of ranges with a visible position. The first of them is low / RANGE. */
uint n_ranges_of(visible_range visible) {
    return ceil_div(max(visible.high, visible.low / RANGE * RANGE), RANGE) - visible.low / RANGE;
}

/* exp(x - maximum). A maximum of -infinity, before the first score, counts as 0. */
float weight_of(float x, float maximum) {
    precise float difference = x - (maximum > -INFINITY ? maximum : 0.0);
    return weft_exp(difference);
}

Floats parts_of(uint pair) {
    return Floats(address_of(p.parts, pair, p.n_parts * (p.head_dim + 2u) * 4u));
}

uint part_largest(uint part) {
    return part;
}

uint part_sum(uint part) {
    return p.n_parts + part;
}

uint part_value(uint part, uint place) {
    return 2u * p.n_parts + part * p.head_dim + place;
}

void finish(uint pair, uint place, float value, float sum) {
    Floats y = Floats(address_of(p.y, pair, p.head_dim * 4u));
    y.at[place] = sum == 0.0 ? 0.0 : weft_divide(value, sum);
}
