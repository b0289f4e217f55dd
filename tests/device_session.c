/* Sessions: log-probabilities against the logits they come from, ends of answers, chats, sampling. */
#include "device_support.h"
#include "engine_support.h"

#include <math.h>

static weft_runtime *runtime;
static weft_model *model;

static weft_engine *create(weft_engine_options options) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = device_name;
    options.device_options.n_threads = 1;
    options.precision = WEFT_EXACT;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

static size_t count_tokens(const weft_session *session) {
    const weft_token *tokens;
    size_t n;
    weft_session_tokens(session, &tokens, &n);
    return n;
}

/* ---- Log-probabilities ---- */

#define N_POSITIONS 60
#define MOST_TOP 5

typedef struct seen {
    size_t n_logits, n_prompt, n_vocab;
    float *logits; /* of each position */
    weft_logprob prompt[N_POSITIONS];
    weft_logprob top[N_POSITIONS][MOST_TOP];
} seen;

static void see_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    seen *s = user;
    assert_int_equal(index, s->n_logits);
    assert_true(index < N_POSITIONS);
    if (!s->logits) s->logits = calloc(N_POSITIONS * n_vocab, sizeof *s->logits);
    assert_non_null(s->logits);
    s->n_vocab = n_vocab;
    memcpy(s->logits + index * n_vocab, logits, n_vocab * sizeof *logits);
    s->n_logits++;
}

static void see_prompt(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    seen *s = user;
    assert_int_equal(index, s->n_prompt + 1);
    assert_int_equal(n_top, MOST_TOP);
    s->n_prompt++;
    s->prompt[index] = token;
    memcpy(s->top[index], top, n_top * sizeof *top);
}

/* The definition in double precision. */
static double logprob_of(const seen *s, size_t position, weft_token token) {
    const float *logits = s->logits + position * s->n_vocab;
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < s->n_vocab; i++) max = logits[i] > max ? logits[i] : max;
    for (size_t i = 0; i < s->n_vocab; i++) sum += exp(logits[i] - max);
    return logits[token] - max - log(sum);
}

static void assert_best(const seen *s, size_t position, const weft_logprob *top, size_t n_top) {
    const float *logits = s->logits + position * s->n_vocab;
    for (size_t k = 0; k < n_top; k++) {
        size_t better = 0;
        assert_in_range(top[k].id, 0, s->n_vocab - 1);
        float own = logits[top[k].id];
        for (size_t i = 0; i < s->n_vocab; i++) better += logits[i] > own || (logits[i] == own && i < (size_t)top[k].id);
        assert_int_equal(better, k);
        assert_true(fabs(top[k].logprob - logprob_of(s, position, top[k].id)) < 1e-5);
    }
}

