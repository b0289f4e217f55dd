/* What the shaders of attention share: what a row sees, weights of ranges, and where the parts of ranges lie that are computed
 * apart (docs/numerics.md). Rows and heads are numbered as pairs, t * n_heads + head.
 */
#include "shaders/common/arithmetic.glsl"
#include "weft/ops/attention.h"

#define RANGE 64u  /* WEFT_ATTENTION_RANGE, and the workgroup's size */
#define AT_ONCE 8u /* reads that do not wait for one another */

layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Parameters {
    uvec2 control, q, kv, rows, sequences, y;
    uvec2 parts; /* for each pair the ranges' largest scores, sums and values; left out where a workgroup has all ranges */
    uint head_dim, page_size, n_kv_heads, n_pages, sequence_words, n_sequences, n_rows, n_heads, window;
    float scale;
    uint n_parts; /* ranges that a row sees at most */
} p;

#include "shaders/common/cache.glsl"

layout(constant_id = 1) const uint PLACES = 4u; /* of a head for each invocation: head_dim / 64, rounded up */

/* Positions [low, high) of a sequence. */
struct sight {
    int sequence;
    uint low, high;
};

sight sight_of(uint pair) {
    Words row = Words(address_of(p.rows, pair / p.n_heads, WEFT_ROW_WORDS * 4u));
    int sequence = sequence_of(row), index = sequence < 0 ? -1 : row.at[WEFT_ROW_CACHE_INDEX];
    uint most_positions = (p.sequence_words - WEFT_SEQUENCE_PAGES) * p.page_size;
    uint high = index < 0 ? 0u : min(uint(index) + 1u, most_positions);
    uint low = p.window > 0u && index >= 0 && uint(index) + 1u > p.window ? uint(index) + 1u - p.window : 0u;
    return sight(sequence, low, high);
}

/* Ranges that have a position of it, from low / RANGE on. */
uint n_ranges_of(sight seen) {
    return ceil_div(max(seen.high, seen.low / RANGE * RANGE), RANGE) - seen.low / RANGE;
}

/* exp(x - most), where nothing seen so far (most is -infinity) counts as 0. */
float weight_of(float x, float most) {
    precise float difference = x - (most > -INFINITY ? most : 0.0);
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
