/* Helpers for tests of engines: a small synthetic model, and answers that are recorded and compared bit for bit. */
#ifndef WEFT_TESTS_ENGINE_SUPPORT_H
#define WEFT_TESTS_ENGINE_SUPPORT_H

#include "decoder/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random_numbers.h"

#define MAX_ANSWER 96
#define N_TOP 3

static inline void check(weft_status status, const weft_error *error, const char *what) {
    if (status) fail_msg("%s: %s: %s", what, weft_status_text(status), error->message);
}
#define CHECK(call) check(call, &error, #call)

/* Writes a model file of this shape and mix, and opens it. */
static inline weft_model *open_synth(weft_runtime *runtime, const char *shape, const char *mix, const char *path) {
    weft_error error = {0};
    weft_model *model = NULL;
    CHECK(weft_synth(runtime, &(weft_synth_options){.shape = shape, .mix = mix, .seed = 11}, path, &error));
    CHECK(weft_model_open(runtime, path, &model, &error));
    return model;
}

/* What a group of tests has in common; `path` is the model's file. */
static inline int begin_tiny(weft_runtime **runtime, weft_model **model, const char *path) {
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, runtime, &error));
    *model = open_synth(*runtime, "tiny", "Q8_0", path);
    return 0;
}

static inline int end_tiny(weft_runtime *runtime, weft_model *model, const char *path) {
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(path);
}

/* An engine on one thread of the CPU, with a queue of `depth` steps. */
static inline weft_engine *create_on_cpu(weft_model *model, weft_engine_options options, int32_t depth) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = "cpu";
    options.device_options.n_threads = 1;
    CHECK(weft_engine_create_queued(model, &options, depth, &engine, &error));
    return engine;
}

/* One question: random tokens, and the options of the answer. */
typedef struct question {
    uint32_t seed;
    int32_t n_prompt, n_predict;
    float temperature;
    int32_t top_k;
    float top_p, min_p;
} question;

/* One answer, with the bits of all that the device computed for it. */
typedef struct answer {
    weft_session *session; /* NULL: not begun, or ended */
    int32_t n;
    weft_token tokens[MAX_ANSWER];
    uint32_t logprobs[MAX_ANSWER][1 + N_TOP];
    weft_token top[MAX_ANSWER][N_TOP];
    weft_finish finish;
} answer;

static inline uint32_t bits_of(float real) {
    uint32_t bits;
    memcpy(&bits, &real, sizeof bits);
    return bits;
}

static inline void question_tokens(const question *q, int32_t n_vocab, weft_token *tokens) {
    uint32_t random = q->seed;
    for (int32_t i = 0; i < q->n_prompt; i++) tokens[i] = (weft_token)(next_random(&random) % (uint32_t)n_vocab);
}

static inline void add_question_tokens(weft_session *session, uint32_t seed, int32_t n) {
    weft_error error = {0};
    weft_token tokens[512];
    assert_in_range(n, 0, 512);
    question_tokens(&(question){.seed = seed, .n_prompt = n}, session->engine->model->hyper.n_vocab, tokens);
    CHECK(weft_session_add_tokens(session, tokens, (size_t)n, &error));
}

static inline void begin_answer(weft_engine *engine, const question *q, answer *a) {
    weft_error error = {0};
    weft_token *tokens = malloc((size_t)q->n_prompt * sizeof *tokens);
    assert_non_null(tokens);
    question_tokens(q, engine->model->hyper.n_vocab, tokens);
    *a = (answer){.n = 0};
    CHECK(weft_session_create(engine,
                              &(weft_session_options){.sampling.max_tokens = q->n_predict,
                                                      .sampling.temperature = q->temperature,
                                                      .sampling.top_k = q->top_k,
                                                      .sampling.top_p = q->top_p,
                                                      .sampling.min_p = q->min_p,
                                                      .sampling.seed = q->seed,
                                                      .sampling.ignore_end = true,
                                                      .sampling.n_top = engine->config.max_top},
                              &a->session, &error));
    CHECK(weft_session_add_tokens(a->session, tokens, (size_t)q->n_prompt, &error));
    free(tokens);
}

static inline void keep_piece(answer *a, const weft_piece *piece) {
    assert_true(a->n < MAX_ANSWER);
    a->tokens[a->n] = piece->token;
    a->logprobs[a->n][0] = bits_of(piece->chosen.logprob);
    for (size_t i = 0; i < piece->n_top; i++) {
        a->top[a->n][i] = piece->top[i].id;
        a->logprobs[a->n][1 + i] = bits_of(piece->top[i].logprob);
    }
    a->n++;
}

/* Reads one more token; destroys the session after the last. */
static inline void go_on_answer(answer *a) {
    weft_error error = {0};
    weft_piece piece;
    CHECK(weft_session_next(a->session, &piece, &error));
    if (!piece.last) {
        keep_piece(a, &piece);
        return;
    }
    a->finish = piece.finish;
    weft_session_destroy(a->session);
    a->session = NULL;
}

static inline void answer_alone(weft_engine *engine, const question *q, answer *a) {
    begin_answer(engine, q, a);
    while (a->session) go_on_answer(a);
}

/* Begins the questions at different times and reads their answers in turn. Sometimes it runs a step for no particular session. */
static inline void answer_together(weft_engine *engine, const question *questions, answer *answers, size_t n) {
    weft_error error = {0};
    uint32_t random = 5;
    for (size_t begun = 0, over = 0; over < n;) {
        if (begun < n && next_random(&random) % 3 == 0) begin_answer(engine, &questions[begun], &answers[begun]), begun++;
        if (next_random(&random) % 4 == 0) CHECK(weft_engine_step(engine, NULL, &error));
        over = 0;
        for (size_t i = 0; i < begun; i++) {
            if (answers[i].session) go_on_answer(&answers[i]);
            over += answers[i].session == NULL;
        }
    }
}

static inline void assert_same_answer(const answer *a, const answer *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->tokens, b->tokens, sizeof a->tokens);
    assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs);
    assert_memory_equal(a->top, b->top, sizeof a->top);
    assert_int_equal(a->finish, b->finish);
}

static inline int64_t pages_free(weft_engine *engine) {
    weft_engine_info info;
    weft_engine_describe(engine, &info);
    return info.n_pages_free;
}

static inline weft_session *open_session(weft_engine *engine, weft_session_options options) {
    weft_error error = {0};
    weft_session *session = NULL;
    CHECK(weft_session_create(engine, &options, &session, &error));
    return session;
}

#endif
