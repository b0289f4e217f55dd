/* Saved sessions: they go on with the same tokens, and no damage, full disk or lack of memory does harm. */
#include <sys/resource.h>

#define PATH "test_saved.tmp"
#include "say_support.h"

#define FILE_PATH "test_saved_session.tmp"
enum { N_PROMPT = 20, N_ANSWER = 12, MAX_FILE = 1 << 20 };

/* ---- Bytes in memory ---- */

typedef struct bytes {
    unsigned char *bytes;
    size_t size, at;
    size_t piece; /* bytes that a read gives at most; 0: all */
} bytes;

static weft_status keep_bytes(void *user, const void *from, size_t size, weft_error *why) {
    bytes *b = user;
    (void)why;
    assert_true(size <= MAX_FILE - b->size);
    memcpy(b->bytes + b->size, from, size);
    b->size += size;
    return WEFT_OK;
}

static weft_status give_bytes(void *user, void *into, size_t size, size_t *n_read, weft_error *why) {
    bytes *b = user;
    (void)why;
    if (size > b->size - b->at) size = b->size - b->at;
    if (b->piece && size > b->piece) size = b->piece;
    memcpy(into, b->bytes + b->at, size);
    b->at += size;
    *n_read = size;
    return WEFT_OK;
}

static bytes save(weft_session *session, bool tokens_only) {
    bytes b = {.bytes = malloc(MAX_FILE)};
    assert_non_null(b.bytes);
    CHECK(weft_session_save(session, NULL, &(weft_save_options){.write = keep_bytes, .user = &b, .tokens_only = tokens_only},
                            &error));
    return b;
}

static weft_status restore_to(weft_engine *to, bytes *b, const weft_session_options *options, weft_session **session,
                              weft_session_carried *carried) {
    b->at = 0;
    const weft_restore_options from = {.read = give_bytes, .user = b, .session = options};
    return weft_session_restore(to, NULL, &from, session, carried, &error);
}

static weft_session *restore(bytes *b, weft_session_carried *carried) {
    weft_session *session = NULL;
    CHECK(restore_to(engine, b, NULL, &session, carried));
    return session;
}

/* ---- Answers ---- */

static const weft_session_options random_answer = {
    .sampling = {.max_tokens = N_ANSWER, .temperature = 3, .top_k = 50, .seed = 77, .ignore_end = true}};

static weft_session *ask(weft_session_options options) {
    weft_token tokens[N_PROMPT];
    weft_session *session = open_session(engine, options);
    question_tokens(&(question){.seed = 3, .n_prompt = N_PROMPT}, model->hyper.n_vocab, tokens);
    CHECK(weft_session_add_tokens(session, tokens, N_PROMPT, &error));
    return session;
}

/* Reads up to `n` tokens and returns how many there were; the text's place moves on. */
static size_t read_answer(weft_session *session, size_t n, weft_token *tokens, char **text) {
    weft_piece piece = {.last = false};
    size_t count = 0;
    while (count < n && !piece.last) {
        CHECK(weft_session_next(session, &piece, &error));
        memcpy(*text, piece.text, piece.size);
        *text += piece.size;
        if (!piece.last) tokens[count++] = piece.token;
    }
    return count;
}

static void goes_on_after(size_t n_before, bool tokens_only, size_t piece) {
    weft_token whole[N_ANSWER], parts[N_ANSWER];
    static char whole_text[4096], parts_text[4096];
    char *whole_end = whole_text, *parts_end = parts_text;
    weft_session_carried carried;
    weft_session *session = ask(random_answer);
    assert_int_equal(read_answer(session, N_ANSWER + 1, whole, &whole_end), N_ANSWER);
    weft_session_destroy(session);
    session = ask(random_answer);
    read_answer(session, n_before, parts, &parts_end);
    bytes b = save(session, tokens_only);
    b.piece = piece;
    weft_session_destroy(session);
    session = restore(&b, &carried);
    assert_int_equal(carried.n_tokens, N_PROMPT + n_before);
    assert_int_equal(carried.n_copied + carried.n_computed, carried.n_tokens);
    assert_int_equal(carried.n_copied, tokens_only || n_before == 0 ? 0 : carried.n_tokens - 1);
    assert_string_equal(carried.reason, "");
    assert_int_equal(read_answer(session, N_ANSWER + 1, parts + n_before, &parts_end), N_ANSWER - n_before);
    assert_memory_equal(parts, whole, sizeof whole);
    assert_int_equal(parts_end - parts_text, whole_end - whole_text);
    assert_memory_equal(parts_text, whole_text, (size_t)(whole_end - whole_text));
    weft_session_timing timing;
    weft_session_measure(session, &timing);
    const int32_t n_run = n_before == N_ANSWER ? 0 : N_PROMPT + N_ANSWER - 1 - carried.n_copied;
    assert_int_equal(timing.n_prefill + timing.n_decode, n_run);
    weft_session_destroy(session);
    free(b.bytes);
}

