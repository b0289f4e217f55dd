/* Going back: the tokens, the conversation and the answers after it are those of a session that never went further.
 *     test_rewind [seed [steps]]
 */
#define PATH "test_rewind.tmp"
#include "say_support.h"

#define MAX_MESSAGES 64
#define MAX_TOKENS 900
#define EXTENDING 2 /* the first templates write every text as the beginning of the next */

static uint32_t seed = 20261129;
static int n_steps = 120;

/* ---- Tokens ---- */

static void add(weft_session *session, const char *text) {
    CHECK(weft_session_add_text(session, text, strlen(text), false, &error));
}

static weft_token next_token(weft_session *session) {
    weft_piece piece;
    do CHECK(weft_session_next(session, &piece, &error));
    while (piece.last);
    return piece.token;
}

static void tokens_after_going_back(void **state) {
    (void)state;
    enum { N = 70, ANSWER_SIZE = 12 };
    const weft_token *tokens;
    weft_token chosen[ANSWER_SIZE];
    char text[N + 1];
    memset(text, 'k', N);
    text[N] = 0;
    weft_session *session = open_session(engine, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
    add(session, text);
    size_t n_prompt = session_tokens(session, &tokens);
    for (int i = 0; i < ANSWER_SIZE; i++) chosen[i] = next_token(session);
    uint32_t random = seed;
    for (int round = 0; round < 8; round++) {
        size_t n = 1 + next_random(&random) % (n_prompt + ANSWER_SIZE), held = session_tokens(session, &tokens);
        uint64_t before = n_prefilled(session);
        weft_status status = weft_session_rewind(session, n, &error);
        assert_int_equal(status, n <= held ? WEFT_OK : WEFT_INVALID_ARGUMENT);
        if (n > held) continue;
        assert_int_equal(session_tokens(session, &tokens), n);
        for (size_t i = n < n_prompt ? n_prompt : n; n >= n_prompt && i < n_prompt + ANSWER_SIZE; i++)
            assert_int_equal(next_token(session), chosen[i - n_prompt]);
        CHECK(weft_session_rewind(session, n, &error));
        assert_goes_on(session);
        /* Nothing but the last row has been run again. */
        if (n < n_prompt) assert_true(n_prefilled(session) <= before + 1);
        CHECK(weft_session_rewind(session, n, &error));
        CHECK(weft_session_add_tokens(session, tokens, n < n_prompt ? n_prompt - n : 0, &error));
    }
    CHECK(weft_session_rewind(session, 0, &error));
    assert_int_equal(session_tokens(session, &tokens), 0);
    weft_piece piece;
    assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT);
    assert_false(weft_session_active(session));
    weft_session_destroy(session);
}

