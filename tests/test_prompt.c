/* Adding text to sessions: long texts are refused at once, and tokenising one holds up nobody but its own session. */
#include "engine_support.h"
#include "limited_allocator.h"

#define PATH "test_prompt.tmp"
#define HUGE_TEXT ((size_t)64 << 20)
#define HUGE_LIMIT_NS UINT64_C(2000000000) /* some 10 ms are usual; tokenising all of it takes 20 s */
#define HUGE_LIMIT_BYTES ((size_t)1 << 20)
#define PATIENCE_MS 10000 /* how long a thread waits for another: CI machines stall */

/* An allocator that runs a function in the middle of a call, at its n-th allocation. */
static limited_allocator limits;
static void (*at_allocation)(void);
static atomic_size_t allocations_left;

static void *allocate(void *user, size_t size, size_t alignment) {
    void *memory = limited_allocate(user, size, alignment);
    size_t left = atomic_load(&allocations_left);
    if (left > 0 && atomic_compare_exchange_strong(&allocations_left, &left, left - 1) && left == 1) at_allocation();
    return memory;
}

static void run_at_allocation(size_t n, void (*run)(void)) {
    at_allocation = run;
    atomic_store(&allocations_left, n);
}

static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine;
static weft_session *session, *other; /* of one engine */
static weft_error error;

