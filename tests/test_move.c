/* Sessions that move between engines, and answers that are polled.
 *
 *     test_move [SECONDS [SEED]]
 */
#include "limited_allocator.h"
#include "stress_questions.h"

#define PATH "test_move.tmp"
enum { N_THREADS = 3, N_KNOWN = 4 };

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static double seconds = 0.3;
static uint32_t first_seed = 1;

static weft_engine *create(weft_engine_options options) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    options.device = "cpu";
    options.device_options.n_threads = 1;
    if (!options.n_ctx) options.n_ctx = 128;
    options.precision = WEFT_EXACT;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

static const question usual = {.seed = 4, .n_prompt = 30, .n_predict = 10, .temperature = 1};

static weft_session *ask(weft_engine *engine) {
    answer a;
    begin_answer(engine, &usual, &a);
    return a.session;
}

static size_t read_tokens(weft_session *session, size_t n, weft_token *tokens) {
    weft_error error = {0};
    weft_piece piece = {.last = false};
    size_t count = 0;
    while (count < n) {
        CHECK(weft_session_next(session, &piece, &error));
        if (piece.last) break;
        tokens[count++] = piece.token;
    }
    return count;
}

/* ---- Moving ---- */

static void refused_moves_change_nothing(void **state) {
    (void)state;
    weft_error error = {0};
    answer alone;
    weft_token tokens[16];
    weft_engine *engine = create((weft_engine_options){.n_ctx = 0}), *small = create((weft_engine_options){.n_ctx = 32});
    weft_engine *full = create((weft_engine_options){.n_ctx = 64});
    answer_alone(engine, &usual, &alone);
    weft_session *session = ask(engine), *other = open_session(full, (weft_session_options){.n_ctx = 64});
    read_tokens(session, 3, tokens);
    assert_int_equal(weft_session_move(session, small, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "33 tokens"));
    assert_int_equal(weft_session_move(session, full, NULL, &error), WEFT_FULL);
    assert_int_equal(weft_session_move(NULL, full, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_move(session, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    CHECK(weft_session_move(session, engine, NULL, &error));
    assert_int_equal(read_tokens(session, 16, tokens + 3), 7);
    assert_memory_equal(tokens, alone.tokens, 10 * sizeof *tokens);
    weft_session_destroy(other);
    weft_session_destroy(session);
    weft_engine_destroy(full);
    weft_engine_destroy(small);
    weft_engine_destroy(engine);
}

/* What was chosen ahead of the reader is chosen again, and max_tokens does not count it twice. */
static void tokens_chosen_ahead_are_chosen_again(void **state) {
    (void)state;
    weft_error error = {0};
    answer alone;
    weft_token tokens[16];
    int32_t n_rows = 1;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 0}), *to = create((weft_engine_options){.page_size = 8});
    answer_alone(engine, &usual, &alone);
    weft_session *session = ask(engine);
    read_tokens(session, 3, tokens);
    while (n_rows > 0) CHECK(weft_engine_step(engine, &n_rows, &error));
    assert_true(session->n_tokens > session->n_read);
    CHECK(weft_session_move(session, to, NULL, &error));
    assert_int_equal(read_tokens(session, 16, tokens + 3), 7);
    assert_memory_equal(tokens, alone.tokens, 10 * sizeof *tokens);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    weft_engine_destroy(to);
}

/* A session that its engine had no pages for. */
static void refused_sessions_go_on_elsewhere(void **state) {
    (void)state;
    weft_error error = {0};
    answer alone;
    weft_piece piece;
    weft_token tokens[16];
    weft_engine *roomy = create((weft_engine_options){.n_ctx = 0});
    weft_engine *full = create((weft_engine_options){.n_cache = 32, .page_size = 16, .refuse_when_full = true});
    answer_alone(roomy, &usual, &alone);
    weft_session *session = ask(full);
    size_t n = 0;
    weft_status status;
    while ((status = weft_session_next(session, &piece, &error)) == WEFT_OK) tokens[n++] = piece.token;
    assert_int_equal(status, WEFT_OUT_OF_PAGES);
    CHECK(weft_session_move(session, roomy, NULL, &error));
    assert_int_equal(read_tokens(session, 16, tokens + n), 10 - n);
    assert_memory_equal(tokens, alone.tokens, 10 * sizeof *tokens);
    weft_session_destroy(session);
    weft_engine_destroy(full);
    weft_engine_destroy(roomy);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    weft_error error = {0};
    answer alone;
    weft_token tokens[16];
    weft_engine *engine = create((weft_engine_options){.n_ctx = 0}), *to = create((weft_engine_options){.page_size = 8});
    answer_alone(engine, &usual, &alone);
    weft_session *session = ask(engine);
    read_tokens(session, 3, tokens);
    weft_status status = WEFT_OUT_OF_MEMORY;
    size_t n_failed = 0;
    for (; status; n_failed++) {
        const size_t live = limits.n_live;
        limits.fail_at = limits.n_all + n_failed + 1;
        status = weft_session_move(session, to, NULL, &error);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_int_equal(limits.n_live, live);
    }
    assert_in_range(n_failed, 4, 30);
    assert_int_equal(pages_free(engine), 2);
    assert_int_equal(read_tokens(session, 16, tokens + 3), 7);
    assert_memory_equal(tokens, alone.tokens, 10 * sizeof *tokens);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    weft_engine_destroy(to);
}

/* ---- Polling and progress ---- */

typedef struct progress {
    size_t n, done, all;
} progress;

static void see_progress(void *user, size_t done, size_t all) {
    progress *p = user;
    assert_true(done > p->done && done <= all);
    *p = (progress){p->n + 1, done, all};
}

static void polling_gives_what_is_there(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece = {.last = false};
    weft_token prompt[30], tokens[16];
    answer alone;
    progress p = {0, 0, 0};
    bool found = true;
    weft_engine *engine = create((weft_engine_options){.max_rows = 8});
    answer_alone(engine, &usual, &alone);
    weft_session *session =
        open_session(engine, (weft_session_options){.sampling = {.max_tokens = 10, .temperature = 1, .seed = 4, .ignore_end = true},
                                                    .on_prefill = see_progress,
                                                    .user = &p});
    assert_int_equal(weft_session_poll(session, &piece, &found, &error), WEFT_INVALID_ARGUMENT); /* it is empty */
    assert_false(found);
    question_tokens(&usual, model->hyper.n_vocab, prompt);
    CHECK(weft_session_add_tokens(session, prompt, 30, &error));
    int n = 0, n_none = 0;
    while (!piece.last) {
        CHECK(weft_session_poll(session, &piece, &found, &error));
        if (found && !piece.last) tokens[n++] = piece.token;
        if (found) continue;
        n_none++;
        CHECK(weft_engine_step(engine, NULL, &error));
    }
    assert_int_equal(n, 10);
    assert_memory_equal(tokens, alone.tokens, 10 * sizeof *tokens);
    assert_int_equal(n_none, 4 + 9); /* steps: the prompt has 4, and the last of them gives the first token */
    assert_int_equal(p.n, 4);
    assert_int_equal(p.done, 30);
    assert_int_equal(p.all, 30);
    assert_int_equal(weft_session_poll(NULL, &piece, &found, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_poll(session, NULL, &found, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_poll(session, &piece, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* Another thread has the engine's mutex, and then adds to the session. */
static void polling_does_not_wait(void **state) {
    (void)state;
    weft_error error = {0};
    weft_piece piece;
    bool found = true;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 0});
    weft_session *session = ask(engine);
    weft_os_mutex_lock(&engine->mutex);
    CHECK(weft_session_poll(session, &piece, &found, &error));
    assert_false(found);
    session->adding = true;
    weft_os_mutex_unlock(&engine->mutex);
    found = true;
    CHECK(weft_session_poll(session, &piece, &found, &error));
    assert_false(found);
    session->adding = false;
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* ---- Threads ---- */

static weft_engine *engines[2];
static known knowns[N_KNOWN];
static atomic_bool stop;

typedef struct bytes {
    unsigned char *bytes;
    size_t size, capacity, at;
} bytes;

static weft_status keep_bytes(void *user, const void *from, size_t size, weft_error *error) {
    bytes *b = user;
    (void)error;
    if (size > b->capacity - b->size) b->bytes = realloc(b->bytes, b->capacity = 2 * (b->size + size));
    memcpy(b->bytes + b->size, from, size);
    b->size += size;
    return WEFT_OK;
}

static weft_status give_bytes(void *user, void *into, size_t size, size_t *n_read, weft_error *error) {
    bytes *b = user;
    (void)error;
    *n_read = size < b->size - b->at ? size : b->size - b->at;
    memcpy(into, b->bytes + b->at, *n_read);
    b->at += *n_read;
    return WEFT_OK;
}

static weft_status go_through_bytes(weft_session **session, weft_engine *to, weft_error *error) {
    bytes b = {NULL, 0, 0, 0};
    weft_status status = weft_session_save(*session, NULL, &(weft_save_options){.write = keep_bytes, .user = &b}, error);
    if (status == WEFT_OK) {
        weft_session_destroy(*session);
        *session = NULL;
        status = weft_session_restore(to, NULL, &(weft_restore_options){.read = give_bytes, .user = &b}, session, NULL, error);
    }
    free(b.bytes);
    return status;
}

static weft_status read_one(weft_session *session, bool polls, weft_piece *piece, weft_error *error) {
    bool found = !polls;
    if (!polls) return weft_session_next(session, piece, error);
    weft_status status = weft_session_poll(session, piece, &found, error);
    while (status == WEFT_OK && !found) {
        status = weft_engine_step(session->engine, NULL, error);
        if (status == WEFT_OK) status = weft_session_poll(session, piece, &found, error);
    }
    return status;
}

static void run_answer(const known *k, uint32_t *random) {
    weft_error error = {0};
    weft_session *session = NULL;
    weft_piece piece = {.last = false};
    const question *q = &k->question;
    const weft_session_options options = {.sampling = {.max_tokens = q->n_predict,
                                                       .temperature = q->temperature,
                                                       .top_k = q->top_k,
                                                       .top_p = q->top_p,
                                                       .min_p = q->min_p,
                                                       .seed = q->seed,
                                                       .ignore_end = !k->ends}};
    weft_status status = weft_session_create(engines[next_random(random) % 2], &options, &session, &error);
    if (status == WEFT_OK) status = weft_session_add_tokens(session, k->prompt, (size_t)q->n_prompt, &error);
    for (int32_t n = 0; status == WEFT_OK && !piece.last;) {
        const uint32_t what = next_random(random) % 8;
        weft_engine *to = engines[next_random(random) % 2];
        if (what == 0) status = weft_session_move(session, to, NULL, &error);
        if (what == 1) status = go_through_bytes(&session, to, &error);
        if (status == WEFT_OK) status = read_one(session, what & 1, &piece, &error);
        if (status != WEFT_OK || piece.last) break;
        if (n >= k->alone.n || piece.token != k->alone.tokens[n])
            FAULT("sequence %u: another token %d than alone", q->seed, (int)n);
        n++;
    }
    if (status != WEFT_OK) FAULT("sequence %u: %s", q->seed, error.message);
    weft_session_destroy(session);
}

static void run_thread(void *user) {
    uint32_t random = *(uint32_t *)user;
    while (!atomic_load(&stop) && !atomic_load(&fault.happened)) run_answer(&knowns[next_random(&random) % N_KNOWN], &random);
}

static void threads_move_and_save(void **state) {
    (void)state;
    weft_os_thread threads[N_THREADS];
    uint32_t seeds[N_THREADS];
    weft_engine *alone = create((weft_engine_options){.n_ctx = STRESS_CTX, .max_top = N_TOP, .logits = true});
    /* Too few pages for all, so that sessions also lose theirs meanwhile. */
    for (int32_t i = 0; i < 2; i++)
        engines[i] = create((weft_engine_options){.n_ctx = STRESS_CTX,
                                                  .n_sequences = 2 * N_THREADS,
                                                  .page_size = 16 << i,
                                                  .n_cache = 256,
                                                  .max_rows = 32,
                                                  .max_top = N_TOP});
    for (uint32_t i = 0; i < N_KNOWN; i++) {
        observer o = {&knowns[i], true};
        make_known(&knowns[i], first_seed * 100 + i, 50, model->hyper.n_vocab);
        learn(alone, &knowns[i], &o, &knowns[i].alone);
    }
    atomic_store(&stop, false);
    for (uint32_t i = 0; i < N_THREADS; i++) {
        seeds[i] = first_seed * 7919 + i;
        assert_true(weft_os_thread_start(&threads[i], run_thread, &seeds[i]));
    }
    weft_os_sleep((uint64_t)(seconds * 1e9));
    atomic_store(&stop, true);
    for (size_t i = 0; i < N_THREADS; i++) weft_os_thread_join(&threads[i]);
    if (atomic_load(&fault.happened)) fail_msg("seed %u: %s", first_seed, fault.what);
    for (size_t i = 0; i < 2; i++) assert_int_equal(pages_free(engines[i]), engines[i]->pages.n_pages);
    for (size_t i = 0; i < N_KNOWN; i++) release_known(&knowns[i]);
    for (size_t i = 0; i < 2; i++) weft_engine_destroy(engines[i]);
    weft_engine_destroy(alone);
}

static int setup(void **state) {
    (void)state;
    runtime = limited_runtime(&limits);
    model = open_synth(runtime, "tiny", "Q8_0", PATH);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    int code = end_tiny(runtime, model, PATH);
    return code != 0 || limits.n_live != 0;
}

int main(int argc, char **argv) {
    if (argc > 1) seconds = strtod(argv[1], NULL);
    if (argc > 2) first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_moves_change_nothing),
        cmocka_unit_test(survives_every_failing_allocation),
        cmocka_unit_test(tokens_chosen_ahead_are_chosen_again),
        cmocka_unit_test(refused_sessions_go_on_elsewhere),
        cmocka_unit_test(polling_gives_what_is_there),
        cmocka_unit_test(polling_does_not_wait),
        cmocka_unit_test(threads_move_and_save),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
