/* A thousand steps twice give the same bits: greedy and drawn sequences that come one after the other into the same steps. */
#include "device_support.h"
#include "engine_support.h"

#define N_STEPS 1000
#define MAX_ANSWERS 256

static weft_runtime *runtime;
static weft_model *model;

static question make_question(uint32_t i) {
    static const question kinds[] = {
        {.temperature = 0},
        {.temperature = 0.8f, .top_k = 40},
        {.temperature = 1.5f, .top_p = 0.9f},
        {.temperature = 1.0f, .min_p = 0.02f},
    };
    question q = kinds[i % (sizeof kinds / sizeof *kinds)];
    q.seed = 900 + i;
    q.n_prompt = 1 + (int32_t)(i * 29 % 40);
    q.n_predict = 30 + (int32_t)(i * 13 % 50);
    return q;
}

/* Stores the answers in the order in which they began, and returns their number. */
static size_t run(weft_precision precision, int32_t n_together, uint64_t n_steps, answer *answers) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_options options = {.device = device_name,
                                   .precision = precision,
                                   .n_ctx = 128,
                                   .n_sequences = n_together,
                                   .page_size = 16,
                                   .max_top = N_TOP,
                                   .max_step_ms = 60000}; /* the same steps each time */
    CHECK(weft_engine_create(model, &options, &engine, &error));
    answer *chairs[8] = {NULL};
    size_t n = 0;
    while (engine->n_steps < n_steps) {
        for (int32_t i = 0; i < n_together; i++) {
            if (chairs[i] == NULL || chairs[i]->session == NULL) {
                assert_true(n < MAX_ANSWERS);
                question q = make_question((uint32_t)n);
                chairs[i] = &answers[n++];
                begin_answer(engine, &q, chairs[i]);
            }
            go_on_answer(chairs[i]);
        }
    }
    assert_true(engine->n_steps >= n_steps);
    for (int32_t i = 0; i < n_together; i++) {
        weft_session_destroy(chairs[i]->session);
        chairs[i]->session = NULL;
    }
    weft_engine_destroy(engine);
    return n;
}

static void twice_is_the_same(weft_precision precision, uint64_t n_steps) {
    answer *first = calloc(2 * MAX_ANSWERS, sizeof *first), *second = first + MAX_ANSWERS;
    assert_non_null(first);
    int32_t n_together = device_slow ? 1 : 4;
    size_t n = run(precision, n_together, n_steps, first), n_tokens = 0;
    assert_int_equal(run(precision, n_together, n_steps, second), n);
    for (size_t i = 0; i < n; i++) {
        assert_same_answer(&first[i], &second[i]);
        n_tokens += (size_t)first[i].n;
    }
    assert_true(n_tokens > n_steps / 2);
    print_message("%zu sequences, %zu tokens, twice\n", n, n_tokens);
    free(first);
}

static void exact_is_the_same(void **state) {
    (void)state;
    twice_is_the_same(WEFT_EXACT, N_STEPS);
}

static void fast_is_the_same(void **state) {
    (void)state;
    twice_is_the_same(WEFT_FAST, device_slow ? N_STEPS / 4 : N_STEPS);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, "tiny-qwen2", "Q4_K_M", device_path("device_repeat"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path("device_repeat"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {cmocka_unit_test(exact_is_the_same), cmocka_unit_test(fast_is_the_same)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
