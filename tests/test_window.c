/* A model whose layers all have windows: pages out of the window are given back, and answers are those of an engine with room for
 * all. */
#include "engine_support.h"

#include "decoder/synth.h"

#define PATH "test_window.tmp"
#define SAVED "test_window.saved"
enum { WINDOW = 40, PAGE = 16, CTX = 768, POOL = 256, PROMPT = 300, ANSWER = 200 };

static weft_runtime *runtime;
static weft_model *model;
static weft_error error;

static int begin(void **state) {
    (void)state;
    static const weft_synth_entry keys[] = {{.suffix = "attention.sliding_window", .number = WINDOW}, {.suffix = NULL}};
    const weft_synth_model shape = {"test", "starcoder2", 2, 64, 2, 1, 32, 96, 320, CTX, 1e-5f, 10000, false, 0, keys};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    CHECK(weft_synth_write(runtime, &shape, weft_mix_find("F32"), &(weft_synth_options){.seed = 5}, PATH, &error));
    CHECK(weft_model_open(runtime, PATH, &model, &error));
    return 0;
}

static int end(void **state) {
    (void)state;
    remove(SAVED);
    return end_tiny(runtime, model, PATH);
}

static weft_engine *create(int64_t n_cache, int32_t n_sequences, bool refuses) {
    const weft_engine_options options = {.precision = WEFT_EXACT,
                                         .n_ctx = CTX,
                                         .n_sequences = n_sequences,
                                         .page_size = PAGE,
                                         .n_cache = n_cache,
                                         .max_rows = 32,
                                         .refuse_when_full = refuses};
    return create_on_cpu(model, options, 2);
}

static weft_session *ask(weft_engine *engine, int seed) {
    weft_session *session = NULL;
    weft_token prompt[PROMPT];
    for (int i = 0; i < PROMPT; i++) prompt[i] = (i * i * 37 + i * seed + 11) % 256;
    const weft_sampling_options sampling = {.temperature = 0.8f, .seed = 3, .ignore_end = true};
    CHECK(weft_session_create(engine, &(weft_session_options){.sampling = sampling}, &session, &error));
    CHECK(weft_session_add_tokens(session, prompt, PROMPT, &error));
    return session;
}

static void read_tokens(weft_session *session, int n, weft_token *tokens) {
    weft_piece piece;
    for (int i = 0; i < n; i++) {
        CHECK(weft_session_next(session, &piece, &error));
        tokens[i] = piece.token;
    }
}

static void expect(weft_session *session, int n, const weft_token *expected) {
    weft_token tokens[ANSWER];
    read_tokens(session, n, tokens);
    assert_memory_equal(tokens, expected, (size_t)n * sizeof *tokens);
}

