/* Sessions that share pages: forks, and common beginnings. The answers must be those of sessions that share nothing. */
#include "engine_support.h"
#include "limited_allocator.h"

#define PATH "test_share.tmp"
#define PAGE 16
#define PROMPT (4 * PAGE + 5)

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;

static weft_engine *create(weft_engine_options options, int32_t depth) {
    options.precision = WEFT_EXACT;
    options.page_size = PAGE;
    return create_on_cpu(model, options, depth);
}

static weft_session *open_greedy(weft_engine *engine, uint64_t group) {
    return open_session(engine, (weft_session_options){.sampling.ignore_end = true, .share_group = group});
}

static void read_tokens(weft_session *session, int n, weft_token *tokens) {
    weft_error error = {0};
    for (int i = 0; i < n; i++) {
        weft_piece piece;
        CHECK(weft_session_next(session, &piece, &error));
        assert_false(piece.last);
        tokens[i] = piece.token;
    }
}

/* What a session that shares nothing says after these tokens. */
static void read_alone(weft_engine *engine, const weft_session *like, int n, weft_token *tokens) {
    weft_error error = {0};
    const weft_token *held;
    size_t n_held;
    weft_session_tokens(like, &held, &n_held);
    weft_session *session = open_greedy(engine, WEFT_SHARE_NONE);
    CHECK(weft_session_add_tokens(session, held, n_held, &error));
    read_tokens(session, n, tokens);
    weft_session_destroy(session);
}

static weft_session_timing timing_of(const weft_session *session) {
    weft_session_timing timing;
    weft_session_measure(session, &timing);
    return timing;
}

/* Each page has as many users as sessions that have it, and no page is lost. */
static void assert_pages(weft_engine *engine) {
    weft_pages *pages = &engine->pages;
    int32_t n_used = 0;
    memset(pages->seen, 0, (size_t)pages->n_pages * sizeof *pages->seen);
    for (int32_t i = 0; i < engine->n_sessions; i++)
        for (int32_t k = engine->sessions[i]->n_passed; k < engine->sessions[i]->n_pages; k++)
            pages->seen[engine->sessions[i]->page_table[k]]++;
    for (int32_t i = 0; i < pages->n_pages; i++) {
        assert_int_equal(pages->seen[i], pages->n_users[i]);
        n_used += pages->n_users[i] > 0;
    }
    assert_int_equal(n_used + pages->n_waiting + weft_pages_available(pages), pages->n_pages);
}

/* ---- Forks ---- */

static void forks_go_on_apart(void **state) {
    (void)state;
    enum { N = 6 };
    weft_error error = {0};
    for (int64_t n_kept = -1; n_kept <= 0; n_kept++) {
        weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 3, .n_kept = n_kept}, 2);
        weft_session *session = open_greedy(engine, WEFT_SHARE_NONE), *copy = NULL;
        weft_token own[N], others[N], alone[N];
        add_question_tokens(session, 1, PROMPT);
        read_tokens(session, 3, own);
        int64_t n_free = pages_free(engine);
        CHECK(weft_session_fork(session, NULL, &copy, &error));
        assert_int_equal(pages_free(engine), n_free - 1);
        assert_int_equal(timing_of(copy).n_reused, PROMPT + 2);
        assert_pages(engine);
        read_tokens(session, N, own);
        read_tokens(copy, N, others);
        assert_memory_equal(own, others, sizeof own);
        assert_int_equal(timing_of(copy).n_prefill, 1);
        assert_pages(engine);
        /* The session goes back into a page that both have, and says something else. */
        CHECK(weft_session_rewind(session, 2 * PAGE + 3, &error));
        add_question_tokens(session, 2, 9);
        read_alone(engine, session, N, alone);
        read_tokens(session, N, own);
        assert_memory_equal(own, alone, sizeof own);
        assert_pages(engine);
        CHECK(weft_session_rewind(copy, PROMPT, &error));
        read_alone(engine, copy, N, alone);
        read_tokens(copy, N, others);
        assert_memory_equal(others, alone, sizeof others);
        weft_session_destroy(session);
        read_tokens(copy, N, own);
        weft_session_destroy(copy);
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        weft_engine_destroy(engine);
    }
}

