/* Engines: a sequence gives the same bits alone and in shared steps, in one step or in many, and however it was interrupted. */
#include "device_support.h"
#include "engine_support.h"

#define N_SEQUENCES 16

static weft_runtime *runtime;
static weft_model *model;

static weft_engine *create(weft_engine_options options, int32_t depth) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = device_name;
    options.device_options.n_threads = 1;
    options.max_step_ms = 60000; /* steps have the rows that the tests count on, however slow the device is */
    CHECK(weft_engine_create_queued(model, &options, depth, &engine, &error));
    return engine;
}

/* Prompts of one token to several pages; greedy and drawn. */
static void make_questions(question *questions, size_t n) {
    for (size_t i = 0; i < n; i++)
        questions[i] = (question){.seed = 100 + (uint32_t)i,
                                  .n_prompt = 1 + (int32_t)(i * 37 % (device_slow && i != 5 ? 23 : 150)),
                                  .n_predict = (device_slow ? 4 : 8) + (int32_t)(i % 5),
                                  .temperature = i % 3 == 2 ? 0.9f : 0.0f};
}

typedef struct shared_setting {
    int32_t depth, max_rows;
} shared_setting;

static void shared_is_as_alone(weft_precision precision, const shared_setting *settings, size_t n_settings) {
    question questions[N_SEQUENCES];
    answer *alone = calloc(2 * N_SEQUENCES, sizeof *alone), *together = alone + N_SEQUENCES;
    assert_non_null(alone);
    make_questions(questions, N_SEQUENCES);
    weft_engine *engine = create((weft_engine_options){.precision = precision, .n_ctx = 256, .max_top = N_TOP}, 1);
    for (size_t i = 0; i < N_SEQUENCES; i++) answer_alone(engine, &questions[i], &alone[i]);
    weft_engine_destroy(engine);
    for (size_t s = 0; s < n_settings; s++) {
        engine = create((weft_engine_options){.precision = precision,
                                              .n_ctx = 256,
                                              .n_sequences = N_SEQUENCES,
                                              .page_size = precision == WEFT_EXACT ? 32 : 64, /* `fast`: as alone */
                                              .max_rows = settings[s].max_rows,
                                              .max_top = N_TOP},
                        settings[s].depth);
        answer_together(engine, questions, together, N_SEQUENCES);
        for (size_t i = 0; i < N_SEQUENCES; i++) assert_same_answer(&together[i], &alone[i]);
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        weft_engine_destroy(engine);
    }
    free(alone);
}

static void exact_shared_is_as_alone(void **state) {
    (void)state;
    static const shared_setting settings[] = {{1, 128}, {2, 128}, {3, 4}};
    shared_is_as_alone(WEFT_EXACT, settings, sizeof settings / sizeof *settings);
}

static void fast_shared_is_as_alone(void **state) {
    (void)state;
    static const shared_setting settings[] = {{2, 128}};
    if (device_fast_varies) skip();
    shared_is_as_alone(WEFT_FAST, settings, 1);
}

/* A prompt gives the same bits in steps of any size. The context is long enough for GPUs to spread the attention of few rows. */
static void chunked_is_as_at_once(void **state) {
    (void)state;
    static const int32_t lengths[] = {1, 31, 33, 63, 257, 1003}, max_rows[] = {1, 2, 8, 64};
    enum { N = sizeof lengths / sizeof *lengths };
    int32_t longest = device_slow ? 63 : 1003;
    weft_precision precisions[] = {WEFT_EXACT, WEFT_FAST};
    answer *at_once = calloc(N, sizeof *at_once), chunked;
    assert_non_null(at_once);
    for (size_t p = 0; p < (device_fast_varies ? 1 : 2); p++) {
        for (size_t r = 0; r <= sizeof max_rows / sizeof *max_rows; r++) {
            int32_t rows = r == 0 ? 512 : max_rows[r - 1];
            weft_engine *engine = create(
                (weft_engine_options){
                    .precision = precisions[p], .n_ctx = 1100, .max_rows = rows, .page_size = 16, .max_top = N_TOP},
                1);
            for (size_t i = 0; i < N; i++) {
                if (lengths[i] > longest || (rows == 1 && lengths[i] > 300)) continue;
                /* The kernels of `fast` split a long attention when a step has few rows. */
                if (precisions[p] == WEFT_FAST && rows < 64 && lengths[i] > 300) continue;
                question q = {.seed = 7 + (uint32_t)i, .n_prompt = lengths[i], .n_predict = 4};
                answer_alone(engine, &q, r == 0 ? &at_once[i] : &chunked);
                if (r > 0) assert_same_answer(&chunked, &at_once[i]);
            }
            weft_engine_destroy(engine);
        }
    }
    free(at_once);
}