static void open_sessions(int32_t n_ctx) {
    weft_engine_options options = {
        .device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = n_ctx, .n_cache = 1024, .n_sequences = 2};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    session = open_session(engine, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
    other = open_session(engine, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
}

static void close_sessions(void) {
    weft_session_destroy(session);
    weft_session_destroy(other);
    weft_engine_destroy(engine);
}

static size_t count_tokens(const weft_session *of) {
    const weft_token *tokens;
    size_t n;
    weft_session_tokens(of, &tokens, &n);
    return n;
}

/* ---- Texts that cannot fit ---- */

static void expect_refused(const char *what, weft_status (*add)(const char *text), const char *text) {
    size_t before = limits.live;
    limits.peak = before;
    uint64_t begin = weft_os_now();
    error.message[0] = 0;
    assert_int_equal(add(text), WEFT_INVALID_ARGUMENT);
    uint64_t ns = weft_os_now() - begin;
    size_t bytes = limits.peak - before;
    print_message("%s: %.1f ms, %zu bytes: %s\n", what, (double)ns / 1e6, bytes, error.message);
    assert_non_null(strstr(error.message, "of 1024"));
    assert_true(ns < HUGE_LIMIT_NS);
    assert_true(bytes < HUGE_LIMIT_BYTES);
    assert_int_equal(count_tokens(session), 0);
}

static weft_status add_plain(const char *text) {
    return weft_session_add_text(session, text, HUGE_TEXT, false, &error);
}

static weft_status add_special(const char *text) {
    return weft_session_add_text(session, text, HUGE_TEXT, true, &error);
}

static weft_status say_user(const char *text) {
    return weft_session_say(session, WEFT_USER, text, &error);
}

/* Fewer bytes than the longest special tokens could stand for, more than those of plain text could. */
static weft_status add_some(const char *text) {
    return weft_session_add_text(session, text, 1024 * 18, true, &error);
}

static void texts_that_cannot_fit_are_refused_at_once(void **state) {
    (void)state;
    static const char *const patterns[] = {"a", "a b c\n", "<|eot_id|>", "\xF0\x9F\x98\x80", " "};
    char *text = malloc(HUGE_TEXT + 1);
    assert_non_null(text);
    open_sessions(1024);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        size_t size = strlen(patterns[i]);
        for (size_t at = 0; at < HUGE_TEXT; at++) text[at] = patterns[i][at % size];
        text[HUGE_TEXT] = 0;
        expect_refused("plain", add_plain, text);
        expect_refused("special", add_special, text);
        expect_refused("said", say_user, text);
        if (i < 2) expect_refused("some", add_some, text);
    }
    free(text);
    /* The session has not changed. */
    CHECK(weft_session_say(session, WEFT_USER, "a", &error));
    close_sessions();
}

/* ---- Other calls go on ---- */

static weft_os_thread thread;
static atomic_bool is_over;
static weft_status thread_status;
static bool was_over;

static void wait_for_thread(void) {
    for (int ms = 0; ms < PATIENCE_MS && !atomic_load(&is_over); ms++) weft_os_sleep(1000000);
    was_over = atomic_load(&is_over);
}

static void start(void (*run)(void *)) {
    atomic_store(&is_over, false);
    assert_true(weft_os_thread_start(&thread, run, NULL));
}

static void next_of_other(void *user) {
    (void)user;
    weft_piece piece;
    thread_status = weft_session_next(other, &piece, NULL);
    atomic_store(&is_over, true);
}

static void let_other_go_on(void) {
    start(next_of_other);
    wait_for_thread();
}

static void another_session_goes_on(void **state) {
    (void)state;
    static char text[3001];
    memset(text, 'a', 3000);
    for (int how = 0; how < 3; how++) {
        open_sessions(2048);
        CHECK(weft_session_add_text(other, "b", 1, false, &error));
        was_over = false;
        run_at_allocation(2, let_other_go_on);
        if (how < 2)
            CHECK(weft_session_add_text(session, text, 3000, how == 1, &error));
        else
            CHECK(weft_session_say(session, WEFT_USER, text, &error));
        assert_int_equal(atomic_load(&allocations_left), 0);
        weft_os_thread_join(&thread);
        assert_true(was_over);
        CHECK(thread_status);
        assert_in_range(count_tokens(session), 1500, 1520);
        close_sessions();
    }
}

/* ---- The same session waits ---- */

static const weft_token added_token = 'z';

static void add_to_same(void *user) {
    (void)user;
    thread_status = weft_session_add_tokens(session, &added_token, 1, NULL);
    atomic_store(&is_over, true);
}

static void next_of_same(void *user) {
    (void)user;
    weft_piece piece;
    thread_status = weft_session_next(session, &piece, NULL);
    atomic_store(&is_over, true);
}

static void start_adding(void) {
    start(add_to_same);
    weft_os_sleep(20000000);
    was_over = atomic_load(&is_over);
}

static void start_next(void) {
    start(next_of_same);
    weft_os_sleep(20000000);
    was_over = atomic_load(&is_over);
}

static void the_same_session_waits(void **state) {
    (void)state;
    static void (*const others[])(void) = {start_adding, start_next};
    char text[500];
    const weft_token *tokens;
    size_t n;
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < 2; i++) {
        open_sessions(1024);
        CHECK(weft_session_add_text(session, "c", 1, false, &error));
        run_at_allocation(1, others[i]);
        CHECK(weft_session_add_text(session, text, sizeof text, false, &error));
        weft_os_thread_join(&thread);
        assert_false(was_over);
        CHECK(thread_status);
        weft_session_tokens(session, &tokens, &n);
        assert_int_equal(n, 1 + 250 + 1);
        assert_int_equal(tokens[0], 'c');
        for (size_t k = 2; k <= 250; k++) assert_int_equal(tokens[k], tokens[1]);
        if (i == 0) assert_int_equal(tokens[251], added_token);
        close_sessions();
    }
}

/* ---- Cancelling ---- */

static void cancel(void) {
    weft_session_cancel(session);
}

/* Nearly as many tokens as the session has positions, in one word. */
enum { LONG_CTX = 32768 };
static char long_text[2 * LONG_CTX - 200 + 1];

static weft_status add_long(weft_session *to, bool said) {
    if (said) return weft_session_say(to, WEFT_USER, long_text, &error);
    return weft_session_add_text(to, long_text, sizeof long_text - 1, false, &error);
}

static void begin_again(weft_session **again) {
    weft_session_destroy(*again);
    *again = open_session(engine, (weft_session_options){.sampling.max_tokens = 1, .sampling.ignore_end = true});
}

