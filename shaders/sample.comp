#version 450
/* The last part of sample: chooses a token for each column and writes the token, its log-probability, the most likely tokens and the
 * sequence's last token. Each workgroup has one column.
 */
#extension GL_GOOGLE_include_directive : require
#include "shaders/common/common.glsl"
#include "shaders/common/sampling.glsl"
#include "shaders/common/pairs.glsl"

#define WIDTH 256u
#include "shaders/common/sample_ranges.glsl"

layout(local_size_x = 256) in;

shared uint first_ids[WIDTH];

/* Token `place` of the column's order. */
uint order_at(uint column, uint place) {
    return uint(Words(address_of(p.order, column, p.n_vocab * 16u)).at[2u * place + 1u]);
}

vec2 sum_ranges(uint column, uint which) {
    vec2 sum = vec2(0.0);
    for (uint first = 0u; first < p.n_ranges; first += WIDTH) {
        load_ranges(column, first, which);
        for (uint i = 0u; i < min(WIDTH, p.n_ranges - first); i++) sum = pair_add(sum, range_values[i]);
    }
    return sum;
}

/* The smallest of the invocations' numbers. */
uint least_of_all(uint number) {
    uint own = gl_LocalInvocationID.x;
    barrier();
    first_ids[own] = number;
    for (uint width = WIDTH / 2u; width > 0u; width /= 2u) {
        barrier();
        if (own < width) first_ids[own] = min(first_ids[own], first_ids[own + width]);
    }
    barrier();
    return first_ids[0];
}

/* The first token with the largest logit: it is in the first range with that logit. */
uint first_of_order(uint column, float largest) {
    Floats x = logits_of(column);
    uint own = gl_LocalInvocationID.x, range = p.n_ranges, found = p.n_vocab;
    for (uint i = own; i < p.n_ranges; i += WIDTH)
        if (range_parts(column, i).at[0] == largest) range = min(range, i);
    uint first = least_of_all(range) * SAMPLE_RANGE, end = min(first + SAMPLE_RANGE, p.n_vocab);
    for (uint i = first + own; i < end; i += WIDTH)
        if (x.at[i] == largest) found = min(found, i);
    found = least_of_all(found);
    return found == p.n_vocab || !(largest > -INFINITY) ? 0u : found;
}

struct Limits {
    uint top_k;
    bool has_top_p;
    vec2 top_p; /* as a sum of exponentials */
    float min_p;
};

Limits limits_of(uint column, vec2 all) {
    int top_k = head_word(column, WEFT_HEAD_TOP_K);
    float top_p = intBitsToFloat(head_word(column, WEFT_HEAD_TOP_P));
    float min_p = intBitsToFloat(head_word(column, WEFT_HEAD_MIN_P));
    return Limits(top_k > 0 && uint(top_k) < p.n_vocab ? uint(top_k) : p.n_vocab, top_p > 0.0 && top_p < 1.0,
                  pair_times(all, top_p), min_p > 0.0 ? min_p : 0.0);
}

float exponential_at(uint column, uint place, float largest) {
    return exponential(logits_of(column).at[order_at(column, place)], largest, temperature_of(column));
}

/* The sum of the exponentials that the limits leave; without limits the sum of all. */
vec2 sum_left(uint column, float largest, Limits limits, vec2 all) {
    if (limits.top_k == p.n_vocab && !limits.has_top_p && limits.min_p == 0.0) return all;
    vec2 sum = vec2(0.0);
    for (uint i = 0u; i < limits.top_k && !(limits.has_top_p && pair_at_least(sum, limits.top_p)); i++) {
        float e = exponential_at(column, i, largest);
        if (i > 0u && e < limits.min_p) break;
        sum = pair_add(sum, e);
    }
    return sum;
}

/* `all`: the sum of all exponentials at the column's temperature. */
uint draw(uint column, float largest, vec2 all) {
    vec2 sum = vec2(0.0);
    Limits limits = limits_of(column, all);
    vec2 left = sum_left(column, largest, limits, all);
    precise float u = float(uint(head_word(column, WEFT_HEAD_RANDOM)) >> 8) * 5.9604644775390625e-8; /* 2^-24 */
    vec2 aim = pair_times(left, u);
    uint token = order_at(column, 0u);
    for (uint i = 0u; i < limits.top_k; i++) {
        float e = exponential_at(column, i, largest);
        if (i > 0u && (e == 0.0 || e < limits.min_p)) break;
        token = order_at(column, i);
        sum = pair_add(sum, e);
        if (pair_at_least(sum, aim) || (limits.has_top_p && pair_at_least(sum, limits.top_p))) break;
    }
    return token;
}

/* The log-probability's bits. */
int log_probability(uint column, uint token, float largest, vec2 log_sum) {
    float x = logits_of(column).at[token];
    if (!(x > -INFINITY)) x = -INFINITY;
    vec2 difference = x == largest ? vec2(0.0) : pair_of(x, -largest);
    if (isinf(log_sum.x)) return floatBitsToInt(-log_sum.x);
    if (x != largest && isinf(difference.x)) return floatBitsToInt(difference.x);
    return floatBitsToInt(pair_add_pair(difference, -log_sum).x);
}

/* Writes the sequence's last token, unless a later column has the same sequence. */
void keep_token(uint column, int token) {
    int sequence = head_word(column, WEFT_HEAD_SEQUENCE);
    if (sequence < 0 || uint(sequence) >= p.n_sequences) return;
    for (uint later = column + 1u; later < p.n_heads - p.first_column; later++)
        if (head_word(later, WEFT_HEAD_SEQUENCE) == sequence && !is_padding(later)) return;
    Words(p.sequences).at[uint(sequence) * p.sequence_words + WEFT_SEQUENCE_LAST_TOKEN] = token;
}

void write_padding(Words chosen, Words top) {
    if (gl_LocalInvocationID.x == 0u) {
        chosen.at[0] = -1;
        chosen.at[1] = 0;
    }
    for (uint i = gl_LocalInvocationID.x; i < p.n_top; i += WIDTH) {
        top.at[2u * i] = -1;
        top.at[2u * i + 1u] = 0;
    }
}

void main() {
    LEAVE_IF_STOPPED();
    uint column = gl_WorkGroupID.x;
    Words chosen = Words(address_of(p.chosen, p.first_column + column, 8u));
    Words top = Words(address_of(p.top, p.first_column + column, p.n_top * 8u));
    if (is_padding(column)) {
        write_padding(chosen, top);
        return;
    }
    float largest = column_largest(column);
    vec2 sum = sum_ranges(column, 1u), log_sum = sum.x == 0.0 ? vec2(-INFINITY, 0.0) : pair_log(sum);
    bool draws = temperature_of(column) != 0.0;
    vec2 all = draws ? sum_ranges(column, 2u) : vec2(0.0);
    uint token = has_target(column) || draws ? 0u : first_of_order(column, largest);
    if (gl_LocalInvocationID.x == 0u) {
        if (has_target(column))
            token = uint(head_word(column, WEFT_HEAD_TARGET));
        else if (draws)
            token = draw(column, largest, all);
        chosen.at[0] = int(token);
        chosen.at[1] = log_probability(column, token, largest, log_sum);
        keep_token(column, int(token));
    }
    for (uint i = gl_LocalInvocationID.x; i < p.n_top; i += WIDTH) {
        top.at[2u * i] = int(order_at(column, i));
        top.at[2u * i + 1u] = log_probability(column, order_at(column, i), largest, log_sum);
    }
}