/* ---- Pages ---- */

static void set_back_is_as_undisturbed(void **state) {
    (void)state;
    enum { N = 4 };
    const int32_t n_predict = device_slow ? 10 : 24;
    question questions[N];
    answer *alone = calloc(2 * N, sizeof *alone), *together = alone + N;
    assert_non_null(alone);
    for (uint32_t i = 0; i < N; i++)
        questions[i] =
            (question){.seed = 40 + i, .n_prompt = 20 + (int32_t)i * 9, .n_predict = n_predict, .temperature = i % 2 ? 1.0f : 0};
    weft_engine *engine = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 128, .max_top = N_TOP}, 1);
    for (size_t i = 0; i < N; i++) answer_alone(engine, &questions[i], &alone[i]);
    weft_engine_destroy(engine);
    for (int32_t depth = device_slow ? 2 : 1; depth <= 2; depth++) {
        /* Room for one and a half whole sequences. */
        engine = create((weft_engine_options){.precision = WEFT_EXACT,
                                              .n_ctx = 128,
                                              .n_sequences = N,
                                              .page_size = 8,
                                              .n_cache = 96,
                                              .max_rows = 32,
                                              .max_top = N_TOP},
                        depth);
        answer_together(engine, questions, together, N);
        int64_t computed = 0;
        for (size_t i = 0; i < N; i++) assert_same_answer(&together[i], &alone[i]);
        for (size_t i = 0; i < N; i++) computed += questions[i].n_prompt + n_predict - 1;
        assert_int_equal(pages_free(engine), 12);
        /* There was not enough room for all, so some rows were computed twice. */
        assert_true((int64_t)engine->n_rows > computed);
        weft_engine_destroy(engine);
    }
    free(alone);
}

static void refusing_when_full_is_a_clear_error(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    weft_engine *engine =
        create((weft_engine_options){.n_ctx = 128, .n_sequences = 2, .page_size = 16, .n_cache = 128, .refuse_when_full = true}, 1);
    question q = {.seed = 1, .n_prompt = 60, .n_predict = 60};
    answer first, second;
    begin_answer(engine, &q, &first);
    begin_answer(engine, &q, &second);
    go_on_answer(&first);
    weft_status status = WEFT_OK;
    while (first.session && status == WEFT_OK) {
        go_on_answer(&first);
        status = weft_session_next(second.session, &piece, &error);
    }
    assert_int_equal(status, WEFT_OUT_OF_PAGES);
    assert_non_null(strstr(error.message, "n_cache"));
    /* The older one is not disturbed, and the refused one can go on when there is room. */
    while (first.session) go_on_answer(&first);
    assert_int_equal(first.n, 60);
    CHECK(weft_session_next(second.session, &piece, &error));
    weft_session_destroy(second.session);
    assert_int_equal(pages_free(engine), 8);
    weft_engine_destroy(engine);
}

static void a_sequence_that_cannot_fit_is_a_clear_error(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    for (int refuse = 0; refuse < 2; refuse++) {
        weft_engine *engine = create(
            (weft_engine_options){.n_ctx = 128, .n_sequences = 2, .page_size = 16, .n_cache = 64, .refuse_when_full = refuse == 1},
            1);
        question large = {.seed = 1, .n_prompt = 70, .n_predict = 5}, small = {.seed = 2, .n_prompt = 30, .n_predict = 60};
        answer a, b;
        begin_answer(engine, &large, &a);
        assert_int_equal(weft_session_next(a.session, &piece, &error), WEFT_OUT_OF_PAGES);
        assert_non_null(strstr(error.message, "needs 5 KV-cache pages and the engine has 4"));
        assert_int_equal(weft_session_prefill(a.session, &error), WEFT_OUT_OF_PAGES);
        /* A sequence that fits goes on beside it until the pages run out. */
        begin_answer(engine, &small, &b);
        weft_status status = WEFT_OK;
        int n = 0;
        for (; status == WEFT_OK; n++) status = weft_session_next(b.session, &piece, &error);
        assert_int_equal(status, WEFT_OUT_OF_PAGES);
        /* There are 64 positions, and the last of them gives a token, too. */
        assert_int_equal(n - 1, 64 - 30 + 1);
        weft_session_destroy(a.session);
        weft_session_destroy(b.session);
        assert_int_equal(pages_free(engine), 4);
        weft_engine_destroy(engine);
    }
}

