/* The choice of a token on the host: the definition of the op `sample` (weft/ops/sample.h, docs/numerics.md), in its order of
 * operations, so that the host and a device in `exact` choose the same token. */
#include <math.h>

#include "decoder/sampler.h"
#include "weft/ops/math.h"
#include "weft/ops/sample.h"

#define LANES 32
#define MAX_GROUPS 1024
/* Tokens that are put in order at first. */
#define FIRST_PART 64

/* The largest logit of each group of neighbours. */
typedef struct groups {
    float max[MAX_GROUPS];
    int32_t n, size;
} groups;

/* In lanes, which the compiler computes together. */
static float largest(const float *x, int32_t n) {
    float lanes[LANES], max = -INFINITY;
    for (int32_t l = 0; l < LANES; l++) lanes[l] = -INFINITY;
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int32_t l = 0; l < LANES; l++) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (; i < n; i++) max = x[i] > max ? x[i] : max;
    for (int32_t l = 0; l < LANES; l++) max = lanes[l] > max ? lanes[l] : max;
    return max;
}

static void find_groups(const float *x, int32_t n, groups *g) {
    g->size = (n + LANES * MAX_GROUPS - 1) / (LANES * MAX_GROUPS) * LANES;
    g->n = (n + g->size - 1) / g->size;
    for (int32_t i = 0; i < g->n; i++) {
        const int32_t first = i * g->size;
        g->max[i] = largest(x + first, n - first < g->size ? n - first : g->size);
    }
}

/* ---- Sums of exponentials ---- */

/* weft_exp for -87 <= x <= 0, to the bit, in fewer operations. Smaller ones, and NaN, are taken for -87: beside the largest logit's
 * 1 a sum does not show the difference. */
static inline float exp_below(float x) {
    float clamped = x > -87.0f ? x : -87.0f;
    float shifted = clamped * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = weft_real_to_bits(shifted) - weft_real_to_bits(12582912.0f);
    return p * weft_bits_to_real((bits + 127) << 23);
}

static inline float tempered(float x, float max, float temperature) {
    float difference = x == max ? 0.0f : x - max;
    return exp_below(difference / temperature);
}

static float range_sum(const float *x, int32_t n, float max, float temperature) {
    float lanes[LANES] = {0}, e[LANES];
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int32_t l = 0; l < LANES; l++) e[l] = tempered(x[i + l], max, temperature);
        for (int32_t l = 0; l < LANES; l++) lanes[l] += e[l];
    }
    for (int32_t l = 0; i + l < n; l++) lanes[l] += tempered(x[i + l], max, temperature);
    for (int32_t half = LANES / 2; half > 0; half /= 2)
        for (int32_t l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

static double sum_all(const float *x, int32_t n, float max, float temperature) {
    double sum = 0.0;
    for (int32_t i = 0; i < n; i += WEFT_SAMPLE_RANGE)
        sum += (double)range_sum(x + i, n - i < WEFT_SAMPLE_RANGE ? n - i : WEFT_SAMPLE_RANGE, max, temperature);
    return sum;
}

float weft_draw_logprob(const float *logits, int32_t n, weft_token token) {
    float max = largest(logits, n), x = logits[token] > -INFINITY ? logits[token] : -INFINITY;
    double difference = x == max ? 0.0 : (double)x - (double)max;
    return (float)(difference - log(sum_all(logits, n, max, 1.0f)));
}

/* ---- The order of tokens ---- */

/* The order is made in parts, of falling logits: few tokens come to be looked at, so the first parts are small. A part is a heap of
 * its keys that are not taken yet, and behind it, from its end on downwards, those taken. Once all are taken they are put in order.
 */
typedef struct token_order {
    const float *x;
    const groups *groups;
    uint64_t *keys;
    int32_t n, n_parts;
    float bound;        /* of the last part: its tokens have logits from here on */
    int32_t first, end; /* the last part's keys */
    int32_t n_left;     /* in its heap */
} token_order;

/* Ordered by logit; on a tie the lower id has the larger key. */
static uint64_t key_of(float x, uint32_t id) {
    if (!(x > -INFINITY)) x = -INFINITY;
    if (x == 0.0f) x = 0.0f; /* -0 is 0 */
    uint32_t bits = (uint32_t)weft_real_to_bits(x);
    bits = bits >> 31 != 0 ? ~bits : bits | UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | (UINT32_MAX - id);
}

static void sift_down(uint64_t *heap, int32_t n, int32_t at) {
    uint64_t key = heap[at];
    for (int32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= key) break;
        heap[at] = heap[child];
    }
    heap[at] = key;
}

static void make_heap(uint64_t *keys, int32_t n) {
    for (int32_t i = n / 2 - 1; i >= 0; i--) sift_down(keys, n, i);
}

/* Returns the largest, whose place behind the heap is then free. */
static uint64_t take(uint64_t *heap, int32_t *n) {
    uint64_t key = heap[0];
    heap[0] = heap[--*n];
    if (*n > 1) sift_down(heap, *n, 0);
    return key;
}

static int32_t id_of(uint64_t key) {
    return (int32_t)(UINT32_MAX - (uint32_t)key);
}