static void an_answer_goes_on_with_the_same_tokens(void **state) {
    (void)state;
    for (size_t n = 0; n <= N_ANSWER; n++) goes_on_after(n, n % 3 == 0, n % 2 ? 7 : 0);
}

/* Of other sessions that had its pages before, nothing is in a saved session. */
static void the_bytes_are_those_of_the_session_alone(void **state) {
    (void)state;
    weft_token tokens[100];
    weft_engine *used = engine;
    const weft_engine_options options = {
        .device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = 128, .n_cache = 128};
    bytes saved[2];
    for (int i = 0; i < 2; i++) {
        CHECK(weft_engine_create(model, &options, &engine, &error));
        if (i == 1) {
            weft_session *other = open_session(engine, random_answer);
            question_tokens(&(question){.seed = 8, .n_prompt = 100}, model->hyper.n_vocab, tokens);
            CHECK(weft_session_add_tokens(other, tokens, 100, &error));
            CHECK(weft_session_prefill(other, &error));
            weft_session_destroy(other);
        }
        weft_session *session = ask(random_answer);
        CHECK(weft_session_prefill(session, &error));
        saved[i] = save(session, false);
        weft_session_destroy(session);
        weft_engine_destroy(engine);
    }
    engine = used;
    assert_int_equal(saved[0].size, saved[1].size);
    assert_memory_equal(saved[0].bytes, saved[1].bytes, saved[0].size);
    free(saved[0].bytes);
    free(saved[1].bytes);
}

static bool first_of_may(void *user, weft_date *now) {
    (void)user;
    *now = (weft_date){.year = 2021, .month = 5, .day = 1};
    return true;
}

/* The date of the first message stays, and no clock is needed. */
static void a_date_stays(void **state) {
    (void)state;
    const weft_token *tokens;
    char text[400];
    size_t size = 0;
    const weft_render_options chat = {.clock = first_of_may};
    weft_session *session = begin("{{ strftime_now('%d.%m.%Y') }} {% for m in messages %}{{ m.content }};{% endfor %}",
                                  (weft_session_options){.chat = &chat});
    CHECK(weft_session_say(session, WEFT_USER, "one", &error));
    bytes b = save(session, true);
    weft_session_destroy(session);
    session = restore(&b, NULL);
    CHECK(weft_session_say(session, WEFT_USER, "two", &error));
    size_t n = session_tokens(session, &tokens);
    CHECK(weft_detokenize(model, tokens, n, true, text, sizeof text - 1, &size, &error));
    text[size] = 0;
    assert_string_equal(text, "01.05.2021 one;two;");
    weft_session_destroy(session);
    free(b.bytes);
}

static void a_conversation_goes_on(void **state) {
    (void)state;
    weft_session_carried carried;
    weft_session *session = begin(PLAIN, (weft_session_options){.sampling.max_tokens = 4});
    say(session, WEFT_SYSTEM, "be good");
    bytes b = save(session, false);
    weft_session_destroy(session);
    session = restore(&b, &carried);
    free(b.bytes);
    say(session, WEFT_USER, "one\ntwo");
    reply(session, "three");
    b = save(session, false);
    weft_session_destroy(session);
    session = restore(&b, &carried);
    say(session, WEFT_USER, "four");
    assert_said(session, false);
    assert_tokens(session, false);
    weft_session_destroy(session);
    free(b.bytes);
}

/* ---- Other engines ---- */

static weft_engine *create(weft_engine_options options) {
    weft_engine *made = NULL;
    options.device = "cpu";
    options.device_options.n_threads = 1;
    CHECK(weft_engine_create(model, &options, &made, &error));
    return made;
}

