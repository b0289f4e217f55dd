/* Whatever was said, answered, added and taken back in whatever order, a session can be saved, and the one that is restored behaves
 * alike ever after.
 *
 *     test_saved_order [SEED [STEPS]]
 */
#define PATH "test_saved_order.tmp"
#include "saved_support.h"

static uint32_t seed = 5;
static int n_steps = 160;
static weft_engine *engines[2];

static size_t count_messages(weft_session *session) {
    weft_message message;
    size_t n = 0;
    while (weft_session_message_at(session, n, &message)) n++;
    return n;
}

static weft_status read_some(weft_session *session, uint32_t n) {
    weft_piece piece = {.last = false};
    weft_status status = WEFT_OK;
    for (; n > 0 && status == WEFT_OK && !piece.last; n--) status = weft_session_next(session, &piece, &error);
    return status;
}

/* What the numbers say, with either of the two sessions. */
static weft_status act(weft_session *session, uint32_t what, uint32_t number) {
    static const char *const texts[] = {"so", "and then?", "it is", "no", "<think>a</think>b", " x "};
    const char *text = texts[number % 6];
    size_t n;
    switch (what) {
    case 0:
    case 1:
        return weft_session_say(session, number % 4 ? WEFT_USER : WEFT_ASSISTANT, text, &error);
    case 2:
        return weft_session_begin(session, text, &error);
    case 3:
    case 4:
        return read_some(session, number % 8);
    case 5:
        weft_session_tokens(session, NULL, &n);
        return weft_session_rewind(session, number % (n + 1), &error);
    case 6:
        return weft_session_rewind_messages(session, number % (count_messages(session) + 1), &error);
    case 7:
        return weft_session_add_text(session, text, strlen(text), false, &error);
    default:
        return weft_session_prefill(session, &error);
    }
}

static weft_session *begin_random(uint32_t *random) {
    /* A session's own n_ctx is not saved. */
    engine = engines[next_random(random) % 2];
    const weft_session_options options = {.when_full = next_random(random) % 2 ? WEFT_WHEN_FULL_DROP : WEFT_WHEN_FULL_STOP,
                                          .sampling = {.max_tokens = 5, .ignore_end = next_random(random) % 2, .temperature = 50}};
    weft_session *session = begin(templates[next_random(random) % N_TEMPLATES], options);
    if (next_random(random) % 2) CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
    return session;
}

static weft_session *save_and_restore(weft_session *session, int step) {
    weft_session *restored = NULL;
    bytes b = save(session, step % 2 == 0);
    if (restore_to(engine, &b, NULL, &restored, NULL)) fail_msg("seed %u, step %d: %s", (unsigned)seed, step, error.message);
    free(b.bytes);
    return restored;
}

static void assert_alike(weft_session *session, weft_session *other, int step) {
    const weft_token *tokens, *others;
    size_t n = session_tokens(session, &tokens), n_others = session_tokens(other, &others);
    if (n != n_others || (n > 0 && memcmp(tokens, others, n * sizeof *tokens) != 0))
        fail_msg("seed %u, step %d: other tokens after restoring: %zu, %zu", (unsigned)seed, step, n, n_others);
    if (count_messages(session) != count_messages(other)) fail_msg("seed %u, step %d: other messages", (unsigned)seed, step);
}

static void restored_sessions_behave_alike(void **state) {
    (void)state;
    uint32_t random = seed;
    weft_engine *usual = engine;
    weft_session *session = NULL, *restored = NULL;
    print_message("seed %u, %d steps\n", (unsigned)seed, n_steps);
    for (int i = 0; i < 2; i++)
        engines[i] = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = i ? 96 : 400, .n_sequences = 2});
    for (int step = 0; step < n_steps; step++) {
        if (step % 40 == 0) {
            weft_session_destroy(session);
            session = begin_random(&random);
        }
        const uint32_t what = next_random(&random) % 9, number = next_random(&random);
        const weft_status status = act(session, what, number);
        if (restored) assert_int_equal(act(restored, what, number), status);
        if (restored) assert_alike(session, restored, step);
        if (next_random(&random) % 3 == 0 || step % 40 == 39) {
            weft_session_destroy(restored);
            restored = NULL;
        }
        if (!restored && step % 40 != 39) restored = save_and_restore(session, step);
    }
    weft_session_destroy(session);
    weft_session_destroy(restored);
    for (int i = 0; i < 2; i++) weft_engine_destroy(engines[i]);
    engine = usual;
}

int main(int argc, char **argv) {
    if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2) n_steps = (int)strtol(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(restored_sessions_behave_alike)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
