/* What a program does with a session, on each device: going back, forks, common beginnings, saving and restoring, moving, and going
 * on after the device was lost. What a session then chooses is what a fresh session chooses that gets all tokens at once and shares
 * nothing, in `exact`.
 *
 *     device_conversation DEVICE [SHAPE MIX [N_PROMPT]]    another synthetic model, and longer prompts
 */
#include "device_support.h"
#include "engine_support.h"
#include "memory_file.h"
#include "tests/support/mortal.h"

enum { N_NEXT = 3, PAGE = 8, MAX_POSITIONS = 2048 };

static weft_runtime *runtime;
static weft_model *model;
static const char *shape = "tiny-qwen3", *mix = "Q8_0";
static int32_t n_prompt = 20; /* ends in the middle of a page */

static weft_engine *create(const char *device, int32_t page_size) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    const weft_engine_options options = {.device = device,
                                         .device_options.n_threads = 1,
                                         .precision = WEFT_EXACT,
                                         .n_ctx = 2 * n_prompt + 40,
                                         .n_sequences = 4,
                                         .max_step_ms = 60000, /* prompts in few steps, however slow the device is */
                                         .page_size = page_size,
                                         .max_rows = n_prompt < 64 ? 8 : 128};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

static weft_session *open_random(weft_engine *engine, uint64_t group) {
    return open_session(
        engine, (weft_session_options){.sampling = {.temperature = 1, .seed = 5, .ignore_end = true}, .share_group = group});
}

static weft_session *ask(weft_engine *engine, uint64_t group) {
    weft_session *session = open_random(engine, group);
    add_question_tokens(session, 9, n_prompt);
    return session;
}

static void read_tokens(weft_session *session, int n, weft_token *tokens) {
    weft_error error = {0};
    weft_piece piece;
    for (int i = 0; i < n; i++) {
        CHECK(weft_session_next(session, &piece, &error));
        assert_false(piece.last);
        tokens[i] = piece.token;
    }
}

static size_t held_tokens(const weft_session *session, weft_token *tokens) {
    const weft_token *held;
    size_t n;
    weft_session_tokens(session, &held, &n);
    assert_in_range(n, 1, MAX_POSITIONS);
    memcpy(tokens, held, n * sizeof *tokens);
    return n;
}

static void assert_goes_on_as_fresh(weft_session *session, weft_engine *engine) {
    static weft_token held[MAX_POSITIONS];
    weft_error error = {0};
    weft_token own[N_NEXT], expected[N_NEXT];
    size_t n = held_tokens(session, held);
    weft_session *fresh = open_random(engine, WEFT_SHARE_NONE);
    CHECK(weft_session_add_tokens(fresh, held, n, &error));
    read_tokens(fresh, N_NEXT, expected);
    weft_session_destroy(fresh);
    read_tokens(session, N_NEXT, own);
    assert_memory_equal(own, expected, sizeof own);
}

static uint64_t n_reused(const weft_session *session) {
    weft_session_timing timing;
    weft_session_measure(session, &timing);
    return timing.n_reused;
}

/* ---- Within an engine ---- */

static weft_engine *engine;

/* Into the answer, into the prompt, to the end of a page and into the first one. */
static void sessions_go_back(void **state) {
    (void)state;
    weft_error error = {0};
    const int32_t places[] = {n_prompt + 2, n_prompt - 5, n_prompt / PAGE * PAGE, 3};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        weft_token tokens[N_NEXT + 1];
        weft_session *session = ask(engine, WEFT_SHARE_NONE);
        read_tokens(session, N_NEXT + 1, tokens);
        CHECK(weft_session_rewind(session, (size_t)places[i], &error));
        if (i > 0) add_question_tokens(session, 10 + (uint32_t)i, 3);
        assert_goes_on_as_fresh(session, engine);
        weft_session_destroy(session);
    }
}

static void forks_go_on_apart(void **state) {
    (void)state;
    weft_error error = {0};
    weft_token tokens[N_NEXT];
    weft_session *session = ask(engine, WEFT_SHARE_NONE), *copy = NULL;
    read_tokens(session, 2, tokens);
    CHECK(weft_session_fork(session, NULL, &copy, &error));
    assert_int_equal(n_reused(copy), n_prompt + 1); /* all but the last token, which is the answer's second */
    add_question_tokens(copy, 12, 5);
    assert_goes_on_as_fresh(copy, engine);
    assert_goes_on_as_fresh(session, engine);
    /* Both go back into a page that they have in common. */
    CHECK(weft_session_rewind(copy, (size_t)n_prompt - 7, &error));
    add_question_tokens(copy, 13, 2);
    CHECK(weft_session_rewind(session, (size_t)n_prompt - 6, &error));
    assert_goes_on_as_fresh(copy, engine);
    assert_goes_on_as_fresh(session, engine);
    weft_session_destroy(session);
    assert_goes_on_as_fresh(copy, engine);
    weft_session_destroy(copy);
}