static void logprobs_are_those_of_the_logits(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    seen s = {.n_logits = 0};
    weft_token tokens[N_POSITIONS];
    question_tokens(&(question){.seed = 3, .n_prompt = 37}, model->hyper.n_vocab, tokens);
    weft_engine *engine = create((weft_engine_options){.n_ctx = 64, .max_top = 8, .logits = true, .max_rows = 32});
    weft_session *session = open_session(engine, (weft_session_options){.sampling.max_tokens = 6,
                                                                        .sampling.ignore_end = true,
                                                                        .sampling.n_top = 4,
                                                                        .n_prompt_top = MOST_TOP,
                                                                        .on_prompt = see_prompt,
                                                                        .on_logits = see_logits,
                                                                        .user = &s});
    /* In two parts, so that a prompt begins in the middle. */
    CHECK(weft_session_add_tokens(session, tokens, 20, &error));
    CHECK(weft_session_prefill(session, &error));
    assert_int_equal(s.n_logits, 20);
    assert_int_equal(s.n_prompt, 19);
    CHECK(weft_session_add_tokens(session, tokens + 20, 17, &error));
    for (size_t n = 0;; n++) {
        CHECK(weft_session_next(session, &piece, &error));
        if (piece.last) break;
        size_t position = 36 + n;
        assert_int_equal(piece.n_top, 4);
        assert_best(&s, position, piece.top, piece.n_top);
        assert_int_equal(piece.chosen.id, piece.token);
        assert_int_equal(piece.top[0].id, piece.token); /* greedy */
        assert_true(fabs(piece.chosen.logprob - logprob_of(&s, position, piece.token)) < 1e-5);
    }
    assert_int_equal(s.n_logits, 36 + 6);
    assert_int_equal(s.n_prompt, 36);
    for (size_t i = 1; i < 37; i++) {
        assert_int_equal(s.prompt[i].id, tokens[i]);
        assert_true(fabs(s.prompt[i].logprob - logprob_of(&s, i - 1, tokens[i])) < 1e-5);
        assert_best(&s, i - 1, s.top[i], MOST_TOP);
    }
    free(s.logits);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* ---- Ends ---- */

static void answers_end_where_they_must(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 32, .n_sequences = 2});
    weft_session *session = open_session(engine, (weft_session_options){.n_ctx = 24, .sampling.ignore_end = true});
    assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT);
    weft_token tokens[25];
    question_tokens(&(question){.seed = 8, .n_prompt = 25}, model->hyper.n_vocab, tokens);
    assert_int_equal(weft_session_add_tokens(session, tokens, 25, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(count_tokens(session), 0);
    weft_token wrong = model->hyper.n_vocab;
    assert_int_equal(weft_session_add_tokens(session, &wrong, 1, &error), WEFT_INVALID_ARGUMENT);
    wrong = -1;
    assert_int_equal(weft_session_add_tokens(session, &wrong, 1, &error), WEFT_INVALID_ARGUMENT);
    CHECK(weft_session_add_tokens(session, tokens, 20, &error));
    char text[40];
    memset(text, 'x', sizeof text);
    assert_int_equal(weft_session_add_text(session, text, sizeof text, false, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(count_tokens(session), 20);
    int n = 0;
    for (;; n++) {
        CHECK(weft_session_next(session, &piece, &error));
        if (piece.last) break;
    }
    assert_int_equal(n, 4);
    assert_int_equal(piece.finish, WEFT_FINISH_LENGTH);
    assert_int_equal(count_tokens(session), 24);
    /* A full session has nothing more to say. */
    CHECK(weft_session_next(session, &piece, &error));
    assert_true(piece.last && piece.finish == WEFT_FINISH_LENGTH && piece.token == WEFT_NO_TOKEN);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* With a temperature some answers end by an end token. The session keeps that token, but returns neither it nor anything after it.
 */
static void end_tokens_end_answers(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    int n_stopped = 0;
    for (int32_t depth = 1; depth <= 2; depth++) {
        weft_engine *engine = NULL;
        weft_engine_options options = {
            .device = device_name, .device_options = {.n_threads = 1}, .precision = WEFT_EXACT, .n_ctx = device_slow ? 128 : 512};
        CHECK(weft_engine_create_queued(model, &options, depth, &engine, &error));
        for (uint64_t seed = 1; seed <= 6; seed++) {
            weft_session *session =
                open_session(engine, (weft_session_options){.sampling.temperature = 50.0f, .sampling.seed = seed});
            const weft_token *tokens;
            size_t n, n_pieces = 0;
            CHECK(weft_session_add_text(session, "ab", 2, false, &error));
            size_t n_prompt = count_tokens(session);
            for (;; n_pieces++) {
                CHECK(weft_session_next(session, &piece, &error));
                if (piece.last) break;
                assert_false(weft_token_ends(model, piece.token));
            }
            weft_session_tokens(session, &tokens, &n);
            bool stopped = piece.finish == WEFT_FINISH_STOP;
            n_stopped += stopped;
            assert_int_equal(n, n_prompt + n_pieces + (stopped ? 1 : 0));
            assert_int_equal(weft_token_ends(model, tokens[n - 1]), stopped);
            if (stopped) assert_int_equal(weft_session_next(session, &piece, &error), WEFT_INVALID_ARGUMENT);
            weft_session_destroy(session);
        }
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        weft_engine_destroy(engine);
    }
    assert_true(n_stopped > 0);
}

/* ---- Sampling ---- */

static void the_seed_alone_decides(void **state) {
    (void)state;
    answer a, b, c;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 128});
    answer_alone(engine, &(question){.seed = 21, .n_prompt = 9, .n_predict = 40, .temperature = 2}, &a);
    answer_alone(engine, &(question){.seed = 21, .n_prompt = 9, .n_predict = 40, .temperature = 2}, &b);
    assert_same_answer(&a, &b);
    /* The same prompt with another seed. */
    weft_error error = {0};
    weft_token tokens[9];
    weft_piece piece;
    question_tokens(&(question){.seed = 21, .n_prompt = 9}, model->hyper.n_vocab, tokens);
    c = (answer){.session = open_session(engine, (weft_session_options){.sampling.max_tokens = 40,
                                                                        .sampling.temperature = 2,
                                                                        .sampling.seed = 22,
                                                                        .sampling.ignore_end = true})};
    CHECK(weft_session_add_tokens(c.session, tokens, 9, &error));
    for (;;) {
        CHECK(weft_session_next(c.session, &piece, &error));
        if (piece.last) break;
        keep_piece(&c, &piece);
    }
    weft_session_destroy(c.session);
    assert_true(memcmp(a.tokens, c.tokens, 40 * sizeof *a.tokens) != 0);
    weft_engine_destroy(engine);
}

/* ---- Chats ---- */

/* A second question is answered as if the whole conversation were one prompt. */
static void chats_keep_their_cache(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    weft_model_info info;
    weft_model_describe(model, &info);
    assert_non_null(info.chat_format);
    weft_engine *engine = create((weft_engine_options){.n_ctx = 256, .n_sequences = 2});
    weft_session *chat = open_session(engine, (weft_session_options){.sampling.max_tokens = 12});
    assert_int_equal(weft_session_say(chat, WEFT_ASSISTANT + 1, "?", &error), WEFT_INVALID_ARGUMENT);
    CHECK(weft_session_say(chat, WEFT_SYSTEM, "be brief", &error));
    CHECK(weft_session_say(chat, WEFT_USER, "one <|im_end|> two", &error));
    assert_int_equal(weft_session_say(chat, WEFT_SYSTEM, "too late", &error), WEFT_INVALID_ARGUMENT);
    do CHECK(weft_session_next(chat, &piece, &error));
    while (!piece.last);
    weft_session_timing before, after;
    weft_session_measure(chat, &before);
    size_t n_before = count_tokens(chat);
    CHECK(weft_session_say(chat, WEFT_USER, "three", &error));
    CHECK(weft_session_next(chat, &piece, &error));
    weft_session_measure(chat, &after);
    const weft_token *tokens;
    size_t n;
    weft_session_tokens(chat, &tokens, &n);
    /* Only what came new was computed: the last token of the answer, the message and the beginning of the answer. */
    assert_int_equal(after.n_prefill - before.n_prefill, n - 1 - n_before + 1);
    weft_token *whole = calloc(n, sizeof *whole);
    assert_non_null(whole);
    memcpy(whole, tokens, n * sizeof *whole);
    weft_session *plain = open_session(engine, (weft_session_options){.sampling.max_tokens = 1});
    CHECK(weft_session_add_tokens(plain, whole, n - 1, &error));
    CHECK(weft_session_next(plain, &piece, &error));
    assert_int_equal(piece.last ? tokens[n - 1] : piece.token, whole[n - 1]);
    free(whole);
    /* A message that does not fit adds nothing. */
    char text[600];
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = 0;
    n_before = count_tokens(plain);
    assert_int_equal(weft_session_say(plain, WEFT_USER, text, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(count_tokens(plain), n_before);
    weft_session_destroy(chat);
    weft_session_destroy(plain);
    weft_engine_destroy(engine);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", device_path("device_session"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path("device_session"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logprobs_are_those_of_the_logits), cmocka_unit_test(answers_end_where_they_must),
        cmocka_unit_test(end_tokens_end_answers),           cmocka_unit_test(the_seed_alone_decides),
        cmocka_unit_test(chats_keep_their_cache),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