static void a_cancel_ends_a_long_text(void **state) {
    (void)state;
    weft_piece piece;
    memset(long_text, 'a', sizeof long_text - 1);
    open_sessions(LONG_CTX);
    for (int said = 0; said < 2; said++) {
        size_t before = limits.live;
        limits.peak = before;
        CHECK(add_long(other, said));
        size_t whole = limits.peak - before;
        for (size_t n = 1; n <= 8; n++) {
            limits.peak = before;
            run_at_allocation(n, cancel);
            assert_int_equal(add_long(session, said), WEFT_CANCELLED);
            size_t cancelled = limits.peak - before;
            print_message("%zu bytes for a whole text, %zu for one cancelled at allocation %zu\n", whole, cancelled, n);
            assert_true(cancelled < whole / (said ? 2 : 4)); /* a template holds a few copies of the text */
            assert_true(strlen(error.message) > 10);
            assert_int_equal(count_tokens(session), 0);
        }
        /* The cancel ended that text only; later calls go on. */
        CHECK(weft_session_add_text(session, "a", 1, false, &error));
        CHECK(weft_session_next(session, &piece, &error));
        assert_false(piece.last);
        begin_again(&session);
        begin_again(&other);
    }
    close_sessions();
}

static uint64_t delay_ns;

static void cancel_later(void *user) {
    (void)user;
    weft_os_sleep(delay_ns);
    weft_session_cancel(session);
}

static void start_cancelling(void) {
    assert_true(weft_os_thread_start(&thread, cancel_later, NULL));
}

/* A cancel at any time after a text was begun ends the text, or the answer after it. */
static void no_cancel_is_lost(void **state) {
    (void)state;
    enum { N = 40 };
    weft_piece piece;
    uint32_t random = 7;
    int n_cancelled = 0;
    print_message("seed %u\n", (unsigned)random);
    open_sessions(LONG_CTX);
    uint64_t begin = weft_os_now();
    CHECK(add_long(other, true));
    uint64_t span = weft_os_now() - begin;
    for (int i = 0; i < N; i++) {
        delay_ns = span * (next_random(&random) % 120) / 100;
        run_at_allocation(1, start_cancelling);
        weft_status status = add_long(session, true);
        weft_os_thread_join(&thread);
        if (status == WEFT_CANCELLED) {
            n_cancelled++;
            assert_int_equal(count_tokens(session), 0);
        } else {
            CHECK(status);
            CHECK(weft_session_next(session, &piece, &error));
            assert_true(piece.last && piece.finish == WEFT_FINISH_CANCELLED);
        }
        begin_again(&session);
    }
    print_message("%d of %d texts cancelled\n", n_cancelled, N);
    assert_true(n_cancelled > 0);
    close_sessions();
}

/* ---- Nothing where something is needed ---- */

static void what_is_missing_is_refused(void **state) {
    (void)state;
    weft_token token = 0;
    open_sessions(64);
    const weft_status refused[] = {
        weft_session_add_text(NULL, "a", 1, false, &error),     weft_session_add_text(session, NULL, 1, false, &error),
        weft_session_add_tokens(NULL, &token, 1, &error),       weft_session_add_tokens(session, NULL, 1, &error),
        weft_session_add_tokens(session, NULL, SIZE_MAX, NULL), weft_session_say(NULL, WEFT_USER, "a", &error),
        weft_session_say(session, WEFT_USER, NULL, &error),
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) assert_int_equal(refused[i], WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "weft_session_say"));
    for (int special = 0; special < 2; special++) CHECK(weft_session_add_text(session, NULL, 0, special, &error));
    CHECK(weft_session_add_tokens(session, NULL, 0, &error));
    const weft_token *tokens = &token;
    size_t n = 5;
    weft_session_tokens(NULL, &tokens, &n);
    assert_null(tokens);
    assert_int_equal(n, 0);
    weft_session_tokens(session, NULL, NULL);
    assert_int_equal(count_tokens(session), 1); /* the BOS */
    close_sessions();
}

static int setup(void **state) {
    (void)state;
    weft_allocator allocator = {.allocate = allocate, .release = limited_release, .user = &limits};
    CHECK(weft_runtime_create(&(weft_runtime_options){.allocator = &allocator}, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", PATH);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return remove(PATH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_cannot_fit_are_refused_at_once),
        cmocka_unit_test(another_session_goes_on),
        cmocka_unit_test(the_same_session_waits),
        cmocka_unit_test(a_cancel_ends_a_long_text),
        cmocka_unit_test(no_cancel_is_lost),
        cmocka_unit_test(what_is_missing_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
