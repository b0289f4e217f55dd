/* How soon a cancel ends: the rows that a step may have, and steps that are cut. */
#include "engine_support.h"

#define PATH "test_step_time.tmp"
#include "tiny_model.h"

/* ---- The number of rows ---- */

static weft_engine *fresh(weft_device_kind kind, int32_t max_step_ms) {
    static weft_engine engine;
    static weft_engine_stage stage;
    stage.device_info.kind = kind;
    engine = (weft_engine){.config.max_rows = 512, .stages = &stage, .n_stages = 1};
    weft_step_time_begin(&engine, &(weft_engine_options){.max_step_ms = max_step_ms});
    return &engine;
}

/* Runs steps of a device that needs `fixed` us for a step and `row` us more for each row; returns the rows of the last. */
static int32_t rows_after(weft_engine *engine, double fixed, double row, int n_steps) {
    int32_t n_rows = 0;
    for (int i = 0; i < n_steps; i++) {
        n_rows = weft_step_time_rows(engine);
        weft_step_time_note(engine, n_rows, (uint64_t)(1000 * (fixed + row * n_rows)));
    }
    return n_rows;
}

static void steps_take_as_long_as_they_may(void **state) {
    (void)state;
    static const struct {
        weft_device_kind kind;
        double fixed, row; /* in us */
        int32_t max_step_ms, first, last;
    } cases[] = {
        {WEFT_DEVICE_GPU, 1500, 20, 0, 16, 512},
        {WEFT_DEVICE_GPU, 30000, 100, 0, 16, 128},
        {WEFT_DEVICE_GPU, 40000, 3000, 0, 16, 2},
        {WEFT_DEVICE_GPU, 0, 70000, 0, 16, 1},
        {WEFT_DEVICE_INTEGRATED_GPU, 5000, 700, 0, 16, 64},
        {WEFT_DEVICE_SOFTWARE_GPU, 3000, 400, 0, 1, 64},
        {WEFT_DEVICE_SOFTWARE_GPU, 0, 40000, 0, 1, 1},
        {WEFT_DEVICE_SOFTWARE_GPU, 0, 40000, 1000, 1, 16},
        {WEFT_DEVICE_CPU, 0, 40000, 0, 512, 512},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_engine *engine = fresh(cases[i].kind, cases[i].max_step_ms);
        const bool is_gpu = cases[i].kind == WEFT_DEVICE_GPU || cases[i].kind == WEFT_DEVICE_INTEGRATED_GPU;
        assert_int_equal(engine->ends_steps, !is_gpu);
        assert_int_equal(weft_step_time_rows(engine), cases[i].first);
        assert_int_equal(rows_after(engine, cases[i].fixed, cases[i].row, 12), cases[i].last);
    }
}

/* A step that runs on several devices ends at once only if each of them ends it. */
static void the_slowest_to_cancel_bounds_a_step(void **state) {
    (void)state;
    static const struct {
        weft_device_kind kinds[2];
        bool ends_steps, any_rows;
        int32_t first;
    } cases[] = {
        {{WEFT_DEVICE_CPU, WEFT_DEVICE_NOTHING}, true, true, 512},
        {{WEFT_DEVICE_GPU, WEFT_DEVICE_CPU}, false, false, 16},
        {{WEFT_DEVICE_CPU, WEFT_DEVICE_SOFTWARE_GPU}, true, false, 1},
        {{WEFT_DEVICE_SOFTWARE_GPU, WEFT_DEVICE_GPU}, false, false, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_engine_stage stages[2] = {{.device_info.kind = cases[i].kinds[0]}, {.device_info.kind = cases[i].kinds[1]}};
        weft_engine engine = {.config.max_rows = 512, .stages = stages, .n_stages = 2};
        weft_step_time_begin(&engine, &(weft_engine_options){.max_step_ms = 0});
        assert_int_equal(engine.ends_steps, cases[i].ends_steps);
        assert_int_equal(engine.any_rows, cases[i].any_rows);
        assert_int_equal(weft_step_time_rows(&engine), cases[i].first);
    }
}

/* The first steps of a plan can take long, and a device can become slower. */
static void times_are_forgotten(void **state) {
    (void)state;
    weft_engine *engine = fresh(WEFT_DEVICE_GPU, 0);
    weft_step_time_note(engine, 16, 900000000);
    assert_int_equal(weft_step_time_rows(engine), 4);
    assert_int_equal(rows_after(engine, 1000, 20, 8), 512);
    assert_in_range(rows_after(engine, 1000, 2000, 60), 8, 16);
}

/* ---- Steps that are cut ---- */

enum { N_PROMPT = 640 };

typedef struct waiting {
    weft_session *session;
    weft_status status;
    weft_os_thread thread;
} waiting;

static void wait_for_prompt(void *user) {
    waiting *w = user;
    w->status = weft_session_prefill(w->session, NULL);
}

/* The step has rows of two sessions, and one of them is cancelled. */
static void a_cancel_cuts_a_step_of_others(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_token tokens[N_PROMPT];
    const weft_engine_options options = {.device = "cpu",
                                         .device_options = {.n_threads = 1, .simd = "none"},
                                         .precision = WEFT_EXACT,
                                         .n_ctx = 1024,
                                         .n_sequences = 2};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    question_tokens(&(question){.seed = 3, .n_prompt = N_PROMPT}, model->hyper.n_vocab, tokens);
    weft_session *first = open_session(engine, (weft_session_options){.n_ctx = 0}), *second = open_session(engine, first->options);
    CHECK(weft_session_add_tokens(first, tokens, 16, &error));
    CHECK(weft_session_add_tokens(second, tokens, N_PROMPT, &error));
    waiting w = {.session = first};
    assert_true(weft_os_thread_start(&w.thread, wait_for_prompt, &w));
    for (bool runs = false; !runs;) {
        weft_os_mutex_lock(&engine->mutex);
        runs = engine->n_flights > 0;
        weft_os_mutex_unlock(&engine->mutex);
    }
    weft_session_cancel(first);
    weft_os_thread_join(&w.thread);
    assert_int_equal(w.status, WEFT_CANCELLED);
    assert_int_equal(engine->n_rows, 0); /* no step has ended well */
    assert_int_equal(second->n_cached, 0);
    assert_true(weft_session_active(second)); /* its rows will run again */
    weft_session_destroy(first);
    weft_session_destroy(second);
    weft_engine_destroy(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_take_as_long_as_they_may),
        cmocka_unit_test(the_slowest_to_cancel_bounds_a_step),
        cmocka_unit_test(times_are_forgotten),
        cmocka_unit_test(a_cancel_cuts_a_step_of_others),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
