/* Layers divided among devices: the answers are those of one device, whatever a session does, and each failure is a status. The
 * device is held against itself, opened several times, and beside the processor. */
#include "device_support.h"
#include "memory_file.h"
#include "stages_support.h"
#include "tests/support/mortal.h"

enum { N_QUESTIONS = 4, N_NEXT = 3, PAGE = 8, N_PROMPT = 20 };

static weft_runtime *runtime;
static weft_model *model;

/* A processor that appears as a GPU compiles its programs for each engine anew. */
static bool is_slow_gpu(void) {
    return device_slow && strcmp(device_name, "cpu") != 0;
}

/* ---- Equal results ---- */

static void make_questions(question *questions) {
    for (uint32_t i = 0; i < N_QUESTIONS; i++)
        questions[i] = (question){
            .seed = 20 + i, .n_prompt = 1 + (int32_t)i * 13, .n_predict = device_slow ? 3 : 8, .temperature = i % 2 ? 0.9f : 0.0f};
}

static void answers_are_those_of_one_device(void **state) {
    (void)state;
    const weft_stage two[] = {{.device = device_name, .n_layers = 2}, {.device = device_name}};
    const weft_stage three[] = {{.device = device_name, .n_layers = 1}, {.device = "cpu", .n_layers = 1}, {.device = device_name}};
    const weft_stage last[] = {{.device = "cpu"}, {.device = device_name, .n_layers = 2}};
    const weft_engine_options placed[] = {placed_options(two, 2), placed_options(last, 2), placed_options(three, 3)};
    question questions[N_QUESTIONS];
    static answer alone[N_QUESTIONS], together[N_QUESTIONS];
    make_questions(questions);
    weft_engine *engine = create_engine(model, plain_options(device_name));
    for (size_t i = 0; i < N_QUESTIONS; i++) answer_alone(engine, &questions[i], &alone[i]);
    weft_engine_destroy(engine);
    for (size_t p = is_slow_gpu() ? 2 : 0; p < COUNT(placed); p++) {
        weft_error error = {0};
        CHECK(weft_engine_create_queued(model, &placed[p], 2, &engine, &error));
        assert_int_equal(engine->n_stages, placed[p].n_stages);
        assert_int_equal(engine->depth, 1); /* whatever was asked for */
        answer_together(engine, questions, together, N_QUESTIONS);
        for (size_t i = 0; i < N_QUESTIONS; i++) {
            assert_memory_equal(together[i].tokens, alone[i].tokens, sizeof alone[i].tokens);
            /* Devices may differ in the last bits (docs/numerics.md). */
            if (p == 0 || strcmp(device_name, "cpu") == 0) assert_same_answer(&together[i], &alone[i]);
        }
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        /* Only times of devices that do not end a step at once bound the rows of a step. */
        assert_int_equal(engine->n_noted > 0, strcmp(device_name, "cpu") != 0);
        weft_engine_destroy(engine);
    }
}

/* Tied and scaled embeddings, layers with windows and without rope, experts. */
static void every_kind_of_layer_can_be_divided(void **state) {
    (void)state;
    static const char *const shapes[] = {"tiny-smollm3", "tiny-gemma3", "tiny-mixtral", "tiny-starcoder2"};
    weft_model *first_model = model;
    const question q = {.seed = 3, .n_prompt = 50, .n_predict = 3};
    if (device_slow) skip();
    for (size_t s = 0; s < COUNT(shapes); s++) {
        const weft_stage stages[] = {{.device = device_name, .n_layers = 1}, {.device = device_name}};
        const weft_engine_options options[] = {plain_options(device_name), placed_options(stages, 2)};
        answer answers[2];
        char path[128];
        snprintf(path, sizeof path, "%s.shape", device_path("device_stages"));
        model = open_synth(runtime, shapes[s], "Q4_0", path);
        for (int i = 0; i < 2; i++) {
            weft_engine *engine = create_engine(model, options[i]);
            answer_alone(engine, &q, &answers[i]);
            weft_engine_destroy(engine);
        }
        assert_same_answer(&answers[0], &answers[1]);
        weft_model_close(model);
        remove(path);
    }
    model = first_model;
}

typedef struct rows_seen {
    float logits[N_PROMPT][16];
    uint32_t scores[N_PROMPT];
    float embedding[256];
} rows_seen;

static void keep_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    rows_seen *seen = user;
    assert_true(index < N_PROMPT && n_vocab >= 16);
    memcpy(seen->logits[index], logits, sizeof seen->logits[index]);
}

static void keep_score(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    rows_seen *seen = user;
    (void)top, (void)n_top;
    assert_true(index < N_PROMPT);
    seen->scores[index] = bits_of(token.logprob);
}

