/* Saved sessions go on with the same tokens, on other engines too. */
#define PATH "test_saved.tmp"
#include "saved_support.h"

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

/* An answer that ended by an end token is over after restoring, too. */
static void ended_answers_are_over(void **state) {
    (void)state;
    int n_ended = 0;
    for (uint64_t seed = 0; seed < 60 && n_ended == 0; seed++) {
        weft_piece piece;
        weft_session *session = ask((weft_session_options){.n_ctx = 256, .sampling = {.temperature = 50, .seed = seed}});
        do CHECK(weft_session_next(session, &piece, &error));
        while (!piece.last);
        if (piece.finish == WEFT_FINISH_STOP) {
            n_ended++;
            bytes b = save(session, false);
            weft_session *restored = restore(&b, NULL);
            assert_int_equal(weft_session_next(restored, &piece, &error), WEFT_INVALID_ARGUMENT);
            weft_session_destroy(restored);
            free(b.bytes);
        }
        weft_session_destroy(session);
    }
    assert_true(n_ended > 0);
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
        cmocka_unit_test(ended_answers_are_over),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