/* A session that has answered keeps its pages until another needs them; when it goes on, its rows are computed again. */
static void idle_sessions_make_room(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create(
        (weft_engine_options){
            .precision = WEFT_EXACT, .n_ctx = 64, .n_sequences = 2, .page_size = 16, .n_cache = 64, .max_top = N_TOP},
        1);
    question q = {.seed = 3, .n_prompt = 20, .n_predict = 6}, other = {.seed = 4, .n_prompt = 55, .n_predict = 3};
    answer whole, first, second;
    answer_alone(engine, &(question){.seed = 3, .n_prompt = 20, .n_predict = 12}, &whole);
    begin_answer(engine, &q, &first);
    for (int i = 0; i < 6; i++) go_on_answer(&first);
    weft_piece piece;
    CHECK(weft_session_next(first.session, &piece, &error));
    assert_true(piece.last && piece.finish == WEFT_FINISH_LENGTH);
    assert_int_equal(pages_free(engine), 2);
    answer_alone(engine, &other, &second);
    assert_int_equal(second.n, 3);
    assert_int_equal(first.session->n_pages, 0);
    for (int i = 0; i < 6; i++) go_on_answer(&first);
    assert_memory_equal(first.tokens, whole.tokens, 12 * sizeof *whole.tokens);
    assert_memory_equal(first.logprobs, whole.logprobs, 12 * sizeof *whole.logprobs);
    weft_session_destroy(first.session);
    weft_engine_destroy(engine);
}

/* An answer that is far ahead of its reader waits, but not with a prompt that is asked for. */
static void prompts_do_not_wait_for_readers(void **state) {
    (void)state;
    weft_error error = {0};
    question q = {.seed = 5, .n_prompt = 20, .n_predict = 30};
    answer plain, a;
    weft_engine *engine = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 128, .max_top = N_TOP}, 1);
    answer_alone(engine, &q, &plain);
    begin_answer(engine, &q, &a);
    go_on_answer(&a);
    int32_t n_rows = 1;
    while (n_rows > 0) CHECK(weft_engine_step(engine, &n_rows, &error));
    assert_int_equal(a.session->n_tokens - a.session->n_read, WEFT_MAX_UNREAD);
    weft_session_set_back(a.session, 0);
    CHECK(weft_session_prefill(a.session, &error));
    assert_int_equal(a.session->n_cached, 20);
    while (a.session) go_on_answer(&a);
    assert_same_answer(&a, &plain);
    weft_engine_destroy(engine);
}

/* More page table entries than one step can carry are spread over several. */
static void long_page_tables_are_sent_in_parts(void **state) {
    (void)state;
    weft_error error = {0};
    question q = {.seed = 9, .n_prompt = 300, .n_predict = 5};
    answer plain, small_pages;
    weft_engine *engine = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 512, .max_top = N_TOP}, 1);
    answer_alone(engine, &q, &plain);
    weft_engine_destroy(engine);
    engine =
        create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 512, .page_size = 1, .max_rows = 4, .max_top = N_TOP}, 2);
    begin_answer(engine, &q, &small_pages);
    for (int i = 0; i < 3; i++) go_on_answer(&small_pages);
    /* The state after a failed step: the page table on the device may be wrong. */
    weft_step_drain(engine, UINT64_MAX);
    small_pages.session->n_sent = 0;
    while (small_pages.session) go_on_answer(&small_pages);
    assert_same_answer(&small_pages, &plain);
    CHECK(weft_engine_step(engine, NULL, &error));
    weft_engine_destroy(engine);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q4_0", device_path("device_engine"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path("device_engine"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_shared_is_as_alone),
        cmocka_unit_test(fast_shared_is_as_alone),
        cmocka_unit_test(chunked_is_as_at_once),
        cmocka_unit_test(set_back_is_as_undisturbed),
        cmocka_unit_test(refusing_when_full_is_a_clear_error),
        cmocka_unit_test(a_sequence_that_cannot_fit_is_a_clear_error),
        cmocka_unit_test(idle_sessions_make_room),
        cmocka_unit_test(prompts_do_not_wait_for_readers),
        cmocka_unit_test(long_page_tables_are_sent_in_parts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