static void look(weft_engine_options options, rows_seen *seen) {
    weft_error error = {0};
    weft_token tokens[N_PROMPT];
    memset(seen, 0, sizeof *seen);
    options.logits = options.embeddings = true;
    weft_engine *engine = create_engine(model, options);
    weft_session *session =
        open_session(engine, (weft_session_options){.on_logits = keep_logits, .on_prompt = keep_score, .user = seen});
    question_tokens(&(question){.seed = 6, .n_prompt = N_PROMPT}, model->hyper.n_vocab, tokens);
    CHECK(weft_session_add_tokens(session, tokens, N_PROMPT, &error));
    CHECK(weft_session_prefill(session, &error));
    weft_session_destroy(session);
    assert_int_equal(model->hyper.n_embd, 256);
    CHECK(weft_engine_embed(engine, tokens, N_PROMPT, NULL, seen->embedding, &error));
    weft_engine_destroy(engine);
}

static void logits_scores_and_embeddings_are_equal(void **state) {
    (void)state;
    const weft_stage stages[] = {{.device = device_name, .n_layers = 1}, {.device = device_name}};
    static rows_seen whole, placed;
    if (is_slow_gpu()) skip();
    look(plain_options(device_name), &whole);
    look(placed_options(stages, 2), &placed);
    assert_true(whole.scores[1] != 0 && whole.embedding[0] != 0 && whole.logits[N_PROMPT - 1][0] != 0);
    assert_memory_equal(&placed, &whole, sizeof whole);
}

/* ---- Sessions ---- */

static void read_tokens(weft_session *session, int n, weft_token *tokens) {
    weft_error error = {0};
    weft_piece piece;
    for (int i = 0; i < n; i++) {
        CHECK(weft_session_next(session, &piece, &error));
        assert_false(piece.last);
        tokens[i] = piece.token;
    }
}

static weft_session *open_random(weft_engine *engine, uint64_t group) {
    return open_session(
        engine, (weft_session_options){.sampling = {.temperature = 1, .seed = 5, .ignore_end = true}, .share_group = group});
}

/* A fresh session on the engine `on` that gets the same tokens chooses the same next ones. */
static void assert_goes_on_as(weft_session *session, weft_engine *on) {
    weft_error error = {0};
    weft_token own[N_NEXT], expected[N_NEXT];
    const weft_token *held;
    size_t n;
    weft_session_tokens(session, &held, &n);
    weft_session *fresh = open_random(on, WEFT_SHARE_NONE);
    CHECK(weft_session_add_tokens(fresh, held, n, &error));
    read_tokens(fresh, N_NEXT, expected);
    weft_session_destroy(fresh);
    read_tokens(session, N_NEXT, own);
    assert_memory_equal(own, expected, sizeof own);
}

static void go_back(weft_session *session, weft_engine *whole) {
    static const size_t places[] = {N_PROMPT + 2, N_PROMPT - 4, 3};
    weft_error error = {0};
    for (size_t i = 0; i < COUNT(places); i++) {
        CHECK(weft_session_rewind(session, places[i], &error));
        add_question_tokens(session, 10 + (uint32_t)i, 4);
        assert_goes_on_as(session, whole);
    }
}

static void share(weft_engine *placed, weft_engine *whole) {
    weft_error error = {0};
    weft_session_timing timing;
    weft_session *first = open_random(placed, 0), *second = open_random(placed, 0), *fork = NULL;
    add_question_tokens(first, 9, N_PROMPT);
    CHECK(weft_session_prefill(first, &error));
    CHECK(weft_session_fork(first, NULL, &fork, &error));
    add_question_tokens(fork, 12, 5);
    add_question_tokens(second, 9, N_PROMPT);
    assert_goes_on_as(fork, whole);
    assert_goes_on_as(second, whole);
    weft_session_measure(second, &timing);
    assert_int_equal(timing.n_reused, N_PROMPT / PAGE * PAGE);
    weft_session_destroy(fork);
    weft_session_destroy(second);
    weft_session_destroy(first);
}

/* Keys and values of all layers come along. */
static void save_and_move(weft_session *session, weft_engine *placed, weft_engine *whole) {
    static memory_file file;
    weft_error error = {0};
    weft_session_carried carried;
    weft_session *restored = NULL;
    CHECK(weft_session_save(session, NULL, &(weft_save_options){.write = memory_write, .user = &file}, &error));
    CHECK(weft_session_restore(placed, NULL, &(weft_restore_options){.read = memory_read, .user = &file}, &restored, &carried,
                               &error));
    assert_int_equal(carried.n_computed, 1);
    assert_goes_on_as(restored, whole);
    weft_session_destroy(restored);
    memory_release(&file);
    for (int i = 0; i < 2; i++) {
        CHECK(weft_session_move(session, i ? placed : whole, &carried, &error));
        assert_string_equal(carried.reason, "");
        assert_int_equal(carried.n_computed, 1);
        assert_goes_on_as(session, whole);
    }
}