/* A prompt of which nothing has run, some, or all. */
static void prompts_that_wait(void **state) {
    (void)state;
    for (size_t n = 0; n < 90; n += 29) {
        const weft_token *tokens;
        weft_session *session = open_session(engine, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
        add(session, "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s");
        if (n > 30) CHECK(weft_session_prefill(session, &error));
        CHECK(weft_session_rewind(session, n, &error));
        CHECK(weft_session_prefill(session, &error));
        assert_false(weft_session_active(session));
        assert_int_equal(session_tokens(session, &tokens), n);
        if (n > 0) assert_goes_on(session);
        weft_session_destroy(session);
    }
}

/* ---- Messages ---- */

typedef struct known_message {
    weft_role role;
    bool answer;
    size_t n_begun; /* the session's tokens after the beginning of an answer was given; 0: it was not */
    char begun[64], text[512];
    size_t n_tokens; /* of the session then */
    weft_token tokens[MAX_TOKENS];
} known_message;

static known_message known[MAX_MESSAGES];
static size_t n_known;

static known_message *last_known(void) {
    return n_known > 0 ? &known[n_known - 1] : NULL;
}

static void note_known(void) {
    static const char *const roles[] = {"system", "user", "assistant"};
    forget_said();
    for (size_t i = 0; i < n_known; i++) note(roles[known[i].role], known[i].text);
}

static void keep_tokens(const weft_session *session) {
    const weft_token *tokens;
    known_message *last = last_known();
    last->n_tokens = session_tokens(session, &tokens);
    assert_true(last->n_tokens <= MAX_TOKENS);
    memcpy(last->tokens, tokens, last->n_tokens * sizeof *tokens);
}

static void assert_text(weft_session *session, size_t index, const char *expected) {
    char text[600];
    size_t size = 0;
    CHECK(weft_session_message_text(session, index, text, sizeof text - 1, &size, &error));
    text[size] = 0;
    assert_string_equal(text, expected);
}

static void assert_known(weft_session *session, bool is_cut) {
    weft_message message;
    for (size_t i = 0; i < n_known; i++) {
        assert_true(weft_session_message_at(session, i, &message));
        assert_int_equal(message.role, known[i].role);
        assert_true(message.first <= message.end);
        assert_text(session, i, known[i].text);
    }
    assert_false(weft_session_message_at(session, n_known, &message));
    assert_int_equal(weft_session_message_text(session, n_known, NULL, 0, &message.end, &error), WEFT_INVALID_ARGUMENT);
    if (is_cut || n_known == 0 || last_known()->answer || last_known()->role == WEFT_SYSTEM) return;
    note_known();
    assert_said(session, false);
}

static const char *random_text(uint32_t *random) {
    static const char *const parts[] = {"it", " is", "<|eot_id|>", "<think>", "</think>", "\n", " ", "###", "so"};
    static char text[64];
    text[0] = 0;
    for (uint32_t n = next_random(random) % 4; n > 0; n--) strcat(text, parts[next_random(random) % 9]);
    return text;
}

static void say_known(weft_session *session, weft_role role, const char *text) {
    known_message *m = &known[n_known++];
    *m = (known_message){.role = role};
    strcpy(m->text, text);
    CHECK(weft_session_say(session, role, text, &error));
    keep_tokens(session);
}

static void answer_known(weft_session *session, const char *text) {
    if (!last_known()->answer) known[n_known++] = (known_message){.role = WEFT_ASSISTANT, .answer = true};
    strcat(last_known()->text, text);
    add(session, text);
    keep_tokens(session);
}

static void begin_known(weft_session *session, const char *text) {
    known_message *m = &known[n_known++];
    *m = (known_message){.role = WEFT_ASSISTANT, .answer = true};
    CHECK(weft_session_begin(session, text, &error));
    strcpy(m->begun, weft_conversation_last(&session->conversation)->begun);
    strcpy(m->text, m->begun);
    keep_tokens(session);
    m->n_begun = m->n_tokens;
}

static void go_back_to_messages(weft_session *session, uint32_t kind, uint32_t *random) {
    const weft_token *tokens;
    n_known = next_random(random) % (n_known + 1);
    CHECK(weft_session_rewind_messages(session, n_known, &error));
    size_t n = session_tokens(session, &tokens);
    if (n_known == 0) assert_int_equal(n, 0);
    /* An answer that was rewritten is then a message that was said. */
    if (n_known > 0 && session->chat_state == WEFT_CHAT_SAID) last_known()->answer = false;
    if (kind >= EXTENDING || n_known == 0) return;
    assert_int_equal(n, last_known()->n_tokens);
    assert_memory_equal(tokens, last_known()->tokens, n * sizeof *tokens);
}

/* Returns whether a message has lost its end. */
static bool go_back_to_tokens(weft_session *session, bool was_cut, uint32_t *random) {
    const weft_token *tokens;
    weft_message message = {.first = 0};
    size_t n = next_random(random) % (session_tokens(session, &tokens) + 1), size = 0, i = 0;
    while (i < n_known && weft_session_message_at(session, i, &message) && message.end <= n) i++;
    bool keeps = i < n_known && known[i].answer && n > message.first && n >= known[i].n_begun;
    bool is_cut = i < n_known && n > message.first && !keeps;
    CHECK(weft_session_rewind(session, n, &error));
    if (i == n_known && was_cut) is_cut = n > (i > 0 ? message.end : 0);
    n_known = i;
    if (!keeps) return is_cut;
    known_message *m = &known[n_known++];
    size_t first = m->n_begun ? m->n_begun : message.first;
    char rest[512];
    session_tokens(session, &tokens);
    CHECK(weft_detokenize(model, tokens + first, n - first, false, rest, sizeof rest - 1, &size, &error));
    rest[size] = 0;
    strcpy(m->text, m->begun);
    strcat(m->text, rest);
    keep_tokens(session);
    return false;
}

/* Two messages with no answer between them: the first is not followed by the beginning of an answer any more. */
static bool any_stale(const weft_session *session) {
    const weft_conversation *c = &session->conversation;
    for (size_t i = 0; i < c->n_turns; i++)
        if (c->turns[i].stale) return true;
    return false;
}

/* Whatever is said, added, begun and taken back in whatever order, with templates that rewrite earlier messages too. */
static void any_order(void **state) {
    (void)state;
    uint32_t random = seed, kind = 0;
    print_message("seed %u, %d steps\n", (unsigned)seed, n_steps);
    static const char *const sources[] = {PLAIN, BARE, TRIMS, FORGETS};
    const weft_token *tokens;
    weft_session *session = NULL;
    bool is_cut = false;
    int n_cuts = 0;
    for (int step = 0; step < n_steps; step++) {
        if (!session || session_tokens(session, &tokens) > MAX_TOKENS - 200 || n_known + 1 >= MAX_MESSAGES || step % 50 == 0) {
            weft_session_destroy(session);
            kind = next_random(&random) % 4;
            session = begin(sources[kind], (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
            n_known = 0;
            if (next_random(&random) % 2) say_known(session, WEFT_SYSTEM, "be brief");
            is_cut = false;
            say_known(session, WEFT_USER, "what");
        }
        const char *text = random_text(&random);
        uint32_t what = next_random(&random) % 8;
        bool can_answer = !is_cut && n_known > 0 && last_known()->role != WEFT_SYSTEM;
        if (what < 3) {
            if (can_answer && !last_known()->answer && next_random(&random) % 8) answer_known(session, "so");
            say_known(session, next_random(&random) % 5 ? WEFT_USER : WEFT_ASSISTANT, text);
            is_cut = false;
        } else if (what == 3 && can_answer && *text) {
            answer_known(session, text);
        } else if (what == 4 && can_answer && !last_known()->answer && strpbrk(text, "its#<")) {
            begin_known(session, text);
        } else if (what == 5) {
            go_back_to_messages(session, kind, &random);
            is_cut = false;
        } else if (what == 6 && kind < EXTENDING && !any_stale(session)) {
            n_cuts++;
            is_cut = go_back_to_tokens(session, is_cut, &random);
        } else {
            CHECK(weft_session_prefill(session, &error));
        }
        assert_known(session, is_cut);
        if (step % 16 == 0 && session_tokens(session, &tokens) > 0) {
            assert_goes_on(session);
            weft_session_destroy(session);
            session = NULL;
        }
    }
    weft_session_destroy(session);
    print_message("back to a number of tokens %d times\n", n_cuts);
    assert_true(n_cuts > 0);
}

/* The same answer again, also to a message of which the template has rewritten the answer. */
static void an_answer_is_tried_again(void **state) {
    (void)state;
    static const char *const sources[] = {PLAIN, FORGETS, NO_SYSTEM};
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        weft_session *session = begin(sources[i], (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
        const weft_token *tokens;
        weft_token first[4], second[4];
        CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
        assert_text(session, 0, "be brief");
        CHECK(weft_session_say(session, WEFT_USER, "one \"\\\1\n", &error));
        assert_text(session, 0, "be brief");
        assert_text(session, 1, "one \"\\\1\n");
        CHECK(weft_session_rewind_messages(session, 1, &error));
        assert_text(session, 0, "be brief");
        CHECK(weft_session_say(session, WEFT_USER, "one", &error));
        for (int k = 0; k < 4; k++) first[k] = next_token(session);
        add(session, "<think>no</think>");
        CHECK(weft_session_say(session, WEFT_USER, "two", &error));
        for (int k = 0; k < 4; k++) second[k] = next_token(session);
        CHECK(weft_session_say(session, WEFT_USER, "three", &error));
        CHECK(weft_session_rewind_messages(session, 4, &error));
        for (int k = 0; k < 4; k++) assert_int_equal(next_token(session), second[k]);
        CHECK(weft_session_rewind_messages(session, 2, &error));
        for (int k = 0; k < 4; k++) assert_int_equal(next_token(session), first[k]);
        /* The system message waits again for the first user's. */
        CHECK(weft_session_rewind_messages(session, 1, &error));
        assert_int_equal(session_tokens(session, &tokens), 0);
        CHECK(weft_session_say(session, WEFT_USER, "one", &error));
        for (int k = 0; k < 4; k++) assert_int_equal(next_token(session), first[k]);
        CHECK(weft_session_rewind_messages(session, 0, &error));
        forget_said();
        note("user", i == 2 ? "be short\n\none" : "one");
        if (i == 2) CHECK(weft_session_say(session, WEFT_SYSTEM, "be short", &error));
        CHECK(weft_session_say(session, WEFT_USER, "one", &error));
        assert_tokens(session, false);
        assert_int_equal(weft_session_rewind_messages(session, 7, &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "fewer than 7"));
        weft_session_destroy(session);
    }
}

/* An answer that the model ended still is over after a rewind to its end, and goes on before it. */
static void ends_of_answers(void **state) {
    (void)state;
    int n_ends = 0;
    for (uint64_t i = 0; i < 300 && n_ends < 1; i++) {
        weft_session *session =
            begin(PLAIN, (weft_session_options){.sampling.max_tokens = 30, .sampling.temperature = 50, .sampling.seed = i});
        weft_piece piece;
        weft_message message;
        const weft_token *tokens;
        CHECK(weft_session_say(session, WEFT_USER, "what", &error));
        do CHECK(weft_session_next(session, &piece, &error));
        while (!piece.last);
        size_t n = session_tokens(session, &tokens);
        CHECK(weft_session_say(session, WEFT_USER, "so", &error));
        assert_true(weft_session_message_at(session, 2, &message));
        if (piece.finish == WEFT_FINISH_STOP && message.first == n) {
            static weft_token kept[MAX_TOKENS];
            size_t n_all = session_tokens(session, &tokens), n_again;
            memcpy(kept, tokens, n_all * sizeof *tokens);
            n_ends++;
            CHECK(weft_session_rewind(session, n, &error));
            assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT);
            CHECK(weft_session_say(session, WEFT_USER, "so", &error));
            n_again = session_tokens(session, &tokens);
            assert_int_equal(n_again, n_all);
            assert_memory_equal(tokens, kept, n_all * sizeof *tokens);
            CHECK(weft_session_rewind(session, n - 1, &error));
            CHECK(weft_session_next(session, &piece, &error));
        }
        weft_session_destroy(session);
    }
    print_message("%d answers ended\n", n_ends);
    assert_true(n_ends > 0);
}

/* What was read of an answer, begun or not, is the answer; what was chosen ahead of the reader is forgotten. */
static void a_message_in_the_middle_of_an_answer(void **state) {
    (void)state;
    for (size_t n = 0; n < 8; n++) {
        const weft_token *tokens, *others;
        weft_session *sessions[2];
        weft_token read[4];
        for (int i = 0; i < 2; i++) {
            sessions[i] = begin(PLAIN, (weft_session_options){.sampling.ignore_end = true});
            CHECK(weft_session_say(sessions[i], WEFT_USER, "one", &error));
            if (n >= 4) CHECK(weft_session_begin(sessions[i], "It is", &error));
            for (size_t k = 0; i == 0 && k < n % 4; k++) read[k] = next_token(sessions[0]);
            if (i == 1) CHECK(weft_session_add_tokens(sessions[1], read, n % 4, &error));
            CHECK(weft_session_say(sessions[i], WEFT_USER, "two", &error));
        }
        size_t n_tokens = session_tokens(sessions[0], &tokens);
        assert_int_equal(n_tokens, session_tokens(sessions[1], &others));
        assert_memory_equal(tokens, others, n_tokens * sizeof *tokens);
        weft_session_destroy(sessions[0]);
        weft_session_destroy(sessions[1]);
    }
}

/* A restored session goes back as the one that was saved. */
static void after_restoring(void **state) {
    (void)state;
    const weft_token *tokens, *others;
    weft_session *session = begin(FORGETS, (weft_session_options){.sampling.ignore_end = true}), *other = NULL;
    CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    CHECK(weft_session_begin(session, "<think>so", &error));
    add(session, "</think>it is");
    CHECK(weft_session_say(session, WEFT_USER, "two", &error));
    CHECK(weft_session_save(session, PATH ".saved", NULL, &error));
    CHECK(weft_session_restore(engine, PATH ".saved", NULL, &other, NULL, &error));
    remove(PATH ".saved");
    for (size_t n = 5; n-- > 0;) {
        CHECK(weft_session_rewind_messages(session, n, &error));
        CHECK(weft_session_rewind_messages(other, n, &error));
        size_t n_tokens = session_tokens(session, &tokens);
        assert_int_equal(n_tokens, session_tokens(other, &others));
        assert_memory_equal(tokens, others, n_tokens * sizeof *tokens);
    }
    weft_session_destroy(session);
    weft_session_destroy(other);
}

/* ---- Failures ---- */

static void failing_allocations(void **state) {
    (void)state;
    const weft_token *tokens;
    weft_session *session = begin(FORGETS, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
    say(session, WEFT_USER, "one");
    reply(session, "<think>a</think>b");
    CHECK(weft_session_say(session, WEFT_USER, "two", &error));
    size_t n = session_tokens(session, &tokens);
    weft_status status = WEFT_OUT_OF_MEMORY;
    for (size_t fail_at = 1; status != WEFT_OK; fail_at++) {
        limits.fail_at = limits.n_all + fail_at;
        status = weft_session_rewind_messages(session, 2, &error);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK ? fail_at > 3 : status == WEFT_OUT_OF_MEMORY);
        if (status != WEFT_OK) assert_int_equal(session_tokens(session, &tokens), n);
    }
    say(session, WEFT_USER, "three");
    assert_tokens(session, false);
    weft_session_destroy(session);
}

static void null_is_refused(void **state) {
    (void)state;
    weft_message message = {.first = 3};
    weft_session *session = open_session(engine, (weft_session_options){.n_ctx = 8});
    assert_int_equal(weft_session_rewind(NULL, 0, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_rewind_messages(NULL, 0, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_rewind(session, 1, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "holds 0"));
    assert_int_equal(weft_session_rewind(session, SIZE_MAX, &error), WEFT_INVALID_ARGUMENT);
    assert_false(weft_session_message_at(NULL, 0, &message));
    assert_int_equal(message.first, 0);
    assert_false(weft_session_message_at(session, 0, NULL));
    assert_false(weft_session_message_at(session, 0, &message));
    CHECK(weft_session_rewind_messages(session, 0, &error));
    weft_session_destroy(session);
    size_t size = 3;
    session = begin(PLAIN, (weft_session_options){.n_ctx = 100});
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    assert_int_equal(weft_session_message_text(NULL, 0, NULL, 0, &size, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_message_text(session, 0, NULL, 0, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_message_text(session, 0, NULL, 1, &size, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_message_text(session, 1, NULL, 0, &size, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(size, 3);
    char text[3] = "??";
    CHECK(weft_session_message_text(session, 0, NULL, 0, &size, &error));
    assert_int_equal(size, 3);
    CHECK(weft_session_message_text(session, 0, text, 1, &size, &error));
    assert_string_equal(text, "o?");
    weft_session_destroy(session);
}

int main(int argc, char **argv) {
    if (argc > 1) seed = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2) n_steps = atoi(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_after_going_back),
        cmocka_unit_test(prompts_that_wait),
        cmocka_unit_test(an_answer_is_tried_again),
        cmocka_unit_test(ends_of_answers),
        cmocka_unit_test(any_order),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(null_is_refused),
        cmocka_unit_test(a_message_in_the_middle_of_an_answer),
        cmocka_unit_test(after_restoring),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
