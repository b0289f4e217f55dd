/* Embeddings and scores of given texts, against the logits of the same rows. */
#include "engine_support.h"
#include "limited_allocator.h"

#include <math.h>

#define PATH "test_given.tmp"
enum { N = 21, MAX_EMBD = 512 };

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static int32_t n_embd, n_vocab;
static weft_token tokens[N];
static float *logits; /* N * n_vocab */

static weft_engine *create(weft_engine_options options) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = "cpu";
    options.device_options.n_threads = 1;
    options.precision = WEFT_EXACT;
    options.n_ctx = 64;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

static void keep_logits(void *user, size_t index, const float *row, size_t n) {
    (void)user;
    memcpy(logits + index * n, row, n * sizeof *row);
}

static void open_model(const char *shape) {
    weft_error error = {0};
    model = open_synth(runtime, shape, "Q8_0", PATH);
    n_embd = model->hyper.n_embd;
    n_vocab = model->hyper.n_vocab;
    assert_true(n_embd <= MAX_EMBD);
    question_tokens(&(question){.seed = 6, .n_prompt = N}, n_vocab, tokens);
    logits = malloc((size_t)N * (size_t)n_vocab * sizeof *logits);
    weft_engine *engine = create((weft_engine_options){.logits = true});
    weft_session *session = open_session(engine, (weft_session_options){.on_logits = keep_logits});
    CHECK(weft_session_add_tokens(session, tokens, N, &error));
    CHECK(weft_session_prefill(session, &error));
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static void close_model(void) {
    free(logits);
    weft_model_close(model);
    remove(PATH);
}

/* ---- Embeddings ---- */

static void embed(weft_engine *engine, size_t n, weft_embed_options options, float *embedding) {
    weft_error error = {0};
    CHECK(weft_engine_embed(engine, tokens, n, &options, embedding, &error));
}

/* Element `row` of the output matrix times the embedding, in double precision. */
static double logit_of(const float *embedding, int32_t row) {
    weft_error error = {0};
    unsigned char blocks[2 * MAX_EMBD];
    float weights[MAX_EMBD];
    const weft_model_tensor *output = weft_gguf_tensor_find(model->gguf, "output.weight");
    if (!output) output = weft_gguf_tensor_find(model->gguf, "token_embd.weight");
    const size_t bytes = (size_t)weft_type_bytes(output->tensor.type, n_embd);
    assert_true(bytes <= sizeof blocks);
    CHECK(weft_gguf_read(model->gguf, output, bytes * (size_t)row, blocks, bytes, &error));
    CHECK(weft_dequantise(output->tensor.type, blocks, n_embd, weights, &error));
    double sum = 0;
    for (int32_t i = 0; i < n_embd; i++) sum += (double)weights[i] * (double)embedding[i];
    return model->hyper.logit_scale != 0 ? sum * (double)model->hyper.logit_scale : sum;
}

static void the_last_one_gives_the_logits(const char *shape) {
    float embedding[MAX_EMBD];
    open_model(shape);
    weft_engine *engine = create((weft_engine_options){.embeddings = true});
    for (size_t n = 1; n <= N; n += 10) {
        const float *row = logits + (n - 1) * (size_t)n_vocab;
        embed(engine, n, (weft_embed_options){.pooling = WEFT_POOLING_LAST}, embedding);
        for (int32_t i = 0; i < n_vocab; i += 31) {
            const double expected = logit_of(embedding, i);
            if (fabs(expected - (double)row[i]) > 1e-4 * (1 + fabs(expected)))
                fail_msg("%s, %zu tokens: logit %d is %g, by the embedding %g", shape, n, (int)i, (double)row[i], expected);
        }
    }
    weft_engine_destroy(engine);
    close_model();
}

static void last_rows_give_the_logits(void **state) {
    (void)state;
    the_last_one_gives_the_logits("tiny");
    the_last_one_gives_the_logits("tiny-granite");
}

/* In chunks, and beside another session's answer. */
static void means_are_means(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    float last[MAX_EMBD], mean[MAX_EMBD], other[MAX_EMBD];
    double sums[MAX_EMBD] = {0}, squares = 0;
    open_model("tiny");
    weft_engine *engine = create((weft_engine_options){.embeddings = true, .max_top = N_TOP, .logits = true});
    for (size_t n = 1; n <= N; n++) {
        embed(engine, n, (weft_embed_options){.pooling = WEFT_POOLING_LAST}, last);
        for (int32_t i = 0; i < n_embd; i++) sums[i] += (double)last[i];
    }
    embed(engine, N, (weft_embed_options){.normalise = false}, mean);
    for (int32_t i = 0; i < n_embd; i++) assert_true(fabs(sums[i] / N - (double)mean[i]) < 1e-6 * (1 + fabs(sums[i])));
    weft_engine_destroy(engine);
    engine = create((weft_engine_options){.embeddings = true, .max_rows = 8, .n_sequences = 2, .page_size = 4});
    answer a;
    begin_answer(engine, &(question){.seed = 2, .n_prompt = 5, .n_predict = 9}, &a);
    CHECK(weft_session_next(a.session, &piece, &error));
    embed(engine, N, (weft_embed_options){.normalise = false}, other);
    assert_memory_equal(other, mean, (size_t)n_embd * sizeof *mean);
    embed(engine, N, (weft_embed_options){.normalise = true}, other);
    for (int32_t i = 0; i < n_embd; i++) squares += (double)other[i] * (double)other[i];
    assert_true(fabs(squares - 1) < 1e-6);
    weft_session_destroy(a.session);
    weft_engine_destroy(engine);
    close_model();
}

/* ---- Scores ---- */

static void scores_are_those_of_the_logits(void **state) {
    (void)state;
    weft_error error = {0};
    float scores[N];
    open_model("tiny");
    weft_engine *engine = create((weft_engine_options){.max_rows = 8});
    CHECK(weft_engine_score(engine, tokens, N, scores, &error));
    assert_true(scores[0] == 0);
    for (size_t i = 1; i < N; i++) {
        const float *row = logits + (i - 1) * (size_t)n_vocab;
        double sum = 0;
        for (int32_t j = 0; j < n_vocab; j++) sum += exp((double)row[j]);
        const double expected = (double)row[tokens[i]] - log(sum);
        assert_true(fabs(expected - (double)scores[i]) < 1e-4);
    }
    weft_engine_destroy(engine);
    close_model();
}

/* ---- Failures ---- */

static void says_what_is_wrong(void **state) {
    (void)state;
    weft_error error = {0};
    float row[MAX_EMBD];
    const weft_token outside[] = {-1};
    weft_token many[65] = {0};
    open_model("tiny");
    weft_engine *plain = create((weft_engine_options){.n_sequences = 1}),
                *engine = create((weft_engine_options){.embeddings = true});
    const weft_status refused[] = {
        weft_engine_embed(NULL, tokens, N, NULL, row, &error),
        weft_engine_embed(engine, NULL, N, NULL, row, &error),
        weft_engine_embed(engine, tokens, 0, NULL, row, &error),
        weft_engine_embed(engine, tokens, N, NULL, NULL, &error),
        weft_engine_embed(engine, outside, 1, NULL, row, &error),
        weft_engine_embed(engine, many, 65, NULL, row, &error),
        weft_engine_embed(engine, tokens, N, &(weft_embed_options){.pooling = (weft_pooling)7}, row, &error),
        weft_engine_embed(engine, tokens, N, &(weft_embed_options){.reserved = {1}}, row, &error),
        weft_engine_score(NULL, tokens, N, row, &error),
        weft_engine_score(engine, NULL, N, row, &error),
        weft_engine_score(engine, tokens, 0, row, &error),
        weft_engine_score(engine, tokens, N, NULL, &error),
        weft_engine_score(engine, many, 65, row, &error),
        weft_engine_embed(plain, tokens, N, NULL, row, &error),
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) assert_int_equal(refused[i], WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "`embeddings`"));
    weft_session *session = open_session(engine, (weft_session_options){.n_ctx = 0});
    assert_int_equal(weft_engine_embed(engine, tokens, N, NULL, row, &error), WEFT_FULL);
    weft_session_destroy(session);
    CHECK(weft_engine_embed(engine, tokens, N, NULL, row, &error));
    weft_status status = WEFT_OUT_OF_MEMORY;
    size_t n_failed = 0;
    for (; status; n_failed++) {
        const size_t live = limits.n_live;
        limits.fail_at = limits.n_all + n_failed + 1;
        status = weft_engine_embed(engine, tokens, N, NULL, row, &error);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_int_equal(limits.n_live, live);
    }
    assert_in_range(n_failed, 3, 20);
    weft_engine_destroy(plain);
    weft_engine_destroy(engine);
    close_model();
}

static int setup(void **state) {
    (void)state;
    runtime = limited_runtime(&limits);
    return runtime == NULL;
}

static int teardown(void **state) {
    (void)state;
    weft_runtime_destroy(runtime);
    return limits.n_live != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_rows_give_the_logits),
        cmocka_unit_test(means_are_means),
        cmocka_unit_test(scores_are_those_of_the_logits),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
