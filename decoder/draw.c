/* The choice of a token on the host: the definition of the op `sample` (weft/ops/sample.h, docs/numerics.md), in its order of
 * operations, so that the host and a device in `exact` choose the same token. */
#include <math.h>

#include "decoder/sampler.h"
#include "weft/ops/math.h"
#include "weft/ops/sample.h"

#define LANES 32
/* Logits this many temperatures below the largest are put in order only when a draw comes to them. */
#define NEAR 12.0f

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

/* ---- Sums of exponentials ---- */

static inline float tempered(float x, float max, float temperature) {
    float difference = x == max ? 0.0f : x - max;
    float e = weft_exp(difference / temperature);
    return x > -INFINITY || x == max ? e : 0.0f;
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

/* The first n_near tokens of the order are those with logits from `bound` on. Where they do not suffice, the others follow. Each
 * part is a heap of the keys not taken yet, and behind it, from its end on downwards, those taken. */
typedef struct token_order {
    const float *x;
    float bound;
    uint64_t *keys;
    int32_t n, n_near, n_taken, n_left; /* n_left: in the heap */
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

/* Makes a heap of one of the two parts, at `keys`. */
static void open_part(token_order *order, bool near, uint64_t *keys) {
    int32_t n = 0;
    for (int32_t i = 0; i < order->n; i++)
        if ((order->x[i] >= order->bound) == near) keys[n++] = key_of(order->x[i], (uint32_t)i);
    order->n_left = n;
    if (near) order->n_near = n;
    for (int32_t i = n / 2 - 1; i >= 0; i--) sift_down(keys, n, i);
}

/* Token `i` of the order, i below n. */
static int32_t order_at(token_order *order, int32_t i) {
    for (; order->n_taken <= i; order->n_taken++) {
        uint64_t *heap = order->n_taken < order->n_near ? order->keys : order->keys + order->n_near;
        if (order->n_left == 0) open_part(order, false, heap);
        uint64_t key = heap[0];
        heap[0] = heap[--order->n_left];
        if (order->n_left > 1) sift_down(heap, order->n_left, 0);
        heap[order->n_left] = key;
    }
    uint64_t key = i < order->n_near ? order->keys[order->n_near - 1 - i] : order->keys[order->n - 1 - (i - order->n_near)];
    return (int32_t)(UINT32_MAX - (uint32_t)key);
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
    float max = largest(logits, n);
    if (!(options->temperature > 0.0f)) {
        for (int32_t i = 0; i < n && max > -INFINITY; i++)
            if (logits[i] == max) return i;
        return 0;
    }
    token_order order = {.x = logits, .n = n, .keys = keys, .bound = max - NEAR * options->temperature};
    open_part(&order, true, keys);
    return draw(options, &order, max, random);
}
