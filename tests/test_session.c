/* Sessions: pieces of text, options, and missing arguments. device_session.c tests the content of answers. */
#include "decoder/utf8.h"
#include "engine_support.h"

#include <math.h>

#define PATH "test_session.tmp"
#include "tiny_model.h"

static weft_engine *create(weft_engine_options options) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = "cpu";
    options.device_options.n_threads = 1;
    options.precision = WEFT_EXACT;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

/* ---- Text ---- */

/* The pieces of random tokens together are their text, and no piece ends inside a character. */
static void pieces_are_whole_characters(void **state) {
    (void)state;
    enum { N = 300, SIZE = 8192 };
    weft_error error = {0};
    weft_piece piece;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 512});
    weft_session *session = open_session(
        engine, (weft_session_options){
                    .sampling.max_tokens = N, .sampling.ignore_end = true, .sampling.temperature = 3.0f, .sampling.seed = 5});
    CHECK(weft_session_add_text(session, "h", 1, false, &error));
    char text[SIZE], whole[SIZE];
    bool ends_piece[SIZE + 1] = {false};
    size_t size = 0, whole_size = 0, n_longer = 0, n = 0;
    do {
        CHECK(weft_session_next(session, &piece, &error));
        memcpy(text + size, piece.text, piece.size);
        size += piece.size;
        ends_piece[size] = true;
    } while (!piece.last);
    assert_int_equal(piece.finish, WEFT_FINISH_LENGTH);
    const weft_token *tokens;
    weft_session_tokens(session, &tokens, &n);
    assert_int_equal(n, N + 1);
    CHECK(weft_detokenize(model, tokens + 1, n - 1, false, whole, sizeof whole, &whole_size, &error));
    assert_int_equal(size, whole_size);
    assert_memory_equal(text, whole, size);
    for (size_t i = 0; i < size;) {
        size_t length = weft_utf8_size(text + i, size - i);
        for (size_t k = 1; k < length; k++) assert_false(ends_piece[i + k]);
        n_longer += length > 1;
        i += length > 0 ? length : 1;
    }
    /* Otherwise the test has shown nothing. */
    assert_true(n_longer > 0);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* ---- Options ---- */

static void ignore_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    (void)user, (void)index, (void)logits, (void)n_vocab;
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 32, .max_top = 2});
    const weft_session_options senseless[] = {
        {.n_ctx = 33},
        {.n_ctx = -1},
        {.sampling.max_tokens = -1},
        {.sampling.top_k = -1},
        {.sampling.top_p = 1.5f},
        {.sampling.min_p = -0.1f},
        {.sampling.top_p = NAN},
        {.sampling.temperature = -1},
        {.sampling.temperature = NAN},
        {.sampling.temperature = INFINITY},
        {.sampling.n_top = 3},
        {.sampling.n_top = -1},
        {.n_prompt_top = 3},
        {.on_logits = ignore_logits},
    };
    weft_session *session = NULL;
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        assert_int_equal(weft_session_create(engine, &senseless[i], &session, &error), WEFT_INVALID_ARGUMENT);
        assert_true(strlen(error.message) > 10);
        assert_null(session);
    }
    session = open_session(engine, (weft_session_options){.n_ctx = 32});
    weft_session *second = NULL;
    assert_int_equal(weft_session_create(engine, NULL, &second, &error), WEFT_FULL);
    weft_session_destroy(session);
    CHECK(weft_session_create(engine, NULL, &second, &error));
    weft_session_destroy(second);
    weft_engine_destroy(engine);
    const weft_engine_options bad[] = {
        {.n_ctx = -1},
        {.n_sequences = -1},
        {.n_cache = -1},
        {.page_size = 24},
        {.page_size = -64},
        {.max_rows = 1024},
        {.max_rows = 3},
        {.max_step_ms = -1},
        {.max_top = -1},
        {.max_top = 1 << 20},
        {.precision = (weft_precision)7},
        {.n_ctx = 1 << 26, .page_size = 1, .n_sequences = 1 << 16},
        {.n_cache = INT64_MAX},
        {.device = "no such device"},
    };
    engine = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weft_status expected = bad[i].device ? WEFT_NOT_FOUND : WEFT_INVALID_ARGUMENT;
        assert_int_equal(weft_engine_create(model, &bad[i], &engine, &error), expected);
        assert_null(engine);
    }
}

/* ---- NULL ---- */

static void null_is_refused(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 32}), *none = NULL;
    weft_session *session = open_session(engine, (weft_session_options){.n_ctx = 32}), *no_session = NULL;
    weft_graph *graph = NULL;
    weft_store_bytes bytes;
    weft_piece piece;
    size_t n_devices;
    const weft_status statuses[] = {
        weft_engine_create(NULL, NULL, &none, &error),
        weft_engine_create(model, NULL, NULL, &error),
        weft_engine_measure(NULL, NULL, &bytes, &error),
        weft_engine_measure(model, NULL, NULL, &error),
        weft_engine_choose(NULL, NULL, NULL, 0, &n_devices, &error),
        weft_engine_choose(model, NULL, NULL, 0, NULL, &error),
        weft_engine_choose(model, NULL, NULL, 1, &n_devices, &error),
        weft_engine_step(NULL, NULL, &error),
        weft_model_graph(NULL, NULL, 1, 1, &graph, &error),
        weft_model_graph(model, NULL, 1, 1, NULL, &error),
        weft_session_create(NULL, NULL, &no_session, &error),
        weft_session_create(engine, NULL, NULL, &error),
        weft_session_say(NULL, WEFT_USER, "a", &error),
        weft_session_say(session, WEFT_USER, NULL, &error),
        weft_session_add_text(NULL, "a", 1, false, &error),
        weft_session_add_text(session, NULL, 1, false, NULL),
        weft_session_add_tokens(NULL, NULL, 0, &error),
        weft_session_add_tokens(session, NULL, 1, &error),
        weft_session_next(NULL, &piece, &error),
        weft_session_next(session, NULL, &error),
        weft_session_prefill(NULL, &error),
    };
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) assert_int_equal(statuses[i], WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "missing"));
    CHECK(weft_session_add_text(session, NULL, 0, false, &error));
    CHECK(weft_session_add_tokens(session, NULL, 0, &error));
    weft_engine_info info = {.n_ctx = 7};
    weft_session_timing timing = {.n_prefill = 7};
    weft_engine_describe(NULL, &info);
    weft_engine_describe(engine, NULL);
    weft_session_measure(NULL, &timing);
    weft_session_measure(session, NULL);
    assert_int_equal(info.n_ctx, 0);
    assert_int_equal(timing.n_prefill, 0);
    weft_session_tokens(session, NULL, NULL);
    weft_session_cancel(NULL);
    weft_session_destroy(NULL);
    weft_engine_destroy(NULL);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_whole_characters),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(null_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
