/* Full contexts: what is told before, and conversations that lose their oldest turns. */
#define PATH "test_drop.tmp"
#include "say_support.h"

enum { N_CTX = 200, ROUNDS = 11, MAX_MESSAGES = 2 * ROUNDS + 2 };

/* The messages that the session should have. */
static struct {
    const char *role;
    char text[200];
} messages[MAX_MESSAGES];
static size_t n_messages, n_drops, n_dropped;

static void drop(void *user, size_t first, size_t n) {
    (void)user;
    assert_true(n > 0 && first + n <= n_messages);
    memmove(messages + first, messages + first + n, (n_messages - first - n) * sizeof *messages);
    n_messages -= n;
    n_dropped += n;
    n_drops++;
}

static void count_drop(void *user, size_t first, size_t n) {
    (void)user, (void)first;
    n_dropped += n;
    n_drops++;
}

static void remember(const char *role, const char *text) {
    messages[n_messages].role = role;
    snprintf(messages[n_messages++].text, sizeof messages->text, "%s", text);
}

static void assert_remembered(weft_session *session) {
    weft_message message;
    forget_said();
    for (size_t i = 0; i < n_messages; i++) note(messages[i].role, messages[i].text);
    assert_said(session, false);
    for (size_t i = 0; i < n_messages; i++) assert_true(weft_session_message_at(session, i, &message));
    assert_false(weft_session_message_at(session, n_messages, &message));
}

static weft_session *begin_dropping(const char *source, weft_session_options options) {
    n_messages = n_drops = n_dropped = 0;
    options.n_ctx = N_CTX;
    options.when_full = WEFT_WHEN_FULL_DROP;
    options.on_drop = drop;
    return begin(source, options);
}

static void say_remembered(weft_session *session, const char *text) {
    const size_t before = n_messages;
    CHECK(weft_session_say(session, WEFT_USER, text, &error)); /* this may drop */
    assert_true(n_messages <= before);
    remember("user", text);
    assert_remembered(session);
}

static void reply_remembered(weft_session *session, const char *text) {
    CHECK(weft_session_add_text(session, text, strlen(text), false, &error));
    remember("assistant", text);
}

static void the_oldest_turns_are_dropped(void **state) {
    (void)state;
    static const char *const with_system[] = {PLAIN, BARE};
    for (size_t i = 0; i < sizeof with_system / sizeof *with_system; i++) {
        weft_session *session = begin_dropping(with_system[i], (weft_session_options){.sampling.max_tokens = 30});
        CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
        remember("system", "be brief");
        for (int round = 0; round < ROUNDS; round++) {
            char text[64];
            const weft_token *tokens;
            snprintf(text, sizeof text, "question number %d\nof many", round);
            say_remembered(session, text);
            if (n_drops > 0) assert_true(session_tokens(session, &tokens) <= N_CTX - 30);
            snprintf(text, sizeof text, "answer %d", round);
            reply_remembered(session, text);
        }
        assert_true(n_drops > 1);
        assert_string_equal(messages[0].text, "be brief");
        assert_int_equal(n_messages + n_dropped, 2 * ROUNDS + 1);
        weft_session_destroy(session);
    }
}

/* Answers that the model gives, and sessions that go on with the same tokens as those that never had the dropped turns. */
static void answers_are_those_of_a_fresh_session(void **state) {
    (void)state;
    weft_piece piece;
    const weft_token *tokens;
    n_drops = 0;
    weft_session *session = begin(PLAIN, (weft_session_options){.n_ctx = N_CTX,
                                                                .when_full = WEFT_WHEN_FULL_DROP,
                                                                .on_drop = count_drop,
                                                                .sampling.max_tokens = 20,
                                                                .sampling.ignore_end = true});
    for (int round = 0; round < 6; round++) {
        CHECK(weft_session_say(session, WEFT_USER, "tell me some more about it", &error));
        if (round == 5) break;
        do CHECK(weft_session_next(session, &piece, &error));
        while (!piece.last);
    }
    assert_true(n_drops > 0);
    size_t n = session_tokens(session, &tokens);
    weft_session *fresh = open_session(engine, session->options);
    CHECK(weft_session_add_tokens(fresh, tokens, n, &error));
    for (bool last = false; !last;) {
        weft_piece other;
        CHECK(weft_session_next(session, &piece, &error));
        CHECK(weft_session_next(fresh, &other, &error));
        assert_int_equal(piece.token, other.token);
        last = piece.last;
    }
    weft_session_destroy(fresh);
    weft_session_destroy(session);
}

static void what_never_fits_drops_nothing(void **state) {
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    weft_session *session = begin_dropping(PLAIN, (weft_session_options){.sampling.max_tokens = 30});
    for (int round = 0; round < 3; round++) {
        say_remembered(session, "one question");
        reply_remembered(session, "an answer");
    }
    const size_t n_before = n_messages;
    for (size_t size = 400; size < sizeof text; size += 700) {
        text[size] = 0;
        weft_status status = weft_session_say(session, WEFT_USER, text, &error);
        text[size] = 'x';
        if (status == WEFT_OK) fail_msg("a text of %zu bytes fits", size);
        assert_int_equal(status, WEFT_INVALID_ARGUMENT);
        assert_int_equal(n_messages, n_before);
    }
    assert_int_equal(n_drops, 0);
    say_remembered(session, "and now");
    weft_session_destroy(session);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    weft_session *session = begin_dropping(PLAIN, (weft_session_options){.sampling.max_tokens = 30});
    while (n_drops == 0) {
        char text[] = "a question that is not too short";
        weft_status status = WEFT_OUT_OF_MEMORY;
        const size_t before = n_messages;
        for (size_t n = 1; status; n++) {
            limits.fail_at = limits.n_all + n;
            status = weft_session_say(session, WEFT_USER, text, &error);
            limits.fail_at = 0;
            assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
            if (status) assert_int_equal(n_messages, before);
        }
        remember("user", text);
        assert_remembered(session);
        reply_remembered(session, "yes");
    }
    weft_session_destroy(session);
}

static void a_piece_tells_the_room(void **state) {
    (void)state;
    weft_piece piece;
    weft_session *session = begin(PLAIN, (weft_session_options){.n_ctx = 24, .sampling.ignore_end = true});
    CHECK(weft_session_add_text(session, "h", 1, false, &error));
    for (size_t left = 22;; left--) {
        CHECK(weft_session_next(session, &piece, &error));
        if (piece.last) break;
        assert_int_equal(piece.n_left, left);
    }
    assert_int_equal(piece.n_left, 0);
    assert_int_equal(piece.finish, WEFT_FINISH_LENGTH);
    weft_session_destroy(session);
    weft_session *none = NULL;
    assert_int_equal(weft_session_create(engine, &(weft_session_options){.when_full = (weft_when_full)2}, &none, &error),
                     WEFT_INVALID_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_turns_are_dropped),  cmocka_unit_test(answers_are_those_of_a_fresh_session),
        cmocka_unit_test(what_never_fits_drops_nothing), cmocka_unit_test(survives_every_failing_allocation),
        cmocka_unit_test(a_piece_tells_the_room),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