static void other_engines_take_what_they_can(void **state) {
    (void)state;
    static const struct {
        weft_engine_options options;
        int32_t n_copied; /* of N_PROMPT + 1 */
        const char *reason;
    } cases[] = {
        {{.precision = WEFT_EXACT, .n_ctx = 64, .page_size = 4}, N_PROMPT + 1, ""},
        {{.precision = WEFT_EXACT, .n_ctx = 256, .page_size = 256}, N_PROMPT + 1, ""},
        {{.precision = WEFT_EXACT, .n_ctx = 64, .n_cache = 16, .page_size = 8}, 16, "too few free"},
        {{.precision = WEFT_FAST, .n_ctx = 64}, 0, "precisions"},
        {{.precision = WEFT_FAST, .n_ctx = 64, .kv_f32 = true}, 0, "precisions"},
    };
    weft_token expected[4], tokens[4];
    static char text[4096];
    char *end = text;
    weft_session *session = ask((weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
    assert_int_equal(read_answer(session, 2, tokens, &end), 2);
    bytes b = save(session, false);
    assert_int_equal(read_answer(session, 2, expected, &end), 2);
    weft_session_destroy(session);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weft_session_carried carried;
        weft_engine *other = create(cases[i].options);
        CHECK(restore_to(other, &b, NULL, &session, &carried));
        assert_int_equal(carried.n_copied, cases[i].n_copied);
        assert_non_null(strstr(carried.reason, cases[i].reason));
        if (cases[i].options.precision == WEFT_EXACT && !cases[i].options.n_cache) {
            assert_int_equal(read_answer(session, 2, tokens, &end), 2);
            assert_memory_equal(tokens, expected, 2 * sizeof *tokens);
        }
        weft_session_destroy(session);
        weft_engine_destroy(other);
    }
    free(b.bytes);
}

/* ---- Sampling ---- */

/* Options that lead elsewhere come back with the session; so does the end of an answer that was not told yet. */
static void sampling_options_come_back(void **state) {
    (void)state;
    static const char *const breakers[] = {"e", "\n"}, *const never[] = {"never, never", "and never"};
    static const weft_logit_bias biases[] = {{7, 3.5f}, {9, -2}};
    const weft_session_options options = {.sampling = {.max_tokens = N_ANSWER,
                                                       .temperature = 2,
                                                       .seed = WEFT_SEED_RANDOM,
                                                       .ignore_end = true,
                                                       .repeat_penalty = 1.4f,
                                                       .presence_penalty = 0.3f,
                                                       .dry_multiplier = 0.8f,
                                                       .dry_breakers = breakers,
                                                       .n_dry_breakers = 2,
                                                       .logit_bias = biases,
                                                       .n_logit_bias = 2,
                                                       .stop = never,
                                                       .n_stop = 2}};
    weft_engine *usual = engine;
    weft_token whole[N_ANSWER], parts[N_ANSWER];
    static char text[4096];
    char *end = text;
    engine = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 128, .n_sequences = 2, .logits = true});
    weft_session *session = ask(options);
    assert_int_equal(read_answer(session, 5, parts, &end), 5);
    bytes b = save(session, false);
    memcpy(whole, parts, sizeof whole);
    assert_int_equal(read_answer(session, N_ANSWER, whole + 5, &end), N_ANSWER - 5);
    weft_session *restored = restore(&b, NULL);
    const weft_sampling_options *back = &restored->sampler->options;
    assert_true(back->seed == session->sampler->options.seed && back->seed != WEFT_SEED_RANDOM);
    assert_int_equal(back->n_logit_bias, 2);
    assert_string_equal(back->stop[1], "and never");
    assert_string_equal(back->dry_breakers[0], "e");
    assert_int_equal(read_answer(restored, N_ANSWER, parts + 5, &end), N_ANSWER - 5);
    assert_memory_equal(parts, whole, sizeof whole);
    weft_session_destroy(restored);
    weft_session_destroy(session);
    free(b.bytes);
    weft_engine_destroy(engine);
    engine = usual;
}

