/* Answers with a grammar: they fit it, whatever the model prefers and wherever they are cut. */
#include "engine_support.h"
#include "limited_allocator.h"
#include "weft/grammar.h"

#include <math.h>

#define PATH "test_grammar_answers.tmp"

static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine, *other;
static weft_error error;

static weft_engine *create_engine(void) {
    weft_engine *created = NULL;
    CHECK(weft_engine_create(
        model,
        &(weft_engine_options){
            .device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = 96, .n_sequences = 2, .logits = true},
        &created, &error));
    return created;
}

static weft_grammar *create_grammar(const char *rules) {
    weft_grammar *grammar = NULL;
    CHECK(weft_grammar_create(model, rules ? WEFT_GRAMMAR_NOTATION : WEFT_GRAMMAR_JSON, rules ? rules : "",
                              rules ? strlen(rules) : 0, &grammar, &error));
    return grammar;
}

static weft_session *ask(weft_sampling_options sampling) {
    weft_session *session = open_session(engine, (weft_session_options){.sampling = sampling});
    CHECK(weft_session_add_text(session, "h", 1, false, &error));
    return session;
}

/* Reads the answer, and moves the session to another engine after `move_after` tokens. */
static weft_finish read_answer(weft_session *session, int move_after, answer *a) {
    weft_piece piece;
    *a = (answer){.n = 0};
    for (;;) {
        CHECK(weft_session_next(session, &piece, &error));
        if (piece.last) return piece.finish;
        keep_piece(a, &piece);
        if (a->n == move_after) CHECK(weft_session_move(session, other, NULL, &error));
    }
}

/* A matcher of its own accepts the answer, as a complete text. */
static void assert_fits(const weft_grammar *grammar, const answer *a, weft_finish finish, uint32_t seed) {
    weft_matcher *matcher = NULL;
    CHECK(weft_matcher_create(grammar, &matcher, &error));
    for (int32_t i = 0; i < a->n; i++)
        if (weft_matcher_accept(matcher, a->tokens[i], &error) != WEFT_OK)
            fail_msg("seed %u, token %d: %s", seed, (int)i, error.message);
    if (!weft_matcher_may_end(matcher)) fail_msg("seed %u: the text is not complete", seed);
    assert_true(finish == WEFT_FINISH_STOP || finish == WEFT_FINISH_LENGTH || finish == WEFT_FINISH_GRAMMAR);
    assert_true(!weft_matcher_must_end(matcher) || finish == WEFT_FINISH_GRAMMAR);
    weft_matcher_destroy(matcher);
}

/* 0: changes nothing, 1: wants an end token at once, 2: forbids every token, 3: gives no numbers */
static bool disturb(void *user, const weft_token *tokens, size_t n_tokens, float *logits, size_t n_vocab) {
    (void)tokens, (void)n_tokens;
    int kind = *(const int *)user;
    for (size_t i = 0; i < n_vocab && kind > 0; i++) {
        if (kind == 1 && weft_token_ends(model, (weft_token)i)) logits[i] = INFINITY;
        if (kind > 1) logits[i] = kind == 2 ? -INFINITY : NAN;
    }
    return true;
}

static void answers_fit_the_grammar(void **state) {
    (void)state;
    static const char *const grammars[] = {NULL, "root ::= \"yes\" | \"no\"", "root ::= [a-z]{3} (\", \" [0-9]{2,9})*"};
    int n_finishes[16] = {0};
    for (size_t g = 0; g < sizeof grammars / sizeof *grammars; g++) {
        weft_grammar *grammar = create_grammar(grammars[g]);
        for (uint32_t seed = 0; seed < 6; seed++) {
            int kind = (int)(seed % 4);
            answer a;
            weft_session *session = ask((weft_sampling_options){.max_tokens = 8 + (int32_t)seed * 2,
                                                                .temperature = seed % 3 ? 1.5f : 0.0f,
                                                                .seed = seed,
                                                                .hook = disturb,
                                                                .hook_user = &kind,
                                                                .grammar = grammar});
            weft_finish finish = read_answer(session, seed % 2 ? 4 : -1, &a);
            assert_fits(grammar, &a, finish, seed);
            n_finishes[finish]++;
            /* The next answer begins the grammar anew. */
            if (finish != WEFT_FINISH_STOP) assert_fits(grammar, &a, read_answer(session, -1, &a), seed);
            weft_session_destroy(session);
        }
        weft_grammar_destroy(grammar);
    }
    print_message("ends: %d by an end token, %d by max_tokens, %d by the grammar\n", n_finishes[WEFT_FINISH_STOP],
                  n_finishes[WEFT_FINISH_LENGTH], n_finishes[WEFT_FINISH_GRAMMAR]);
    assert_true(n_finishes[WEFT_FINISH_STOP] && n_finishes[WEFT_FINISH_LENGTH] && n_finishes[WEFT_FINISH_GRAMMAR]);
}

