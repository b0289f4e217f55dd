/* Sampling. Sums go over ranges of a fixed number of logits: in lanes inside a range, and over the ranges in ascending order in
 * double. Buckets of logits order the tokens, and a heap orders those of a bucket. Only as many tokens are sorted as are asked for.
 */
#include "backends/cpu/sampler.h"

#include <math.h>
#include <string.h>

#include "weft/ops/math.h"
#include "weft/ops/sample.h"

/* The range of the buckets below the largest logit. At temperatures up to 1, tokens below it have no noticeable probability; they
 * share the last bucket. */
#define N_BUCKETS 2048
#define BUCKETS_A_LOGIT 64.0f

void weft_cpu_sampler_init(weft_cpu_sampler *sampler, const weft_cpu_call *call, const weft_place *heads,
                           const weft_place *sequences, int64_t n_vocab, int64_t n_top, int64_t first, int64_t n_columns,
                           weft_cpu_scratch *scratch) {
    const weft_place *chosen = &call->phase->outputs[WEFT_SAMPLE_OUT_CHOSEN], *top = &call->phase->outputs[WEFT_SAMPLE_OUT_TOP];
    *sampler = (weft_cpu_sampler){
        .device = call->device,
        .sequences = weft_cpu_data(sequences),
        .sequence_words = sequences->tensor.shape[0],
        .n_sequences = sequences->tensor.shape[1],
        .n_vocab = n_vocab,
        .n_columns = n_columns,
        .n_top = n_top,
        .n_ranges = (n_vocab + WEFT_SAMPLE_RANGE - 1) / WEFT_SAMPLE_RANGE,
    };
    uint64_t bytes = (uint64_t)(sampler->n_ranges * n_columns) * sizeof(float);
    sampler->largest = weft_cpu_take(scratch, bytes);
    sampler->sums = weft_cpu_take(scratch, bytes);
    sampler->tempered = weft_cpu_take(scratch, bytes);
    sampler->orders = weft_cpu_take(scratch, (uint64_t)n_vocab * sizeof(uint64_t) * call->device->n_threads);
    if (scratch->base == NULL) return;
    sampler->heads = (const int32_t *)weft_cpu_data(heads) + first * WEFT_HEAD_WORDS;
    sampler->chosen = (int32_t *)weft_cpu_data(chosen) + first * 2;
    sampler->top = n_top == 0 ? NULL : (int32_t *)weft_cpu_data(top) + first * n_top * 2;
}

static const int32_t *head_of(const weft_cpu_sampler *s, int64_t column) {
    return s->heads + column * WEFT_HEAD_WORDS;
}

static bool is_padding(const weft_cpu_sampler *s, int64_t column) {
    return head_of(s, column)[WEFT_HEAD_ROW] < 0;
}

static bool has_target(const weft_cpu_sampler *s, const int32_t *head) {
    return head[WEFT_HEAD_TARGET] >= 0 && head[WEFT_HEAD_TARGET] < s->n_vocab;
}

/* The temperature of a column that draws its token; 0 for other columns. */
static float temperature_of(const weft_cpu_sampler *s, const int32_t *head) {
    float temperature = weft_bits_to_real(head[WEFT_HEAD_TEMPERATURE]);
    return temperature > 0.0f && !has_target(s, head) ? temperature : 0.0f;
}

static float column_largest(const weft_cpu_sampler *s, int64_t column) {
    float max = -INFINITY;
    for (int64_t i = 0; i < s->n_ranges; i++) max = fmaxf(max, s->largest[column * s->n_ranges + i]);
    return max;
}

static void largest_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const weft_cpu_sampler *s = user;
    int64_t column = chunk / s->n_ranges, first = chunk % s->n_ranges * WEFT_SAMPLE_RANGE;
    if (is_padding(s, column)) return;
    const float *x = s->logits + column * s->n_vocab + first;
    s->largest[chunk] = s->device->exact->largest(x, weft_cpu_min(WEFT_SAMPLE_RANGE, s->n_vocab - first));
}

static void sum_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const weft_cpu_sampler *s = user;
    int64_t column = chunk / s->n_ranges, first = chunk % s->n_ranges * WEFT_SAMPLE_RANGE;
    if (is_padding(s, column)) return;
    const float *x = s->logits + column * s->n_vocab + first;
    int64_t n = weft_cpu_min(WEFT_SAMPLE_RANGE, s->n_vocab - first);
    float max = column_largest(s, column), temperature = temperature_of(s, head_of(s, column));
    s->sums[chunk] = s->device->exact->tempered_sum(x, n, max, 1.0f);
    if (temperature != 0.0f) s->tempered[chunk] = s->device->exact->tempered_sum(x, n, max, temperature);
}

