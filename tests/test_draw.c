/* The host's choice of a token, which looks at as few tokens as it can, against the definition (weft/ops/sample.h): all tokens in
 * order, and sums in the order of docs/numerics.md. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decoder/sampler.h"
#include "random_numbers.h"
#include "weft/ops/math.h"
#include "weft/ops/sample.h"

enum { MAX_VOCAB = 70000, LANES = 32 };

typedef struct ranked {
    float x;
    int32_t id;
} ranked;

static float logits[MAX_VOCAB];
static ranked order[MAX_VOCAB];
static uint64_t keys[MAX_VOCAB];

static int by_rank(const void *a, const void *b) {
    const ranked *p = a, *q = b;
    if (p->x != q->x) return p->x > q->x ? -1 : 1;
    return p->id < q->id ? -1 : 1;
}

static double exponential(float x, float max, float temperature) {
    if (x == max) return 1;
    return x > -INFINITY ? weft_exp((x - max) / temperature) : 0;
}

static double sum_of_all(int32_t n, float max, float temperature) {
    double sum = 0;
    for (int32_t first = 0; first < n; first += WEFT_SAMPLE_RANGE) {
        float lanes[LANES] = {0};
        for (int32_t i = first; i < n && i < first + WEFT_SAMPLE_RANGE; i++)
            lanes[i % LANES] += (float)exponential(logits[i], max, temperature);
        for (int32_t half = LANES / 2; half > 0; half /= 2)
            for (int32_t l = 0; l < half; l++) lanes[l] += lanes[l + half];
        sum += lanes[0];
    }
    return sum;
}

static weft_token choose(const weft_sampling_options *o, int32_t n, uint32_t random) {
    for (int32_t i = 0; i < n; i++) order[i] = (ranked){logits[i] > -INFINITY ? logits[i] : -INFINITY, i};
    qsort(order, (size_t)n, sizeof *order, by_rank);
    if (!(o->temperature > 0)) return order[0].id;
    const float max = order[0].x;
    const double all = sum_of_all(n, max, o->temperature);
    const bool has_p = o->top_p > 0 && o->top_p < 1, is_limited = has_p || o->min_p > 0 || (o->top_k > 0 && o->top_k < n);
    const double top_p = has_p ? (double)o->top_p * all : (double)INFINITY;
    int32_t n_kept = 0;
    double kept = 0;
    while (n_kept < n && (o->top_k == 0 || n_kept < o->top_k) && kept < top_p) {
        double e = exponential(order[n_kept].x, max, o->temperature);
        if (n_kept > 0 && (e == 0 || e < (double)o->min_p)) break;
        kept += e;
        n_kept++;
    }
    const double u = (double)(random >> 8) / 16777216.0, end = u * (is_limited ? kept : all);
    double sum = 0;
    int32_t i = 0;
    do sum += exponential(order[i].x, max, o->temperature);
    while (sum < end && ++i < n_kept);
    return order[i < n_kept ? i : n_kept - 1].id;
}

/* Sums of four numbers are nearly normal; some are equal, zero, infinite or none. */
static void make_logits(int32_t n, uint32_t kind, uint32_t *random) {
    const float scale = (const float[]){4, 0.5f, 0.01f, 20}[kind % 4];
    for (int32_t i = 0; i < n; i++) {
        float x = 0;
        for (int k = 0; k < 4; k++) x += pseudo_random(random);
        logits[i] = scale * x;
        if (kind % 5 == 1) logits[i] = roundf(logits[i]);
        if (kind % 5 == 2 && next_random(random) % 8) logits[i] = -INFINITY;
        if (kind % 5 == 3 && next_random(random) % 50 == 0) logits[i] = (const float[]){NAN, -INFINITY, -0.0f, 0.0f}[i % 4];
        if (kind % 11 == 7) logits[i] = i % 3 ? NAN : -INFINITY;
        if (kind % 13 == 12) logits[i] = i % 2 ? 0.0f : -0.0f;
    }
    if (!(logits[n / 2] > -INFINITY)) logits[n / 2] = 1;
}

static void draws_are_as_defined(void **state) {
    (void)state;
    static const int32_t sizes[] = {1, 2, 31, 33, 512, 4097, 32769, MAX_VOCAB};
    uint32_t random = 20261128;
    print_message("seed %u\n", (unsigned)random);
    for (uint32_t kind = 0; kind < 220; kind++) {
        const int32_t n = sizes[kind % (kind < 24 ? 8 : 6)];
        make_logits(n, kind, &random);
        weft_sampling_options o = {.temperature = (const float[]){0.8f, 1, 3, 0, 0.01f}[next_random(&random) % 5]};
        if (next_random(&random) % 2) o.top_k = (const int32_t[]){1, 3, 40, 64, 100, 3000}[next_random(&random) % 6];
        if (next_random(&random) % 2) o.top_p = (const float[]){0.1f, 0.5f, 0.95f, 0.999f}[next_random(&random) % 4];
        if (next_random(&random) % 3 == 0) o.min_p = (const float[]){0.01f, 0.05f, 0.5f}[next_random(&random) % 3];
        for (int draw = 0; draw < 3; draw++) {
            const uint32_t bits = draw == 2 ? UINT32_MAX : next_random(&random) << 8;
            const weft_token token = weft_draw(&o, logits, n, bits, keys), expected = choose(&o, n, bits);
            if (token != expected)
                fail_msg("kind %u, %d logits, temperature %g, top_k %d, top_p %g, min_p %g: %d for %d", kind, (int)n,
                         (double)o.temperature, (int)o.top_k, (double)o.top_p, (double)o.min_p, (int)token, (int)expected);
        }
    }
}

/* The sums take exponentials by fewer operations than weft_exp. */
static void log_probabilities_are_as_defined(void **state) {
    (void)state;
    uint32_t random = 7;
    for (uint32_t kind = 0; kind < 30; kind++) {
        const int32_t n = 5000;
        make_logits(n, kind, &random);
        for (int32_t i = 0; i < n; i++) logits[i] = logits[i] > -INFINITY ? logits[i] * (kind > 20 ? 9 : 1) : -INFINITY;
        logits[17] = 3;
        float max = -INFINITY;
        for (int32_t i = 0; i < n; i++) max = logits[i] > max ? logits[i] : max;
        const float expected = (float)((double)logits[17] - (double)max - log(sum_of_all(n, max, 1)));
        const float logprob = weft_draw_logprob(logits, n, 17);
        assert_memory_equal(&logprob, &expected, sizeof expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_as_defined),
        cmocka_unit_test(log_probabilities_are_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