/* At least `count` tokens, or one of each group, have logits from here on. */
static float bound_of(const groups *g, int32_t count) {
    uint64_t heap[MAX_GROUPS];
    int32_t n = 0;
    do heap[n] = key_of(g->max[n], (uint32_t)n);
    while (++n < g->n);
    make_heap(heap, n);
    while (count-- > 1 && n > 1) take(heap, &n);
    return g->max[id_of(heap[0])];
}

/* `bound` is -INFINITY: all that are left. */
static void open_part(token_order *order, float bound) {
    const groups *g = order->groups;
    const float before = order->n_parts++ > 0 ? order->bound : NAN;
    const bool is_last = bound == -INFINITY;
    uint64_t *keys = order->keys + order->end;
    int32_t n = 0;
    for (int32_t i = 0; i < g->n; i++) {
        if (!is_last && g->max[i] < bound) continue;
        const int32_t end = (i + 1) * g->size < order->n ? (i + 1) * g->size : order->n;
        for (int32_t k = i * g->size; k < end; k++)
            if ((order->x[k] >= bound || is_last) && !(order->x[k] >= before)) keys[n++] = key_of(order->x[k], (uint32_t)k);
    }
    make_heap(keys, n);
    order->bound = bound;
    order->first = order->end;
    order->end += n;
    order->n_left = n;
}

/* All of the last part is taken. */
static void open_next(token_order *order) {
    for (int32_t i = order->first, k = order->end - 1; i < k; i++, k--) {
        uint64_t key = order->keys[i];
        order->keys[i] = order->keys[k];
        order->keys[k] = key;
    }
    /* Nearly as many tokens as there are groups, and then all. */
    const float bound = order->n_parts == 1 ? bound_of(order->groups, order->groups->n * 3 / 4) : -INFINITY;
    open_part(order, bound < order->bound ? bound : -INFINITY);
}

/* Token `i` of the order: below n, and at most the one after the last that was asked for. */
static int32_t order_at(token_order *order, int32_t i) {
    if (i == order->end) open_next(order);
    uint64_t *heap = order->keys + order->first;
    if (i >= order->end - order->n_left) {
        uint64_t key = take(heap, &order->n_left);
        heap[order->n_left] = key;
    }
    return id_of(order->keys[i < order->first ? i : order->end - 1 - (i - order->first)]);
}

/* ---- The choice ---- */

typedef struct draw_limits {
    int32_t top_k;
    double top_p, min_p; /* as sums of exponentials relative to the first token's */
    double left;         /* the sum of all tokens that the limits keep */
} draw_limits;

static double exponential(const token_order *order, int32_t token, float max, float temperature) {
    float x = order->x[token];
    if (x == max) return 1.0;
    return x > -INFINITY ? (double)weft_exp((x - max) / temperature) : 0.0;
}

static draw_limits find_limits(const weft_sampling_options *options, token_order *order, float max) {
    const float temperature = options->temperature;
    bool has_k = options->top_k > 0 && options->top_k<order->n, has_p = options->top_p> 0.0f && options->top_p < 1.0f;
    bool is_limited = has_k || has_p || options->min_p > 0.0f;
    double all = has_p || !is_limited ? sum_all(order->x, order->n, max, temperature) : 0.0;
    draw_limits limits = {.top_k = has_k ? options->top_k : order->n,
                          .top_p = has_p ? (double)options->top_p * all : (double)INFINITY,
                          .min_p = (double)options->min_p,
                          .left = is_limited ? 0.0 : all};
    for (int32_t i = 0; is_limited && i < limits.top_k && limits.left < limits.top_p; i++) {
        double e = exponential(order, order_at(order, i), max, temperature);
        if (i > 0 && e < limits.min_p) break;
        limits.left += e;
    }
    return limits;
}

static weft_token draw(const weft_sampling_options *options, token_order *order, float max, uint32_t random) {
    draw_limits limits = find_limits(options, order, max);
    double u = (double)(random >> 8) / 16777216.0, sum = 0.0;
    int32_t token = order_at(order, 0);
    for (int32_t i = 0; i < limits.top_k; i++) {
        int32_t next = order_at(order, i);
        double e = exponential(order, next, max, options->temperature);
        if (i > 0 && (e == 0.0 || e < limits.min_p)) break;
        token = next;
        sum += e;
        if (sum >= u * limits.left || sum >= limits.top_p) break;
    }
    return token;
}

weft_token weft_draw(const weft_sampling_options *options, const float *logits, int32_t n, uint32_t random, uint64_t *keys) {
    if (!(options->temperature > 0.0f)) {
        const float max = largest(logits, n);
        for (int32_t i = 0; i < n && max > -INFINITY; i++)
            if (logits[i] == max) return i;
        return 0;
    }
    groups g;
    find_groups(logits, n, &g);
    token_order order = {.x = logits, .groups = &g, .keys = keys, .n = n};
    open_part(&order, bound_of(&g, options->top_k > 0 && options->top_k < FIRST_PART ? options->top_k : FIRST_PART));
    return draw(options, &order, largest(g.max, g.n), random);
}