static void forks_talk(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 512, .n_sequences = 3}, 1);
    weft_session *session = open_greedy(engine, 0), *copy = NULL, *full = NULL;
    weft_token tokens[5];
    const weft_token *held[2];
    size_t n[2];
    CHECK(weft_session_say(session, WEFT_SYSTEM, "be brief", &error));
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    CHECK(weft_session_begin(session, "It is", &error));
    read_tokens(session, 5, tokens);
    CHECK(weft_session_fork(session, &(weft_session_options){.sampling.ignore_end = true}, &copy, &error));
    assert_int_equal(weft_session_fork(session, &(weft_session_options){.n_ctx = 3}, &full, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "room for 3"));
    for (int i = 0; i < 2; i++) {
        CHECK(weft_session_say(i ? copy : session, WEFT_USER, "two", &error));
        CHECK(weft_session_rewind_messages(i ? copy : session, 2, &error));
        CHECK(weft_session_say(i ? copy : session, WEFT_USER, "three", &error));
        weft_session_tokens(i ? copy : session, &held[i], &n[i]);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(held[0], held[1], n[0] * sizeof *held[0]);
    assert_int_equal(weft_session_fork(NULL, NULL, &full, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_fork(session, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    const weft_render_options chat = {.tools = "[]"};
    assert_int_equal(weft_session_fork(session, &(weft_session_options){.chat = &chat}, &full, &error), WEFT_INVALID_ARGUMENT);
    CHECK(weft_session_fork(session, NULL, &full, &error));
    weft_session *none = NULL;
    assert_int_equal(weft_session_fork(session, NULL, &none, &error), WEFT_FULL);
    weft_session_destroy(full);
    weft_status status = WEFT_OUT_OF_MEMORY;
    for (size_t fail_at = 1; status != WEFT_OK; fail_at++) {
        size_t n_live = limits.n_live;
        limits.fail_at = limits.n_all + fail_at;
        status = weft_session_fork(session, NULL, &none, &error);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK ? fail_at > 8 : status == WEFT_OUT_OF_MEMORY && limits.n_live == n_live);
    }
    weft_session_destroy(none);
    weft_session_destroy(session);
    weft_session_destroy(copy);
    weft_engine_destroy(engine);
}

/* ---- Common beginnings ---- */

static uint64_t n_reused(weft_engine *engine, uint64_t group, uint32_t seed, int32_t n, int32_t n_other, weft_token *tokens) {
    weft_error error = {0};
    weft_token alone[4];
    weft_session *session = open_greedy(engine, group);
    add_question_tokens(session, seed, n);
    if (n_other > 0) add_question_tokens(session, seed + 100, n_other);
    if (tokens) read_alone(engine, session, 4, alone);
    CHECK(weft_session_prefill(session, &error));
    weft_session_timing timing = timing_of(session);
    assert_int_equal(timing.n_reused + timing.n_prefill, n + n_other);
    read_tokens(session, 4, tokens ? tokens : alone);
    if (tokens) assert_memory_equal(tokens, alone, sizeof alone);
    assert_pages(engine);
    weft_session_destroy(session);
    return timing.n_reused;
}

static void common_beginnings_are_computed_once(void **state) {
    (void)state;
    weft_token tokens[4];
    for (int32_t depth = 1; depth <= 2; depth++) {
        weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 2}, depth);
        weft_engine_info info;
        assert_int_equal(n_reused(engine, 0, 1, PROMPT, 0, NULL), 0);
        weft_engine_describe(engine, &info);
        assert_int_equal(info.n_pages_kept, 4);
        assert_int_equal(info.n_pages_free, info.n_pages);
        assert_int_equal(n_reused(engine, 0, 1, PROMPT, 0, tokens), 4 * PAGE);
        assert_int_equal(n_reused(engine, 0, 1, 2 * PAGE + 1, 40, tokens), 2 * PAGE);
        /* The last row always runs. */
        assert_int_equal(n_reused(engine, 0, 1, 4 * PAGE, 0, tokens), 3 * PAGE);
        assert_int_equal(n_reused(engine, 0, 2, PROMPT, 0, tokens), 0);
        assert_int_equal(n_reused(engine, 7, 1, PROMPT, 0, tokens), 0);
        assert_int_equal(n_reused(engine, 7, 1, PROMPT, 0, tokens), 4 * PAGE);
        assert_int_equal(n_reused(engine, WEFT_SHARE_NONE, 1, PROMPT, 0, tokens), 0);
        assert_int_equal(n_reused(engine, WEFT_SHARE_NONE, 1, PROMPT, 0, tokens), 0);
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        weft_engine_destroy(engine);
    }
}

