/* How soon a cancel ends a prompt and an answer: at any time from the first step of an engine on.
 *
 *     device_cancel DEVICE [MODEL.gguf [LIMIT_MS]]    prints the times; one above the limit is a failure
 *
 * Without a model, a tiny one shows that the calls end, without a limit: other programs may keep the processor busy.
 */
#include "device_support.h"
#include "engine_support.h"

enum { N_PROMPT = 480, N_ROUNDS = 6 };

static weft_runtime *runtime;
static weft_model *model;
static const char *model_path;
static double limit_ms = 0, worst_ms;

typedef struct caller {
    weft_session *session;
    weft_status status;
    weft_piece piece;
    bool prefills;
    atomic_bool has_begun;
    uint64_t ended_ns;
    weft_os_thread thread;
} caller;

static void call(void *user) {
    caller *c = user;
    c->status = WEFT_OK;
    atomic_store(&c->has_begun, true);
    if (c->prefills) c->status = weft_session_prefill(c->session, NULL);
    while (!c->prefills && c->status == WEFT_OK && !c->piece.last) c->status = weft_session_next(c->session, &c->piece, NULL);
    c->ended_ns = weft_os_now();
}

/* Cancels after so many ns; returns the ms from then on, or -1 if the call had ended. */
static double cancel_after(weft_engine *engine, bool prefills, uint32_t seed, uint64_t ns) {
    caller c = {.session = open_session(engine, (weft_session_options){.sampling.ignore_end = true}), .prefills = prefills};
    add_question_tokens(c.session, seed, prefills ? N_PROMPT : 8);
    assert_true(weft_os_thread_start(&c.thread, call, &c));
    while (!atomic_load(&c.has_begun)) weft_os_pause();
    weft_os_sleep(ns);
    const uint64_t begin = weft_os_now();
    weft_session_cancel(c.session);
    weft_os_thread_join(&c.thread);
    weft_session_destroy(c.session);
    if (c.ended_ns < begin) return -1;
    assert_true(c.status == WEFT_CANCELLED || (c.status == WEFT_OK && (c.piece.finish == WEFT_FINISH_CANCELLED || prefills)));
    return (double)(c.ended_ns - begin) / 1e6;
}

/* A new engine has run nothing yet: the device has not prepared its programs, and no step was measured. */
static void one_engine(uint64_t first_ns) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    const weft_engine_options options = {.device = device_name, .n_ctx = 512, .n_kept = -1};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    for (uint32_t i = 0; i < N_ROUNDS; i++) {
        const double ms = cancel_after(engine, i % 3 != 2, 1 + i, first_ns * (1 + i));
        print_message("%s after %.0f ms: %.1f ms, %d rows a step\n", i % 3 != 2 ? "prompt" : "answer",
                      (double)(first_ns * (1 + i)) / 1e6, ms, (int)weft_step_time_rows(engine));
        if (ms > worst_ms) worst_ms = ms;
    }
    weft_engine_destroy(engine);
}

static void cancels_end_soon(void **state) {
    (void)state;
    const uint64_t times[] = {1000000, 40000000, 300000000};
    for (size_t i = 0; i < (model_path ? 3 : 1); i++) one_engine(times[i]);
    print_message("%s: the longest took %.1f ms\n", device_name, worst_ms);
    if (limit_ms > 0) assert_true(worst_ms <= limit_ms);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    if (!model_path) return begin_tiny(&runtime, &model, device_path("device_cancel"));
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    CHECK(weft_model_open(runtime, model_path, &model, &error));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return model_path ? 0 : remove(device_path("device_cancel"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    if (argc > 2) model_path = argv[2];
    if (argc > 3) limit_ms = strtod(argv[3], NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(cancels_end_soon)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