/* A text that cannot be complete is told before the first token. */
static void too_few_tokens_are_refused(void **state) {
    (void)state;
    weft_piece piece;
    weft_grammar *grammar = create_grammar("root ::= [0-9]{40}");
    weft_session *session = ask((weft_sampling_options){.max_tokens = 5, .grammar = grammar});
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "grammar"));
    }
    CHECK(weft_session_set_sampling(session, &(weft_sampling_options){.max_tokens = 50, .grammar = grammar}, &error));
    answer a;
    assert_int_equal(read_answer(session, -1, &a), WEFT_FINISH_GRAMMAR);
    CHECK(weft_session_set_sampling(session, &(weft_sampling_options){.grammar = grammar}, &error));
    CHECK(weft_session_add_text(session, "abcdefghijklmnopqrstuvwxyz0123456789", 36, false, &error));
    assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT); /* n_ctx */
    weft_session_destroy(session);
    weft_grammar_destroy(grammar);
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    weft_model *second = NULL;
    weft_engine *plain = NULL;
    weft_session *session = NULL;
    weft_grammar *foreign = NULL, *grammar = create_grammar(NULL);
    CHECK(weft_model_open(runtime, PATH, &second, &error));
    CHECK(weft_grammar_create(second, WEFT_GRAMMAR_JSON, "", 0, &foreign, &error));
    CHECK(weft_engine_create(model, &(weft_engine_options){.device = "cpu", .n_ctx = 32}, &plain, &error));
    assert_int_equal(weft_session_create(plain, &(weft_session_options){.sampling.grammar = grammar}, &session, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "logits"));
    assert_int_equal(weft_session_create(engine, &(weft_session_options){.sampling.grammar = foreign}, &session, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "another model"));
    assert_int_equal(weft_session_create(engine, &(weft_session_options){.sampling = {.grammar = grammar, .ignore_end = true}},
                                         &session, &error),
                     WEFT_INVALID_ARGUMENT);
    weft_engine_destroy(plain);
    weft_grammar_destroy(foreign);
    weft_grammar_destroy(grammar);
    weft_model_close(second);
}

/* Memory that ends while an answer is chosen fails the call, and a later one goes on. */
static void allocations_can_fail_in_an_answer(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *limited = limited_runtime(&limits);
    weft_model *opened = NULL;
    weft_engine *small = NULL;
    weft_grammar *grammar = NULL;
    size_t n_failed = 0;
    CHECK(weft_model_open(limited, PATH, &opened, &error));
    CHECK(weft_engine_create(opened,
                             &(weft_engine_options){.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64, .logits = true},
                             &small, &error));
    for (size_t fail_at = 1;; fail_at++) {
        weft_session *session = NULL;
        weft_piece piece = {.last = false};
        weft_status first = WEFT_OK;
        /* A new one each time, because a grammar keeps the masks that it has made. */
        CHECK(weft_grammar_create(opened, WEFT_GRAMMAR_JSON, "", 0, &grammar, &error));
        limits.n_all = 0;
        limits.fail_at = fail_at;
        weft_session_options options = {.sampling = {.max_tokens = 2, .grammar = grammar}};
        first = weft_session_create(small, &options, &session, &error);
        if (first == WEFT_OK) first = weft_session_add_text(session, "h", 1, false, &error);
        for (int n = 0; first == WEFT_OK && !piece.last; n++) first = weft_session_next(session, &piece, &error);
        limits.fail_at = 0;
        if (first != WEFT_OK) assert_int_equal(first, WEFT_OUT_OF_MEMORY);
        while (session && first != WEFT_OK && session->n_tokens > 0 && !piece.last)
            CHECK(weft_session_next(session, &piece, &error));
        weft_session_destroy(session);
        weft_grammar_destroy(grammar);
        if (first == WEFT_OK) break;
        n_failed++;
    }
    assert_true(n_failed > 10);
    weft_engine_destroy(small);
    weft_model_close(opened);
    weft_runtime_destroy(limited);
    assert_int_equal(limits.n_live, 0);
}

static int setup(void **state) {
    (void)state;
    begin_tiny(&runtime, &model, PATH);
    engine = create_engine();
    other = create_engine();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    weft_engine_destroy(other);
    return end_tiny(runtime, model, PATH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_fit_the_grammar),
        cmocka_unit_test(too_few_tokens_are_refused),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(allocations_can_fail_in_an_answer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