/* Two sessions at once, and one that goes back and says the same again. */
static void sessions_share_while_they_live(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 3}, 1);
    weft_session *first = open_greedy(engine, 0), *second = open_greedy(engine, 0);
    weft_token own[4], others[4];
    add_question_tokens(first, 1, PROMPT);
    read_tokens(first, 4, own);
    add_question_tokens(second, 1, PROMPT);
    read_tokens(second, 4, others);
    assert_memory_equal(own, others, sizeof own);
    assert_int_equal(timing_of(second).n_reused, 4 * PAGE);
    assert_int_equal(engine->pages.n_pages - pages_free(engine), 4 + 2);
    CHECK(weft_session_rewind(first, PAGE + 1, &error));
    add_question_tokens(first, 3, PROMPT);
    read_alone(engine, first, 4, others);
    read_tokens(first, 4, own);
    assert_memory_equal(own, others, sizeof own);
    CHECK(weft_session_rewind(second, PROMPT, &error));
    read_alone(engine, second, 4, others);
    read_tokens(second, 4, own);
    assert_memory_equal(own, others, sizeof own);
    assert_pages(engine);
    weft_session_destroy(first);
    weft_session_destroy(second);
    weft_engine_destroy(engine);
}

/* A sequence gives up pages for another one, and some near its end are another sequence's, too: giving those frees nothing. */
static void shared_pages_free_nothing(void **state) {
    (void)state;
    enum { ANSWER = 60 };
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 192, .n_sequences = 2, .n_cache = 192}, 1);
    weft_session *session = open_greedy(engine, WEFT_SHARE_NONE), *second = open_greedy(engine, WEFT_SHARE_NONE);
    weft_token tokens[ANSWER + 4], alone[4];
    add_question_tokens(session, 1, 100);
    read_tokens(session, ANSWER, tokens); /* its tenure is over by now */
    const int32_t shared = session->page_table[session->n_pages - 2];
    weft_pages_share(&engine->pages, shared);
    add_question_tokens(second, 2, PROMPT - PAGE);
    read_tokens(second, 1, tokens + ANSWER);
    weft_pages_give(&engine->pages, shared, 0);
    weft_session_destroy(second);
    read_tokens(session, 4, tokens + ANSWER);
    CHECK(weft_session_rewind(session, 100 + ANSWER, &error));
    read_alone(engine, session, 4, alone);
    assert_memory_equal(tokens + ANSWER, alone, sizeof alone);
    weft_session_destroy(session);
    assert_int_equal(pages_free(engine), engine->pages.n_pages);
    weft_engine_destroy(engine);
}

/* A page that other tokens were written to is not found by its former ones. */
static void rewritten_pages_lose_their_names(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 3}, 1);
    weft_session *session = open_greedy(engine, 0);
    weft_token tokens[4];
    add_question_tokens(session, 1, PROMPT);
    read_tokens(session, 4, tokens);
    CHECK(weft_session_rewind(session, PAGE + 3, &error));
    add_question_tokens(session, 3, 3 * PAGE);
    read_tokens(session, 4, tokens);
    assert_int_equal(n_reused(engine, 0, 1, PROMPT, 0, tokens), PAGE);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* Kept pages have a bound, and are given up for others: those that were given first. */