static void common_beginnings_are_used(void **state) {
    (void)state;
    weft_token tokens[N_NEXT];
    weft_session *first = ask(engine, 0);
    read_tokens(first, N_NEXT, tokens);
    weft_session *second = ask(engine, 0);
    assert_goes_on_as_fresh(second, engine);
    assert_int_equal(n_reused(second), (n_prompt - 1) / PAGE * PAGE);
    weft_session_destroy(first);
    weft_session_destroy(second);
}

static void saved_sessions_go_on(void **state) {
    (void)state;
    static memory_file file;
    weft_error error = {0};
    weft_token tokens[N_NEXT];
    weft_session_carried carried;
    weft_session *session = ask(engine, WEFT_SHARE_NONE), *restored = NULL;
    read_tokens(session, 3, tokens);
    CHECK(weft_session_save(session, NULL, &(weft_save_options){.write = memory_write, .user = &file}, &error));
    CHECK(weft_session_restore(engine, NULL, &(weft_restore_options){.read = memory_read, .user = &file}, &restored, &carried,
                               &error));
    assert_int_equal(carried.n_copied, n_prompt + 3 - 1);
    assert_goes_on_as_fresh(restored, engine);
    assert_goes_on_as_fresh(session, engine);
    weft_session_destroy(restored);
    weft_session_destroy(session);
    memory_release(&file);
}

static void moved_sessions_go_on(void **state) {
    (void)state;
    weft_error error = {0};
    weft_token tokens[N_NEXT];
    weft_session_carried carried;
    weft_engine *other = create(device_name, 2 * PAGE);
    weft_session *session = ask(engine, WEFT_SHARE_NONE);
    read_tokens(session, 3, tokens);
    for (int i = 0; i < 2; i++) {
        CHECK(weft_session_move(session, i ? engine : other, &carried, &error));
        assert_string_equal(carried.reason, "");
        assert_int_equal(carried.n_computed, 1);
        assert_goes_on_as_fresh(session, i ? engine : other);
    }
    weft_session_destroy(session);
    weft_engine_destroy(other);
}

/* ---- A device that is lost ---- */

static weft_engine *create_on_mortal(void) {
    mortal = (mortal_devices){.is_lost = false};
    return create("mortal", PAGE);
}

/* Reads until the device is lost; returns how many tokens came before. */
static int read_until_lost(weft_session *session) {
    weft_error error = {0};
    weft_piece piece;
    bool found;
    int n = 0;
    weft_status status;
    while ((status = weft_session_next(session, &piece, &error)) == WEFT_OK) n++;
    assert_int_equal(status, WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, "pulled the plug"));
    assert_int_equal(weft_session_next(session, &piece, &error), WEFT_DEVICE_LOST);
    CHECK(weft_session_poll(session, &piece, &found, &error));
    assert_false(found);
    return n;
}

static void save_and_go_on(weft_session *session, weft_engine *on) {
    static memory_file file;
    weft_error error = {0};
    weft_session_carried carried;
    weft_session *restored = NULL;
    CHECK(weft_session_save(session, NULL, &(weft_save_options){.write = memory_write, .user = &file}, &error));
    CHECK(weft_session_restore(on, NULL, &(weft_restore_options){.read = memory_read, .user = &file}, &restored, &carried, &error));
    assert_int_equal(carried.n_copied, 0);
    assert_goes_on_as_fresh(restored, on);
    weft_session_destroy(restored);
    memory_release(&file);
}

static void move_and_go_on(weft_session *session, weft_engine *on, size_t n_tokens) {
    weft_error error = {0};
    weft_session_carried carried;
    CHECK(weft_session_move(session, on, &carried, &error));
    assert_int_equal(carried.n_tokens, n_tokens);
    assert_int_equal(carried.n_copied, 0);
    assert_goes_on_as_fresh(session, on);
}

/* The n-th call from now on loses the device, in the middle of an answer; another session is idle. */
static void lose_by(mortal_call call, int n, weft_engine *processor) {
    weft_error error = {0};
    weft_token tokens[N_NEXT];
    weft_engine *on_mortal = create_on_mortal();
    weft_session *session = ask(on_mortal, 0), *idle = ask(on_mortal, 0), *fork = NULL;
    CHECK(weft_session_prefill(idle, &error));
    read_tokens(session, 2, tokens);
    mortal.calls_left[call] = n;
    size_t n_tokens = (size_t)n_prompt + 2;
    if (call == MORTAL_SUBMIT || call == MORTAL_WAIT) {
        n_tokens += (size_t)read_until_lost(session);
        CHECK(weft_session_fork(session, NULL, &fork, &error));
        save_and_go_on(session, processor);
    }
    move_and_go_on(session, processor, n_tokens);
    move_and_go_on(idle, processor, (size_t)n_prompt);
    weft_session_destroy(fork);
    weft_engine_destroy(on_mortal);
    weft_session_destroy(session);
    weft_session_destroy(idle);
}

