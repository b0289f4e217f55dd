/* Double-float arithmetic (a number is the sum of two floats, 48 bits and more) for what docs/numerics.md computes in binary64,
 * which not every device has (Dekker 1971, Knuth's two-sum).
 */
vec2 pair_of(float a, float b) {
    precise float sum = a + b;
    precise float b_part = sum - a;
    precise float error = (a - (sum - b_part)) + (b - b_part);
    return vec2(sum, error);
}

vec2 pair_add(vec2 a, float b) {
    vec2 sum = pair_of(a.x, b);
    precise float low = sum.y + a.y;
    return pair_of(sum.x, low);
}

vec2 pair_add_pair(vec2 a, vec2 b) {
    vec2 sum = pair_add(a, b.x);
    return pair_add(sum, b.y);
}

vec2 pair_times(vec2 a, float b) {
    precise float product = a.x * b;
    precise float low = product_error(a.x, b, product) + a.y * b;
    return pair_of(product, low);
}

bool pair_at_least(vec2 a, vec2 b) {
    return a.x > b.x || (a.x == b.x && a.y >= b.y);
}

/* ln a for a positive normal a. a = m 2^n with m about 1, and ln m = 2 artanh z with z = (m - 1) / (m + 1), |z| < 0.18. z itself is
 * a pair; the series in floats begins with z^3 / 3, so that the series' rounding is far below that of a float result.
 */
vec2 pair_log(vec2 a) {
    int n = int(exponent_of(a.x)) - 127;
    if (with_exponent(a.x, 127u) > 1.41421356) n++;
    float down = uintBitsToFloat(uint(127 - n) << 23);
    precise float m_high = a.x * down;
    precise float m_low = a.y * down;
    vec2 above = pair_add(pair_of(m_high, -1.0), m_low), below = pair_add(pair_of(m_high, 1.0), m_low);
    precise float z = above.x / below.x;
    vec2 rest = pair_add_pair(above, -pair_times(below, z));
    precise float z_low = rest.x / below.x;
    precise float w = z * z;
    precise float series = 0.0769230769 * w + 0.0909090909;
    series = series * w + 0.111111111;
    series = series * w + 0.142857143;
    series = series * w + 0.2;
    series = series * w + 0.333333333;
    series = series * w * z;
    precise float half_low = z_low + series;
    precise vec2 half_log = pair_of(z, half_low);
    precise vec2 log_m = 2.0 * half_log;
    vec2 log_2 = vec2(0.693147182, -1.90465421e-9); /* in two parts */
    return pair_add_pair(pair_times(log_2, float(n)), log_m);
}