static void answer_with_room(int seed, weft_token *tokens) {
    weft_engine *engine = create(0, 1, false);
    weft_session *session = ask(engine, seed);
    read_tokens(session, ANSWER, tokens);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static uint64_t n_prefilled(const weft_session *session) {
    weft_session_timing timing;
    weft_session_measure(session, &timing);
    return timing.n_prefill;
}

/* A prompt of 300 tokens and an answer of 200, where the engine has pages for 256 positions; and several such sequences. */
static void answers_need_few_pages(void **state) {
    (void)state;
    enum { N = 3 };
    weft_token expected[N][ANSWER];
    for (int i = 0; i < N; i++) answer_with_room(i, expected[i]);
    for (int refuses = 0; refuses < 2; refuses++) {
        weft_engine *engine = create(POOL, N, refuses);
        weft_session *session = ask(engine, 0);
        expect(session, ANSWER, expected[0]);
        assert_int_equal(n_prefilled(session), PROMPT); /* no row ran twice */
        weft_session_destroy(session);
        weft_session *sessions[N];
        for (int i = 0; i < N; i++) sessions[i] = ask(engine, i);
        for (int k = 0; !refuses && k < ANSWER; k += 20)
            for (int i = 0; i < N; i++) expect(sessions[i], 20, expected[i] + k);
        for (int i = 0; i < N; i++) weft_session_destroy(sessions[i]);
        weft_engine_info info;
        weft_engine_describe(engine, &info);
        assert_int_equal(info.n_pages, POOL / PAGE);
        assert_int_equal(info.n_pages_free, POOL / PAGE);
        weft_engine_destroy(engine);
    }
}

/* An engine with room for all gets the pages back, too. */
static void pages_in_use(void **state) {
    (void)state;
    weft_token tokens[ANSWER];
    weft_engine *engine = create(0, 1, false);
    weft_session *session = ask(engine, 0);
    read_tokens(session, ANSWER, tokens);
    int32_t n_used = 0;
    for (int32_t i = 0; i < engine->pages.n_pages; i++) n_used += engine->pages.n_users[i] > 0;
    if (n_used > (WINDOW + 2 * 64 + 2 * PAGE) / PAGE) fail_msg("%d pages are in use", (int)n_used);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static void sessions_go_back(void **state) {
    (void)state;
    weft_token expected[ANSWER];
    answer_with_room(1, expected);
    weft_engine *engine = create(POOL, 1, false);
    weft_session *session = ask(engine, 1);
    expect(session, 150, expected);
    uint64_t before = n_prefilled(session);
    CHECK(weft_session_rewind(session, PROMPT + 140, &error)); /* a little: what it needs is still there */
    expect(session, 30, expected + 140);
    assert_true(n_prefilled(session) - before < 16);
    CHECK(weft_session_rewind(session, PROMPT + 10, &error));
    expect(session, 60, expected + 10);
    assert_true(n_prefilled(session) - before > PROMPT);
    CHECK(weft_session_rewind(session, PROMPT - 200, &error));
    CHECK(weft_session_rewind(session, 0, &error));
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* A session goes back to where it has passed its pages, while others have those in common. */
static void passed_pages_are_of_others(void **state) {
    (void)state;
    weft_token expected[2][ANSWER];
    for (int i = 0; i < 2; i++) answer_with_room(i, expected[i]);
    weft_engine *engine = create(POOL + 192, 3, false);
    weft_session *session = ask(engine, 0), *other, *fork = NULL;
    expect(session, 60, expected[0]);
    other = ask(engine, 1);
    expect(other, 10, expected[1]);
    CHECK(weft_session_fork(other, NULL, &fork, &error));
    CHECK(weft_session_rewind(session, 10, &error));
    expect(other, 40, expected[1] + 10);
    expect(fork, 50, expected[1] + 10);
    weft_session_destroy(session);
    weft_session_destroy(other);
    weft_session_destroy(fork);
    assert_int_equal(pages_free(engine), engine->pages.n_pages);
    weft_engine_destroy(engine);
}

static void copies_go_on(void **state) {
    (void)state;
    weft_token expected[ANSWER];
    answer_with_room(2, expected);
    weft_engine *engine = create(2 * POOL, 3, false), *other = create(POOL, 1, false);
    weft_session *session = ask(engine, 2), *fork = NULL, *restored = NULL;
    weft_session_carried carried;
    expect(session, 150, expected);
    CHECK(weft_session_fork(session, NULL, &fork, &error));
    CHECK(weft_session_save(session, SAVED, NULL, &error));
    CHECK(weft_session_restore(engine, SAVED, NULL, &restored, &carried, &error));
    CHECK(weft_session_move(session, other, &carried, &error));
    expect(fork, ANSWER - 150, expected + 150);
    expect(restored, ANSWER - 150, expected + 150);
    expect(session, ANSWER - 150, expected + 150);
    weft_session_destroy(fork);
    weft_session_destroy(restored);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    weft_engine_destroy(other);
}

static void too_few_pages_are_told(void **state) {
    (void)state;
    for (int refuses = 0; refuses < 2; refuses++) {
        weft_engine *engine = create(WINDOW + PAGE, 1, refuses);
        weft_session *session = ask(engine, 0);
        weft_piece piece;
        assert_int_equal(weft_session_next(session, &piece, &error), WEFT_OUT_OF_PAGES);
        assert_non_null(strstr(error.message, "larger n_cache"));
        weft_session_destroy(session);
        weft_engine_destroy(engine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_need_few_pages),     cmocka_unit_test(pages_in_use), cmocka_unit_test(sessions_go_back),
        cmocka_unit_test(passed_pages_are_of_others), cmocka_unit_test(copies_go_on), cmocka_unit_test(too_few_pages_are_told),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