static double sum_ranges(const weft_cpu_sampler *s, const float *sums, int64_t column) {
    double sum = 0.0;
    for (int64_t i = 0; i < s->n_ranges; i++) sum += (double)sums[column * s->n_ranges + i];
    return sum;
}

/* A key whose order is the definition's order of tokens: by logit, and on a tie the lower id has the larger key. */
static uint64_t key_of(float x, uint32_t id) {
    if (!(x > -INFINITY)) x = -INFINITY;
    if (x == 0.0f) x = 0.0f; /* -0 is 0 */
    uint32_t bits = (uint32_t)weft_real_to_bits(x);
    bits = bits >> 31 != 0 ? ~bits : bits | UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | (UINT32_MAX - id);
}

static int32_t id_of(uint64_t key) {
    return (int32_t)(UINT32_MAX - (uint32_t)key);
}

/* The tokens of a column in order, sorted as far as asked for. Buckets of logits stand in `keys` with the first of the order last;
 * in the one that is being taken there is a heap of the keys not yet taken, and behind it, from the end on downwards, those taken.
 */
typedef struct token_order {
    uint64_t *keys;
    uint32_t begins[N_BUCKETS];
    int64_t n, n_taken, n_left; /* n_left: in the heap */
    uint32_t bucket, n_opened;
} token_order;

/* Logits that are not less come no later, and equal ones together. */
static uint32_t bucket_of(float x, float max) {
    if (!(x > -INFINITY)) x = -INFINITY;
    float distance = x == max ? 0.0f : (max - x) * BUCKETS_A_LOGIT;
    return distance < (float)(N_BUCKETS - 1) ? (uint32_t)distance : N_BUCKETS - 1;
}

static void sift_down(uint64_t *heap, int64_t n, int64_t at) {
    uint64_t key = heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= key) break;
        heap[at] = heap[child];
    }
    heap[at] = key;
}

static void order_begin(token_order *order, const float *x, float max, int64_t n) {
    uint32_t places[N_BUCKETS] = {0}; /* first how many there are, then where the next goes */
    uint32_t end = (uint32_t)n;
    for (int64_t i = 0; i < n; i++) places[bucket_of(x[i], max)]++;
    for (size_t i = 0; i < N_BUCKETS; i++) order->begins[i] = places[i] = end -= places[i];
    for (int64_t i = 0; i < n; i++) order->keys[places[bucket_of(x[i], max)]++] = key_of(x[i], (uint32_t)i);
    order->n = n;
    order->n_taken = order->n_left = order->n_opened = 0;
}

/* Makes the next bucket that is not empty a heap. */
static void open_bucket(token_order *order) {
    while (order->n_left == 0) {
        order->bucket = order->n_opened++;
        order->n_left = order->n - order->n_taken - order->begins[order->bucket];
    }
    uint64_t *heap = order->keys + order->begins[order->bucket];
    for (int64_t i = order->n_left / 2 - 1; i >= 0; i--) sift_down(heap, order->n_left, i);
}

/* Token `i` of the order, i below n. */
static int32_t order_at(token_order *order, int64_t i) {
    for (; order->n_taken <= i; order->n_taken++) {
        if (order->n_left == 0) open_bucket(order);
        uint64_t *heap = order->keys + order->begins[order->bucket];
        uint64_t key = heap[0];
        heap[0] = heap[--order->n_left];
        if (order->n_left > 1) sift_down(heap, order->n_left, 0);
        heap[order->n_left] = key;
    }
    return id_of(order->keys[order->n - 1 - i]);
}

static int32_t first_of_order(const weft_cpu_sampler *s, const float *x, float max) {
    if (max == -INFINITY) return 0;
    for (int64_t i = 0; i < s->n_vocab; i++)
        if (x[i] == max) return (int32_t)i;
    return 0;
}

typedef struct draw_limits {
    int64_t top_k;
    double top_p, min_p; /* as sums of exponentials relative to the first token's */
} draw_limits;

static draw_limits limits_of(const weft_cpu_sampler *s, const int32_t *head, double all) {
    int32_t top_k = head[WEFT_HEAD_TOP_K];
    float top_p = weft_bits_to_real(head[WEFT_HEAD_TOP_P]), min_p = weft_bits_to_real(head[WEFT_HEAD_MIN_P]);
    return (draw_limits){
        .top_k = top_k > 0 && top_k < s->n_vocab ? top_k : s->n_vocab,
        .top_p = top_p > 0.0f && top_p < 1.0f ? (double)top_p * all : INFINITY,
        .min_p = min_p > 0.0f ? (double)min_p : 0.0,
    };
}

