/* Attention of one pair over a range of 64 positions. For the scores each invocation has one position, and the 32 lanes of its dot
 * product in registers. Keys go through shared memory, so that neighbouring invocations read neighbouring words. For the values
 * each invocation has one place of the head, and sums over the range.
 */
#define LANES 32u
#define LINE (LANES + 1u) /* of `keys`: the padding makes lines begin in different banks */

shared float query[PLACES * RANGE];
shared float keys[RANGE * LINE];
shared float exponentials[RANGE];
shared int cached[RANGE]; /* the cache's rows of keys, -1 where a position has none or is left out */

/* The fixed tree over 32 lanes. */
float combined(float lane[LANES]) {
    precise float sums[LANES] = lane;
    for (uint width = LANES / 2u; width > 0u; width /= 2u)
        for (uint l = 0u; l < width; l++) sums[l] = sums[l] + sums[l + width];
    return sums[0];
}

void load_query(uint pair) {
    Floats column = Floats(address_of(p.q, pair, p.head_dim * 4u));
    barrier(); /* all have read the last query */
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += RANGE) query[i] = column.at[i];
}

/* Element `place` of the cache row that lies `further` rows after the key of position i of the range; 0 where the position is left
 * out. */
float cached_at(uint i, uint further, uint place) {
    return cached[i] < 0 ? 0.0 : cache_at(cache_address(uint(cached[i]) + further), place);
}

/* Loads places `first` to first + 31 of all keys of the range. An invocation loads one place of every second key. */
void load_keys(uint first) {
    uint lane = gl_LocalInvocationID.x % LANES;
    barrier(); /* all have read the last places */
    if (first + lane < p.head_dim) {
        for (uint i = gl_LocalInvocationID.x / LANES; i < RANGE; i += 2u * AT_ONCE) {
            float read[AT_ONCE];
            for (uint j = 0u; j < AT_ONCE; j++) read[j] = cached_at(i + 2u * j, 0u, first + lane);
            for (uint j = 0u; j < AT_ONCE; j++) keys[(i + 2u * j) * LINE + lane] = read[j];
        }
    }
    barrier();
}

/* The score of this invocation's position, once cached[] is filled. */
float score_of() {
    uint own = gl_LocalInvocationID.x;
    precise float lane[LANES];
    for (uint l = 0u; l < LANES; l++) lane[l] = 0.0;
    for (uint i = 0u; i < p.head_dim; i += LANES) {
        load_keys(i);
        for (uint l = 0u; l < LANES; l++) {
            if (i + l < p.head_dim) {
                precise float product = query[i + l] * keys[own * LINE + l];
                lane[l] = lane[l] + product;
            }
        }
    }
    precise float score = combined(lane) * p.scale;
    if (p.soft_cap > 0.0) score = weft_soft_cap_of(score, p.soft_cap);
    return cached[own] >= 0 ? score : -INFINITY;
}

/* Fills cached[] and exponentials[] for a range (0 is the first visible one). Returns the range's largest score and the sum of its
 * exponentials. */
vec2 range_of(visible_range visible, uint pair, uint range) {
    uint own = gl_LocalInvocationID.x, position = (visible.low / RANGE + range) * RANGE + own;
    uint kv_head = pair % p.n_heads / (p.n_heads / p.n_kv_heads);
    int page = position >= visible.low && position < visible.high ? page_of(visible.sequence, position) : -1;
    barrier(); /* all have read those of the last range */
    cached[own] = page < 0 ? -1 : int(cache_row(page, false, kv_head, position % p.page_size));
    float score = score_of();
    exponentials[own] = score;
    barrier();
    float maximum = -INFINITY;
    for (uint i = 0u; i < RANGE; i++) maximum = exponentials[i] > maximum ? exponentials[i] : maximum;
    float e = weight_of(score, maximum);
    barrier();
    exponentials[own] = e;
    barrier();
    precise float lane[LANES];
    for (uint l = 0u; l < LANES; l++) {
        lane[l] = 0.0 + exponentials[l];
        lane[l] = lane[l] + exponentials[l + LANES];
    }
    return vec2(maximum, combined(lane));
}

/* The range's weighted sum of values at a place of the head. A position that is left out adds +0, which changes no sum: the sum is
 * never -0. */
float values_of(uint place) {
    precise float sum = 0.0;
    for (uint i = 0u; i < RANGE; i += AT_ONCE) {
        float values[AT_ONCE];
        for (uint j = 0u; j < AT_ONCE; j++) values[j] = cached_at(i + j, p.n_kv_heads * p.page_size, place);
        for (uint j = 0u; j < AT_ONCE; j++) {
            precise float product = exponentials[i + j] * values[j];
            sum = sum + product;
        }
    }
    return sum;
}
