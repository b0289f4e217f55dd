/* The host's choice of tokens is the device's, and does not disturb other sequences of a step. */
#include "device_support.h"
#include "engine_support.h"

static weft_runtime *runtime;
static weft_model *model;
static weft_error error;

static weft_engine *create(weft_precision precision, int32_t depth) {
    weft_engine *engine = NULL;
    weft_engine_options options = {.device = device_name,
                                   .precision = precision,
                                   .n_ctx = 64,
                                   .n_sequences = 4,
                                   .page_size = 16,
                                   .max_rows = 16,
                                   .max_top = N_TOP,
                                   .logits = true};
    CHECK(weft_engine_create_queued(model, &options, depth, &engine, &error));
    return engine;
}

static bool change_nothing(void *user, const weft_token *tokens, size_t n_tokens, float *logits, size_t n_vocab) {
    (void)tokens, (void)n_tokens, (void)logits, (void)n_vocab;
    ++*(size_t *)user;
    return true;
}

static const question questions[] = {
    {.seed = 1, .n_prompt = 9, .n_predict = 7},
    {.seed = 2, .n_prompt = 3, .n_predict = 7, .temperature = 1.0f},
    {.seed = 3, .n_prompt = 12, .n_predict = 7, .temperature = 40.0f},
    {.seed = 4, .n_prompt = 5, .n_predict = 7, .temperature = 0.8f, .top_k = 40},
    {.seed = 5, .n_prompt = 7, .n_predict = 7, .temperature = 1.5f, .top_p = 0.9f},
    {.seed = 6, .n_prompt = 4, .n_predict = 7, .temperature = 5.0f, .min_p = 0.3f},
    {.seed = 7, .n_prompt = 8, .n_predict = 7, .temperature = 2.0f, .top_k = 900, .top_p = 0.8f, .min_p = 0.01f},
};
#define N_QUESTIONS (sizeof questions / sizeof *questions)

/* The same question; the host chooses, after a hook that counts. */
static void begin_on_host(weft_engine *engine, const question *q, answer *a, size_t *n_calls) {
    begin_answer(engine, q, a);
    weft_sampling_options options = a->session->options.sampling;
    options.hook = change_nothing;
    options.hook_user = n_calls;
    CHECK(weft_session_set_sampling(a->session, &options, &error));
}

static void the_host_chooses_as_the_device(weft_precision precision) {
    weft_engine *engine = create(precision, 0);
    for (size_t i = 0; i < N_QUESTIONS; i++) {
        answer by_device, by_host;
        size_t n_calls = 0;
        answer_alone(engine, &questions[i], &by_device);
        begin_on_host(engine, &questions[i], &by_host, &n_calls);
        while (by_host.session) go_on_answer(&by_host);
        assert_same_answer(&by_device, &by_host);
        assert_int_equal(n_calls, by_host.n);
    }
    weft_engine_destroy(engine);
}

static void exact_is_the_same(void **state) {
    (void)state;
    the_host_chooses_as_the_device(WEFT_EXACT);
}

static void fast_is_the_same(void **state) {
    (void)state;
    if (device_fast_varies) skip();
    the_host_chooses_as_the_device(WEFT_FAST);
}

/* Three sequences, of which the host samples one: each has the tokens that it has alone. */
static void others_are_not_disturbed(void **state) {
    (void)state;
    weft_engine *engine = create(WEFT_EXACT, 2);
    answer alone[3], together[3];
    size_t n_calls = 0, over = 0;
    for (size_t i = 0; i < 3; i++) answer_alone(engine, &questions[i + 1], &alone[i]);
    uint64_t n_before = engine->n_steps;
    for (size_t i = 0; i < 3; i++) {
        if (i == 1)
            begin_on_host(engine, &questions[i + 1], &together[i], &n_calls);
        else
            begin_answer(engine, &questions[i + 1], &together[i]);
    }
    while (over < 3) {
        over = 0;
        for (size_t i = 0; i < 3; i++) {
            if (together[i].session) go_on_answer(&together[i]);
            over += together[i].session == NULL;
        }
    }
    for (size_t i = 0; i < 3; i++) assert_same_answer(&alone[i], &together[i]);
    assert_int_equal(n_calls, together[1].n);
    /* The host's sequence is in every second step of the queue. */
    assert_true(engine->n_steps - n_before <= (uint64_t)(12 * engine->depth + 4));
    weft_engine_destroy(engine);
}

static int setup(void **state) {
    (void)state;
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", device_path("device_sampling"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path("device_sampling"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_is_the_same),
        cmocka_unit_test(fast_is_the_same),
        cmocka_unit_test(others_are_not_disturbed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