static void sessions_do_what_they_do_on_one_device(void **state) {
    (void)state;
    weft_token tokens[N_NEXT];
    const weft_stage stages[] = {{.device = device_name, .n_layers = 1}, {.device = "cpu"}};
    const weft_engine_options options = placed_options(stages, 2);
    weft_engine *whole = create_on_cpu(model, plain_options(device_name), 0), *placed = create_engine(model, options);
    weft_session *session = open_random(placed, WEFT_SHARE_NONE);
    add_question_tokens(session, 9, N_PROMPT);
    read_tokens(session, N_NEXT, tokens);
    go_back(session, whole);
    share(placed, whole);
    save_and_move(session, placed, whole);
    weft_session_destroy(session);
    assert_int_equal(pages_free(placed), placed->pages.n_pages);
    weft_engine_destroy(placed);
    weft_engine_destroy(whole);
}

/* ---- Failures ---- */

typedef struct canceller {
    weft_session *session;
    uint64_t ns;
} canceller;

static void cancel_later(void *user) {
    canceller *c = user;
    weft_os_sleep(c->ns);
    weft_session_cancel(c->session);
}

/* At any time of a step: in a stage or between two. */
static void cancelled_prompts_go_on(void **state) {
    (void)state;
    const uint32_t n_rounds = is_slow_gpu() ? 5 : 12;
    weft_error error = {0};
    const weft_stage stages[] = {{.device = device_name, .n_layers = 1}, {.device = "cpu"}};
    const weft_engine_options options = placed_options(stages, 2);
    const question q = {.seed = 32, .n_prompt = 80, .n_predict = 3};
    answer whole, parts;
    weft_engine *engine = create_engine(model, options);
    answer_alone(engine, &q, &whole);
    const uint64_t begin = weft_os_now();
    answer_alone(engine, &q, &parts);
    const uint64_t all_ns = weft_os_now() - begin;
    for (uint32_t i = 0; i < n_rounds; i++) {
        weft_os_thread thread;
        begin_answer(engine, &q, &parts);
        canceller c = {.session = parts.session, .ns = all_ns * i / n_rounds};
        assert_true(weft_os_thread_start(&thread, cancel_later, &c));
        weft_status status = weft_session_prefill(parts.session, &error);
        assert_true(status == WEFT_OK || status == WEFT_CANCELLED);
        weft_os_thread_join(&thread);
        if (status == WEFT_OK) weft_session_destroy(parts.session);
        if (status == WEFT_OK) continue;
        while (parts.session) go_on_answer(&parts);
        assert_same_answer(&parts, &whole);
    }
    weft_engine_destroy(engine);
}

/* One stage's device is lost in the middle of an answer; the session goes on elsewhere. */
static void lose_stage(size_t lost, mortal_call call, weft_engine *whole) {
    weft_error error = {0};
    weft_piece piece;
    weft_session_carried carried;
    weft_token tokens[2];
    weft_stage stages[] = {{.device = "cpu", .n_layers = 1}, {.device = "cpu"}};
    weft_status status;
    stages[lost].device = "mortal";
    mortal = (mortal_devices){.is_lost = false};
    const weft_engine_options options = placed_options(stages, 2);
    weft_engine *engine = create_engine(model, options);
    weft_session *session = open_random(engine, 0);
    add_question_tokens(session, 9, N_PROMPT);
    read_tokens(session, 2, tokens);
    mortal.calls_left[call] = 2;
    while ((status = weft_session_next(session, &piece, &error)) == WEFT_OK) assert_false(piece.last);
    assert_int_equal(status, WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, "pulled the plug"));
    assert_int_equal(weft_session_next(session, &piece, &error), WEFT_DEVICE_LOST);
    CHECK(weft_session_move(session, whole, &carried, &error));
    assert_goes_on_as(session, whole);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static void sessions_outlive_a_stage(void **state) {
    (void)state;
    weft_engine *whole = create_on_cpu(model, plain_options(device_name), 0);
    mortal_plant(runtime, device_name);
    lose_stage(0, MORTAL_WAIT, whole);
    lose_stage(1, MORTAL_SUBMIT, whole);
    if (!is_slow_gpu()) lose_stage(0, MORTAL_SUBMIT, whole);
    if (!is_slow_gpu()) lose_stage(1, MORTAL_WAIT, whole);
    weft_engine_destroy(whole);
}

static int setup(void **state) {
    (void)state;
    weft_error error = {0};
    CHECK(weft_runtime_create(NULL, &runtime, &error));
    model = open_synth(runtime, "tiny", "Q8_0", device_path("device_stages"));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    return end_tiny(runtime, model, device_path("device_stages"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_one_device),
        cmocka_unit_test(every_kind_of_layer_can_be_divided),
        cmocka_unit_test(logits_scores_and_embeddings_are_equal),
        cmocka_unit_test(sessions_do_what_they_do_on_one_device),
        cmocka_unit_test(cancelled_prompts_go_on),
        cmocka_unit_test(sessions_outlive_a_stage),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