static float exponential(float x, float max, float temperature) {
    if (x == max) return 1.0f;
    return x > -INFINITY ? weft_exp((x - max) / temperature) : 0.0f;
}

/* The sum of all tokens that the limits keep; without limits, of all tokens. */
static double sum_left(const float *x, float max, float temperature, draw_limits limits, double all, token_order *order) {
    if (limits.top_k == order->n && limits.top_p == (double)INFINITY && limits.min_p == 0.0) return all;
    double sum = 0.0;
    for (int64_t i = 0; i < limits.top_k && sum < limits.top_p; i++) {
        double e = (double)exponential(x[order_at(order, i)], max, temperature);
        if (i > 0 && e < limits.min_p) break;
        sum += e;
    }
    return sum;
}

static int32_t draw(const weft_cpu_sampler *s, int64_t column, const float *x, float max, token_order *order) {
    const int32_t *head = head_of(s, column);
    float temperature = temperature_of(s, head);
    double all = sum_ranges(s, s->tempered, column);
    draw_limits limits = limits_of(s, head, all);
    double left = sum_left(x, max, temperature, limits, all, order);
    double u = (double)((uint32_t)head[WEFT_HEAD_RANDOM] >> 8) / 16777216.0, sum = 0.0;
    int32_t token = order_at(order, 0);
    for (int64_t i = 0; i < limits.top_k; i++) {
        int32_t next = order_at(order, i);
        double e = (double)exponential(x[next], max, temperature);
        if (i > 0 && (e == 0.0 || e < limits.min_p)) break;
        token = next;
        sum += e;
        if (sum >= u * left || sum >= limits.top_p) break;
    }
    return token;
}

/* Log-probability of a token as bits of a float. */
static int32_t log_probability(float x, float max, double log_sum) {
    if (!(x > -INFINITY)) x = -INFINITY;
    double difference = x == max ? 0.0 : (double)x - (double)max;
    return weft_real_to_bits((float)(difference - log_sum));
}

static void choose_chunk(void *user, int64_t column, uint32_t thread) {
    const weft_cpu_sampler *s = user;
    int32_t *chosen = s->chosen + column * 2, *top = s->top == NULL ? NULL : s->top + column * s->n_top * 2;
    if (is_padding(s, column)) {
        chosen[0] = -1;
        chosen[1] = 0;
        for (int64_t i = 0; i < s->n_top; i++) memcpy(top + 2 * i, (int32_t[]){-1, 0}, 2 * sizeof *top);
        return;
    }
    const int32_t *head = head_of(s, column);
    const float *x = s->logits + column * s->n_vocab;
    float max = column_largest(s, column);
    double log_sum = log(sum_ranges(s, s->sums, column));
    float temperature = temperature_of(s, head);
    token_order order;
    order.keys = s->orders + (int64_t)thread * s->n_vocab;
    if (temperature != 0.0f || s->n_top > 0) order_begin(&order, x, max, s->n_vocab);
    if (has_target(s, head))
        chosen[0] = head[WEFT_HEAD_TARGET];
    else if (temperature == 0.0f)
        chosen[0] = first_of_order(s, x, max);
    else
        chosen[0] = draw(s, column, x, max, &order);
    chosen[1] = log_probability(x[chosen[0]], max, log_sum);
    for (int64_t i = 0; i < s->n_top; i++) {
        top[2 * i] = order_at(&order, i);
        top[2 * i + 1] = log_probability(x[top[2 * i]], max, log_sum);
    }
}

void weft_cpu_sampler_run(const weft_cpu_sampler *sampler) {
    weft_cpu_pool *pool = sampler->device->pool;
    weft_cpu_parallel(pool, largest_chunk, (void *)(uintptr_t)sampler, sampler->n_columns * sampler->n_ranges);
    weft_cpu_parallel(pool, sum_chunk, (void *)(uintptr_t)sampler, sampler->n_columns * sampler->n_ranges);
    weft_cpu_parallel(pool, choose_chunk, (void *)(uintptr_t)sampler, sampler->n_columns);
    if (weft_cpu_pool_stopped(pool)) return;
    for (int64_t column = 0; column < sampler->n_columns; column++) {
        int32_t sequence = head_of(sampler, column)[WEFT_HEAD_SEQUENCE];
        if (is_padding(sampler, column) || sequence < 0 || sequence >= sampler->n_sequences) continue;
        sampler->sequences[sequence * sampler->sequence_words + WEFT_SEQUENCE_LAST_TOKEN] = sampler->chosen[column * 2];
    }
}