static void an_end_is_told_after_restoring(void **state) {
    (void)state;
    weft_piece piece = {.last = false};
    weft_token tokens[N_ANSWER];
    static char text[4096];
    char *end = text;
    weft_session *session = ask(random_answer);
    read_answer(session, N_ANSWER, tokens, &end);
    weft_session_destroy(session);
    *end = 0;
    char stop[] = {text[strlen(text) / 2], 0};
    const char *const stops[] = {stop};
    weft_session_options options = random_answer;
    options.sampling.stop = stops;
    options.sampling.n_stop = 1;
    session = ask(options);
    while (session->finish != WEFT_FINISH_STOP_TEXT) CHECK(weft_session_next(session, &piece, &error));
    bytes b = save(session, false);
    weft_session_destroy(session);
    session = restore(&b, NULL);
    CHECK(weft_session_next(session, &piece, &error));
    assert_true(piece.last);
    assert_int_equal(piece.finish, WEFT_FINISH_STOP_TEXT);
    weft_session_destroy(session);
    free(b.bytes);
}

/* ---- Damage ---- */

static bytes small_file(void) {
    weft_engine *small = create((weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 64, .page_size = 1});
    CHECK(weft_model_use_template(model, NULL, "{% for m in messages %}{{ m.content }}{% endfor %}", &error));
    weft_session *session = NULL;
    CHECK(weft_session_create(small, NULL, &session, &error));
    CHECK(weft_session_say(session, WEFT_USER, "a", &error));
    CHECK(weft_session_prefill(session, &error));
    bytes b = save(session, false);
    weft_session_destroy(session);
    weft_engine_destroy(small);
    return b;
}

static void refuses(bytes *b, weft_status expected) {
    weft_session *session = NULL;
    error.message[0] = 0;
    weft_status status = restore_to(engine, b, NULL, &session, NULL);
    assert_int_equal(status, expected);
    assert_null(session);
    assert_true(strlen(error.message) > 10);
}

static void every_damaged_byte_is_found(void **state) {
    (void)state;
    bytes b = small_file();
    weft_session_destroy(restore(&b, NULL));
#if defined(__SANITIZE_ADDRESS__)
    const size_t stride = 9;
#else
    const size_t stride = 1;
#endif
    for (size_t i = 0; i < b.size; i += stride) {
        b.bytes[i] ^= (unsigned char)(1u << i % 8);
        weft_session *session = NULL;
        weft_status status = restore_to(engine, &b, NULL, &session, NULL);
        if (i >= 8 && i < 12)
            assert_int_equal(status, WEFT_UNSUPPORTED); /* the version */
        else
            assert_int_equal(status, WEFT_BAD_FILE);
        assert_null(session);
        b.bytes[i] ^= (unsigned char)(1u << i % 8);
    }
    for (size_t whole = b.size; b.size-- > 0;) {
        if (b.size % (5 * stride) == 0 || b.size + 30 > whole) refuses(&b, WEFT_BAD_FILE);
    }
    free(b.bytes);
}

static void an_endless_section_takes_no_memory_of_its_own(void **state) {
    (void)state;
    bytes b = small_file();
    const size_t before = limits.live;
    limits.peak = before;
    memset(b.bytes + 16, 0x7f, 8); /* the size of the head */
    refuses(&b, WEFT_BAD_FILE);
    assert_true(limits.peak - before < 1 << 20);
    free(b.bytes);
}

static void another_model_is_refused(void **state) {
    (void)state;
    const char other_path[] = PATH ".other";
    weft_model *other = NULL;
    weft_engine *of_other = NULL;
    weft_session *session = NULL;
    bytes b = small_file();
    CHECK(weft_synth(runtime, &(weft_synth_options){.shape = "tiny", .mix = "Q8_0", .seed = 12}, other_path, &error));
    CHECK(weft_model_open(runtime, other_path, &other, &error));
    CHECK(weft_engine_create(other, &(weft_engine_options){.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64}, &of_other,
                             &error));
    assert_int_equal(restore_to(of_other, &b, NULL, &session, NULL), WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "another model"));
    weft_engine_destroy(of_other);
    weft_model_close(other);
    remove(other_path);
    free(b.bytes);
}

static void too_many_tokens_are_refused(void **state) {
    (void)state;
    weft_session *session = ask((weft_session_options){.n_ctx = 64});
    bytes b = save(session, true);
    weft_session_destroy(session);
    assert_int_equal(restore_to(engine, &b, &(weft_session_options){.n_ctx = N_PROMPT - 1}, &session, NULL), WEFT_INVALID_ARGUMENT);
    free(b.bytes);
}

/* ---- Files ---- */