static void kept_pages_are_bounded(void **state) {
    (void)state;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_kept = 3 * PAGE}, 1);
    n_reused(engine, 0, 1, PROMPT, 0, NULL);
    assert_int_equal(engine->pages.n_kept, 3);
    /* The last pages of a sequence go first. */
    assert_int_equal(n_reused(engine, 0, 1, PROMPT, 0, NULL), 3 * PAGE);
    weft_engine_destroy(engine);
    engine = create((weft_engine_options){.n_ctx = 256, .n_kept = -1}, 1);
    n_reused(engine, 0, 1, PROMPT, 0, NULL);
    assert_int_equal(n_reused(engine, 0, 1, PROMPT, 0, NULL), 0);
    weft_engine_destroy(engine);
    engine = create((weft_engine_options){.n_ctx = 256, .n_cache = 8 * PAGE}, 1);
    n_reused(engine, 0, 1, PROMPT, 0, NULL);
    n_reused(engine, 0, 2, 7 * PAGE, 0, NULL);
    assert_true(n_reused(engine, 0, 1, PROMPT, 0, NULL) <= PAGE);
    weft_engine_destroy(engine);
}

typedef struct heard {
    size_t n, next;
} heard;

static void hear(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    heard *h = user;
    (void)token, (void)top, (void)n_top;
    h->n++;
    h->next = index + 1;
}

/* Rows whose results a callback wants are computed. */
static void callbacks_get_every_row(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256}, 1);
    n_reused(engine, 0, 1, PROMPT, 0, NULL);
    heard h = {0};
    weft_session *session = open_session(engine, (weft_session_options){.on_prompt = hear, .user = &h});
    add_question_tokens(session, 1, PROMPT);
    CHECK(weft_session_prefill(session, &error));
    assert_int_equal(h.n, PROMPT - 1);
    assert_int_equal(h.next, PROMPT);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static void hear_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    heard *h = user;
    (void)logits, (void)n_vocab;
    if (h->n++ == 0) h->next = index;
}

/* A fork's callback gets what comes after the tokens, from the row of the last one on. */
static void forks_hear_what_comes_after(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 2, .logits = true}, 1);
    weft_token tokens[2];
    weft_session *session = open_greedy(engine, 0), *copy = NULL;
    add_question_tokens(session, 1, PROMPT);
    read_tokens(session, 2, tokens);
    heard h = {0};
    const weft_session_options options = {.sampling = {.max_tokens = 2, .ignore_end = true}, .on_logits = hear_logits, .user = &h};
    CHECK(weft_session_fork(session, &options, &copy, &error));
    read_tokens(copy, 2, tokens);
    assert_int_equal(h.next, PROMPT + 2 - 1);
    assert_int_equal(h.n, 2);
    weft_session_destroy(copy);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* Of an answer that ended by an end token. */
static void forks_of_ended_answers_are_over(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 2}, 1);
    int n_ended = 0;
    for (uint64_t seed = 0; seed < 40 && n_ended == 0; seed++) {
        weft_piece piece;
        weft_session *session = open_session(engine, (weft_session_options){.sampling = {.temperature = 50, .seed = seed}}), *copy;
        add_question_tokens(session, 1, 20);
        do CHECK(weft_session_next(session, &piece, &error));
        while (!piece.last);
        CHECK(weft_session_fork(session, NULL, &copy, &error));
        n_ended += piece.finish == WEFT_FINISH_STOP;
        if (piece.finish == WEFT_FINISH_STOP) assert_int_equal(weft_session_next(copy, &piece, &error), WEFT_INVALID_ARGUMENT);
        weft_session_destroy(copy);
        weft_session_destroy(session);
    }
    assert_true(n_ended > 0);
    weft_engine_destroy(engine);
}

static int setup(void **state) {
    (void)state;
    runtime = limited_runtime(&limits);
    model = open_synth(runtime, "tiny", "Q8_0", PATH);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    end_tiny(runtime, model, PATH);
    assert_int_equal(limits.n_live, 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forks_go_on_apart),
        cmocka_unit_test(forks_talk),
        cmocka_unit_test(common_beginnings_are_computed_once),
        cmocka_unit_test(sessions_share_while_they_live),
        cmocka_unit_test(shared_pages_free_nothing),
        cmocka_unit_test(rewritten_pages_lose_their_names),
        cmocka_unit_test(kept_pages_are_bounded),
        cmocka_unit_test(callbacks_get_every_row),
        cmocka_unit_test(forks_hear_what_comes_after),
        cmocka_unit_test(forks_of_ended_answers_are_over),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
