/* Penalties and DRY against their formulas, which are written here anew, in double precision. */
#include "engine_support.h"

#include <math.h>

#define PATH "test_penalties.tmp"
#define N_SEEDS 200

static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine;
static weft_error error;

static weft_sampler *create(const weft_sampling_options *options) {
    weft_sampler *sampler = NULL;
    CHECK(weft_sampler_create(engine, options, 128, &sampler, &error));
    return sampler;
}

enum { MAX_TOKENS = 96 };

typedef struct text {
    uint32_t random;
    int32_t n;
    weft_token tokens[MAX_TOKENS];
    float *logits; /* of the vocabulary */
} text;

/* Few different tokens, so that they repeat. */
static void make_text(text *t, uint32_t seed) {
    *t = (text){.random = seed};
    int32_t n_kinds = 1 + (int32_t)(next_random(&t->random) % 8), n_vocab = model->hyper.n_vocab;
    t->n = 1 + (int32_t)(next_random(&t->random) % MAX_TOKENS);
    for (int32_t i = 0; i < t->n; i++) t->tokens[i] = (weft_token)(next_random(&t->random) % (uint32_t)n_kinds) * 3;
    t->logits = malloc((size_t)n_vocab * sizeof *t->logits);
    assert_non_null(t->logits);
    for (int32_t i = 0; i < n_vocab; i++) t->logits[i] = (float)(next_random(&t->random) % 2000) / 100.0f - 10.0f;
}

static float real_below(uint32_t *random, float max) {
    return (float)(next_random(random) % 1000) / 1000.0f * max;
}

static void assert_near(double expected, float got, uint32_t seed, weft_token token) {
    if (fabs(expected - (double)got) > 1e-5 * (1.0 + fabs(expected)))
        fail_msg("seed %u, token %d: %.9g, expected %.9g", seed, (int)token, (double)got, expected);
}

static void penalties_follow_their_formulas(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= N_SEEDS; seed++) {
        text t;
        make_text(&t, seed);
        weft_sampling_options options = {.repeat_penalty = 0.5f + real_below(&t.random, 2.0f),
                                         .frequency_penalty = real_below(&t.random, 2.0f) - 1.0f,
                                         .presence_penalty = real_below(&t.random, 2.0f) - 1.0f,
                                         .penalty_window = (int32_t)(next_random(&t.random) % 20) - 1};
        weft_sampler *sampler = create(&options);
        double *expected = calloc((size_t)model->hyper.n_vocab, sizeof *expected);
        assert_non_null(expected);
        int32_t window = options.penalty_window == 0 ? 64 : options.penalty_window < 0 ? t.n : options.penalty_window;
        for (int32_t token = 0; token < model->hyper.n_vocab; token++) {
            double x = (double)t.logits[token], r = (double)options.repeat_penalty;
            int count = 0;
            for (int32_t i = t.n > window ? t.n - window : 0; i < t.n; i++) count += t.tokens[i] == token;
            if (count > 0)
                x = (x > 0 ? x / r : x * r) - count * (double)options.frequency_penalty - (double)options.presence_penalty;
            expected[token] = x;
        }
        /* The scratch is clean again after each use. */
        for (int pass = 0; pass < 2; pass++) {
            float *logits = malloc((size_t)model->hyper.n_vocab * sizeof *logits);
            assert_non_null(logits);
            memcpy(logits, t.logits, (size_t)model->hyper.n_vocab * sizeof *logits);
            weft_penalise(sampler, t.tokens, t.n, logits);
            for (int32_t i = 0; i < model->hyper.n_vocab; i++) assert_near(expected[i], logits[i], seed, i);
            free(logits);
        }
        free(expected);
        free(t.logits);
        weft_sampler_destroy(sampler);
    }
}

static bool breaks(weft_token token, const char *breaker) {
    weft_text bytes = weft_tokenizer_bytes(model->tokenizer, token);
    for (size_t i = 0; i + strlen(breaker) <= bytes.size; i++)
        if (memcmp(bytes.bytes + i, breaker, strlen(breaker)) == 0) return true;
    return false;
}

/* The longest repetition that the token would continue, by comparing at every place. */
static int32_t longest_repetition(const text *t, int32_t first, weft_token token, const char *breaker) {
    int32_t longest = 0;
    for (int32_t i = first; i + 1 < t->n; i++) {
        int32_t n = 0;
        if (t->tokens[i + 1] != token) continue;
        while (i - n >= first && t->tokens[i - n] == t->tokens[t->n - 1 - n] && !breaks(t->tokens[i - n], breaker)) n++;
        if (n > longest) longest = n;
    }
    return longest;
}

static void dry_follows_its_formula(void **state) {
    (void)state;
    int n_penalised = 0, n_broken = 0;
    for (uint32_t seed = 1; seed <= N_SEEDS; seed++) {
        text t;
        make_text(&t, seed);
        weft_text bytes = weft_tokenizer_bytes(model->tokenizer, t.tokens[0]);
        char breaker[64] = "no such text";
        if (seed % 3 == 0 && bytes.size > 0 && bytes.size < sizeof breaker)
            memcpy(breaker, bytes.bytes, bytes.size), breaker[bytes.size] = 0;
        if (breaker[0] == 0) strcpy(breaker, "no such text");
        const char *const breakers[] = {breaker};
        weft_sampling_options options = {.dry_multiplier = 0.1f + real_below(&t.random, 2.0f),
                                         .dry_base = seed % 2 ? 0.0f : 1.0f + real_below(&t.random, 1.0f),
                                         .dry_allowed_length = (int32_t)(next_random(&t.random) % 5),
                                         .dry_window = (int32_t)(next_random(&t.random) % 3 * 20),
                                         .dry_breakers = breakers,
                                         .n_dry_breakers = 1};
        weft_sampler *sampler = create(&options);
        float *logits = malloc((size_t)model->hyper.n_vocab * sizeof *logits);
        assert_non_null(logits);
        double base = options.dry_base == 0.0f ? 1.75 : (double)options.dry_base;
        int32_t allowed = options.dry_allowed_length == 0 ? 2 : options.dry_allowed_length;
        int32_t first = options.dry_window > 0 && options.dry_window < t.n ? t.n - options.dry_window : 0;
        for (int pass = 0; pass < 2; pass++) {
            memcpy(logits, t.logits, (size_t)model->hyper.n_vocab * sizeof *logits);
            weft_penalise(sampler, t.tokens, t.n, logits);
            for (int32_t token = 0; token < model->hyper.n_vocab; token++) {
                double x = (double)t.logits[token];
                int32_t n = longest_repetition(&t, first, token, breaker);
                n_broken += n >= allowed && breaks(token, breaker);
                if (n >= allowed && !breaks(token, breaker)) {
                    x -= (double)options.dry_multiplier * pow(base, n - allowed);
                    n_penalised++;
                }
                assert_near(x, logits[token], seed, token);
            }
        }
        free(logits);
        free(t.logits);
        weft_sampler_destroy(sampler);
    }
    print_message("%d penalties, %d of breakers left out\n", n_penalised, n_broken);
    assert_true(n_penalised > 100 && n_broken > 0);
}

static int setup(void **state) {
    (void)state;
    begin_tiny(&runtime, &model, PATH);
    engine = create_on_cpu(
        model, (weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 128, .n_sequences = 2, .max_top = 2, .logits = true}, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    return end_tiny(runtime, model, PATH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(penalties_follow_their_formulas),
        cmocka_unit_test(dry_follows_its_formula),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