static size_t size_of_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    fclose(file);
    return (size_t)size;
}

/* A limit on the size of files acts as a full disk. */
static void a_full_disk_leaves_the_last_file(void **state) {
    (void)state;
    struct rlimit before, limit;
    weft_session_carried carried;
    weft_session *session = ask(random_answer);
    CHECK(weft_session_prefill(session, &error));
    CHECK(weft_session_save(session, FILE_PATH, NULL, &error));
    const size_t size = size_of_file(FILE_PATH);
    assert_true(size > 10000);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t max = 0; max < size; max += size / 5) {
        limit = before;
        limit.rlim_cur = max;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        weft_status status = weft_session_save(session, FILE_PATH, NULL, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, WEFT_IO);
        assert_int_equal(size_of_file(FILE_PATH), size);
        assert_int_equal(size_of_file(FILE_PATH ".partial"), 0);
    }
    weft_session_destroy(session);
    CHECK(weft_session_restore(engine, FILE_PATH, NULL, &session, &carried, &error));
    assert_int_equal(carried.n_copied, N_PROMPT);
    weft_session_destroy(session);
    remove(FILE_PATH);
    assert_int_equal(weft_session_restore(engine, FILE_PATH, NULL, &session, NULL, &error), WEFT_NOT_FOUND);
}

static weft_status refuse_bytes(void *user, const void *from, size_t size, weft_error *why) {
    (void)user, (void)from, (void)size;
    return weft_fail(why, WEFT_CANCELLED, "not today, says the caller");
}

static void a_callback_s_failure_is_returned(void **state) {
    (void)state;
    weft_session *session = ask(random_answer);
    assert_int_equal(weft_session_save(session, NULL, &(weft_save_options){.write = refuse_bytes}, &error), WEFT_CANCELLED);
    assert_non_null(strstr(error.message, "not today"));
    assert_int_equal(weft_session_save(session, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_save(session, FILE_PATH, &(weft_save_options){.write = refuse_bytes}, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_save(NULL, FILE_PATH, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_restore(engine, NULL, NULL, &session, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_session_destroy(session);
}

static void survives_every_failing_allocation(void **state) {
    (void)state;
    weft_session *session = begin(PLAIN, (weft_session_options){.n_ctx = 256}), *restored = NULL;
    say(session, WEFT_USER, "a");
    CHECK(weft_session_prefill(session, &error));
    bytes b = save(session, false), second = {.bytes = malloc(MAX_FILE)};
    weft_status status = WEFT_OUT_OF_MEMORY;
    size_t n_failed = 0;
    for (; status; n_failed++) {
        const size_t live = limits.n_live;
        second.size = 0;
        limits.fail_at = limits.n_all + n_failed + 1;
        status = weft_session_save(session, NULL, &(weft_save_options){.write = keep_bytes, .user = &second}, &error);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        assert_int_equal(limits.n_live, live);
    }
    assert_in_range(n_failed, 4, 100);
    assert_int_equal(second.size, b.size);
    status = WEFT_OUT_OF_MEMORY;
    for (n_failed = 0; status; n_failed++) {
        const size_t live = limits.n_live;
        limits.fail_at = limits.n_all + n_failed + 1;
        status = restore_to(engine, &b, NULL, &restored, NULL);
        limits.fail_at = 0;
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        if (status != WEFT_OK) assert_int_equal(limits.n_live, live);
    }
    assert_in_range(n_failed, 10, 100);
    weft_session_destroy(restored);
    weft_session_destroy(session);
    free(second.bytes);
    free(b.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_goes_on_with_the_same_tokens),
        cmocka_unit_test(the_bytes_are_those_of_the_session_alone),
        cmocka_unit_test(a_date_stays),
        cmocka_unit_test(a_conversation_goes_on),
        cmocka_unit_test(other_engines_take_what_they_can),
        cmocka_unit_test(sampling_options_come_back),
        cmocka_unit_test(an_end_is_told_after_restoring),
        cmocka_unit_test(every_damaged_byte_is_found),
        cmocka_unit_test(an_endless_section_takes_no_memory_of_its_own),
        cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(too_many_tokens_are_refused),
        cmocka_unit_test(a_full_disk_leaves_the_last_file),
        cmocka_unit_test(a_callback_s_failure_is_returned),
        cmocka_unit_test(survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