/* The device that a session moves to is lost meanwhile: it stays where it is. */
static void lose_the_new_one(weft_engine *processor) {
    weft_error error = {0};
    weft_token tokens[N_NEXT];
    weft_engine *on_mortal = create_on_mortal();
    weft_session *session = ask(processor, WEFT_SHARE_NONE);
    read_tokens(session, 2, tokens);
    mortal.calls_left[MORTAL_WRITE] = 2;
    assert_int_equal(weft_session_move(session, on_mortal, NULL, &error), WEFT_DEVICE_LOST);
    assert_ptr_equal(session->engine, processor);
    assert_goes_on_as_fresh(session, processor);
    weft_engine_destroy(on_mortal);
    /* Opened again, the device can be used. */
    on_mortal = create_on_mortal();
    CHECK(weft_session_move(session, on_mortal, NULL, &error));
    read_tokens(session, 2, tokens);
    CHECK(weft_session_move(session, processor, NULL, &error));
    assert_int_equal(session->n_read, n_prompt + 2 + N_NEXT + 2);
    weft_session_destroy(session);
    weft_engine_destroy(on_mortal);
}

static void sessions_outlive_their_device(void **state) {
    (void)state;
    weft_engine *processor = create("cpu", PAGE);
    for (int null = 0; null < (strcmp(device_name, "cpu") == 0 ? 2 : 1); null++) {
        mortal_plant(runtime, null ? "null" : device_name);
        lose_by(MORTAL_SUBMIT, 3, processor);
        lose_by(MORTAL_WAIT, 1, processor);
        lose_by(MORTAL_READ, 2, processor);
        lose_the_new_one(processor);
    }
    weft_engine_destroy(processor);
}

/* ---- A device that is full ---- */

/* Adds tokens until a step needs a plan that was not made yet. Returns how many tokens the session has then. */
static size_t add_until_full(weft_session *session) {
    weft_error error = {0};
    size_t n_tokens = (size_t)n_prompt + 2;
    weft_status status = WEFT_OK;
    for (int32_t n = 1; n < 8 && status == WEFT_OK; n++) {
        add_question_tokens(session, 20 + (uint32_t)n, n);
        n_tokens += (size_t)n;
        status = weft_session_prefill(session, &error);
    }
    assert_int_equal(status, WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "the device is full"));
    assert_int_equal(weft_session_prefill(session, &error), WEFT_OUT_OF_MEMORY);
    return n_tokens;
}

/* A step for which there is no memory loses nothing: the session moves away, or goes on once there is memory. */
static void sessions_outlive_a_full_device(void **state) {
    (void)state;
    weft_error error = {0};
    weft_token tokens[N_NEXT];
    weft_session_carried carried;
    mortal_plant(runtime, device_name);
    weft_engine *processor = create("cpu", PAGE), *on_mortal = create_on_mortal();
    weft_session *moves = ask(on_mortal, WEFT_SHARE_NONE), *stays = ask(on_mortal, WEFT_SHARE_NONE);
    read_tokens(moves, 2, tokens);
    read_tokens(stays, 2, tokens);
    mortal.is_full = true;
    const size_t n_tokens = add_until_full(moves);
    CHECK(weft_session_move(moves, processor, &carried, &error));
    assert_int_equal(carried.n_tokens, n_tokens);
    assert_true(carried.n_copied > 0);
    assert_goes_on_as_fresh(moves, processor);
    add_until_full(stays);
    mortal.is_full = false;
    assert_goes_on_as_fresh(stays, on_mortal);
    weft_session_destroy(moves);
    weft_session_destroy(stays);
    weft_engine_destroy(on_mortal);
    weft_engine_destroy(processor);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, shape, mix, device_path("device_conversation"));
    engine = create(device_name, PAGE);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    return end_tiny(runtime, model, device_path("device_conversation"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    if (argc > 3) shape = argv[2], mix = argv[3];
    if (argc > 4) n_prompt = (int32_t)strtol(argv[4], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_go_back),
        cmocka_unit_test(forks_go_on_apart),
        cmocka_unit_test(common_beginnings_are_used),
        cmocka_unit_test(saved_sessions_go_on),
        cmocka_unit_test(moved_sessions_go_on),
        cmocka_unit_test(sessions_outlive_their_device),
        cmocka_unit_test(sessions_outlive_a_full_device),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
