/* Answers that begin on the processor and go on on a device, and the other way round: by moving and by saving the session. */
#include "device_support.h"
#include "engine_support.h"

enum { N_PROMPT = 20, N_ANSWER = 9, N_FIRST = 3, MAX_FILE = 1 << 20 };

static weft_runtime *runtime;
static weft_model *model;

static weft_engine *create(const char *device, int32_t page_size) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    const weft_engine_options options = {.device = device,
                                         .device_options.n_threads = 1,
                                         .precision = WEFT_EXACT,
                                         .n_ctx = 64,
                                         .n_sequences = 2,
                                         .page_size = page_size,
                                         .max_rows = 32};
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

static weft_session *ask(weft_engine *engine) {
    weft_error error = {0};
    weft_token tokens[N_PROMPT];
    weft_session *session = open_session(
        engine, (weft_session_options){.sampling = {.max_tokens = N_ANSWER, .temperature = 1, .seed = 5, .ignore_end = true}});
    question_tokens(&(question){.seed = 9, .n_prompt = N_PROMPT}, model->hyper.n_vocab, tokens);
    CHECK(weft_session_add_tokens(session, tokens, N_PROMPT, &error));
    return session;
}

static void read_answer(weft_session *session, size_t n, weft_token *tokens) {
    weft_error error = {0};
    weft_piece piece;
    for (size_t i = 0; i < n; i++) {
        CHECK(weft_session_next(session, &piece, &error));
        assert_false(piece.last);
        tokens[i] = piece.token;
    }
}

typedef struct bytes {
    unsigned char bytes[MAX_FILE];
    size_t size, at;
} bytes;

static weft_status keep_bytes(void *user, const void *from, size_t size, weft_error *error) {
    bytes *b = user;
    (void)error;
    assert_true(size <= MAX_FILE - b->size);
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

static weft_session *save_and_restore(weft_session *session, weft_engine *to, weft_session_carried *carried) {
    static bytes b;
    weft_error error = {0};
    b.size = b.at = 0;
    CHECK(weft_session_save(session, NULL, &(weft_save_options){.write = keep_bytes, .user = &b}, &error));
    weft_session_destroy(session);
    CHECK(weft_session_restore(to, NULL, &(weft_restore_options){.read = give_bytes, .user = &b}, &session, carried, &error));
    return session;
}

static void goes_on(weft_engine *from, weft_engine *to, bool moves, const weft_token *expected) {
    weft_error error = {0};
    weft_token tokens[N_ANSWER];
    weft_session_carried carried;
    weft_session *session = ask(from);
    read_answer(session, N_FIRST, tokens);
    if (moves)
        CHECK(weft_session_move(session, to, &carried, &error));
    else
        session = save_and_restore(session, to, &carried);
    assert_int_equal(carried.n_tokens, N_PROMPT + N_FIRST);
    assert_int_equal(carried.n_copied, N_PROMPT + N_FIRST - 1);
    read_answer(session, N_ANSWER - N_FIRST, tokens + N_FIRST);
    assert_memory_equal(tokens, expected, sizeof tokens);
    weft_session_destroy(session);
}

static void answers_go_on_on_another_device(void **state) {
    (void)state;
    weft_token expected[N_ANSWER];
    weft_engine *processor = create("cpu", 8), *device = create(device_name, 32);
    weft_session *session = ask(processor);
    read_answer(session, N_ANSWER, expected);
    weft_session_destroy(session);
    for (int moves = 0; moves < 2; moves++) {
        goes_on(processor, device, moves, expected);
        goes_on(device, processor, moves, expected);
    }
    weft_engine_destroy(device);
    weft_engine_destroy(processor);
}

static int setup(void **state) {
    (void)state;
    return begin_tiny(&runtime, &model, device_path("device_carry"));
}

static int teardown(void **state) {
    (void)state;
    return end_tiny(runtime, model, device_path("device_carry"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_go_on_on_another_device)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
