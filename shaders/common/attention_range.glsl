/* A range of 64 positions for one pair, an invocation a position. Keys go through shared memory, so that neighbours read
 * neighbouring words; each dot product has its 32 lanes in one invocation's registers. Then an invocation is a place of the head,
 * and sums the range's values.
 */
#define LANES 32u
#define LINE (LANES + 1u) /* of `keys`: apart, so that lines begin in different banks */

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
    barrier(); /* the last one is not needed any more */
    for (uint i = gl_LocalInvocationID.x; i < p.head_dim; i += RANGE) query[i] = column.at[i];
}

/* Element `place` of position i of the range, `further` rows after its key; 0 where it is left out. */
float cached_at(uint i, uint further, uint place) {
    return cached[i] < 0 ? 0.0 : cache_at(cache_address(uint(cached[i]) + further), place);
}

/* Places `first` to first + 31 of all keys of the range: an invocation has a place of every other key. */
void load_keys(uint first) {
    uint lane = gl_LocalInvocationID.x % LANES;
    barrier(); /* the last places are not needed any more */
    if (first + lane < p.head_dim) {
        for (uint i = gl_LocalInvocationID.x / LANES; i < RANGE; i += 2u * AT_ONCE) {
            float read[AT_ONCE];
            for (uint j = 0u; j < AT_ONCE; j++) read[j] = cached_at(i + 2u * j, 0u, first + lane);
            for (uint j = 0u; j < AT_ONCE; j++) keys[(i + 2u * j) * LINE + lane] = read[j];
        }
    }
    barrier();
}

/* Of this invocation's position, once cached[] is filled. */
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
    return cached[own] >= 0 ? score : -INFINITY;
}

/* Fills cached[] and exponentials[] of a range, the first that is seen being 0, and gives its largest score and their sum. */
vec2 range_of(sight seen, uint pair, uint range) {
    uint own = gl_LocalInvocationID.x, position = (seen.low / RANGE + range) * RANGE + own;
    uint kv_head = pair % p.n_heads / (p.n_heads / p.n_kv_heads);
    int page = position >= seen.low && position < seen.high ? page_of(seen.sequence, position) : -1;
    barrier(); /* the last range's are not needed any more */
    cached[own] = page < 0 ? -1 : int(cache_row(page, false, kv_head, position % p.page_size));
    float score = score_of();
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

/* The range's values at a place of the head. What is left out adds +0 to a sum that is never -0: nothing. */
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
