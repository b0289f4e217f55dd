/* Sampling options: stop texts against a search in the whole text, and where answers end. test_penalties.c has the formulas, and
 * device_sampling.c compares the host's choices with a device's. */
#include "decoder/utf8.h"
#include "engine_support.h"
#include "limited_allocator.h"

#include <math.h>

#define PATH "test_sampling.tmp"
#define N_SEEDS 200

static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engine;
static weft_error error;

/* ---- Stop texts ---- */

/* Where the text ends: before the stop text that is complete first, the longest of those that are complete there. */
static size_t naive_end(const char *all, size_t size, const char *const *stops, size_t n_stops) {
    for (size_t end = 1; end <= size; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n_stops; i++) {
            size_t n = strlen(stops[i]);
            if (n <= end && n > longest && memcmp(all + end - n, stops[i], n) == 0) longest = n;
        }
        if (longest > 0) return end - longest;
    }
    return size;
}

static size_t random_letters(uint32_t *random, size_t n, char *letters) {
    for (size_t i = 0; i < n; i++) letters[i] = "ab\xC3\xA4"[next_random(random) % 4];
    letters[n] = 0;
    return n;
}

static void stops_are_found_in_any_parts(void **state) {
    (void)state;
    int n_found = 0, n_not = 0;
    for (uint32_t seed = 1; seed <= 5 * N_SEEDS; seed++) {
        uint32_t random = seed;
        char all[64], words[3][16], given[64];
        const char *stops_texts[3] = {words[0], words[1], words[2]};
        size_t n_stops = 1 + next_random(&random) % 3, size = random_letters(&random, next_random(&random) % 60, all), n_given = 0;
        for (size_t i = 0; i < n_stops; i++) random_letters(&random, 1 + next_random(&random) % 6, words[i]);
        size_t expected = naive_end(all, size, stops_texts, n_stops), at = 0, n_text = 0, found = 0;
        weft_stops stops;
        assert_true(weft_stops_begin(&stops, runtime, stops_texts, n_stops));
        while (at < size && found == 0) {
            size_t part = 1 + next_random(&random) % 4;
            if (part > size - at) part = size - at;
            n_text += weft_stops_take(&stops, all + at, part, &found);
            at += part;
            n_given = n_text - (found > 0 ? found : weft_stops_held(&stops));
            memcpy(given, all, n_given);
            /* Nothing is given that is not in the text. */
            assert_true(n_given <= expected);
        }
        if (found == 0) n_given = n_text;
        if (n_given != expected) fail_msg("seed %u: the text ends at %zu, expected %zu", seed, n_given, expected);
        assert_memory_equal(given, all, found > 0 ? n_given : 0);
        n_found += found > 0;
        n_not += found == 0;
        weft_stops_end(&stops, runtime);
    }
    assert_true(n_found > 100 && n_not > 100);
}

typedef struct told {
    char text[4096];
    size_t size, n_pieces;
    weft_finish finish;
    weft_token tokens[128];
} told;

static void read_answer(weft_session *session, told *t) {
    weft_piece piece;
    bool ends[sizeof t->text + 1] = {false};
    *t = (told){.size = 0};
    do {
        CHECK(weft_session_next(session, &piece, &error));
        assert_true(t->size + piece.size <= sizeof t->text);
        memcpy(t->text + t->size, piece.text, piece.size);
        t->size += piece.size;
        if (!piece.last) t->tokens[t->n_pieces++] = piece.token;
        if (!piece.last) ends[t->size] = true;
    } while (!piece.last);
    t->finish = piece.finish;
    /* No piece but the last ends inside a character. */
    for (size_t i = 0; i < t->size;) {
        size_t n = weft_utf8_size(t->text + i, t->size - i);
        for (size_t k = 1; k < n; k++) assert_false(ends[i + k]);
        i += n > 0 ? n : 1;
    }
}

static weft_session *ask(weft_sampling_options sampling) {
    weft_session *session = open_session(engine, (weft_session_options){.sampling = sampling});
    CHECK(weft_session_add_text(session, "h", 1, false, &error));
    return session;
}

/* A part of an answer's text as its stop text, which may begin and end inside of tokens and characters. */
static void answers_end_before_stop_texts(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 5; seed++) {
        uint32_t random = seed;
        weft_sampling_options options = {.max_tokens = 24, .temperature = 3, .seed = seed, .ignore_end = true};
        told whole, cut;
        weft_session *session = ask(options);
        read_answer(session, &whole);
        weft_session_destroy(session);
        char stop[16] = {0}, never[] = "never\n\nsaid";
        size_t n = 1 + next_random(&random) % 5, first = next_random(&random) % (whole.size - n);
        memcpy(stop, whole.text + first, n);
        if (strlen(stop) < n) continue; /* a zero byte */
        const char *stops[] = {never, stop};
        options.stop = stops;
        options.n_stop = 2;
        session = ask(options);
        memset(stop, 'x', n); /* the session has a copy */
        read_answer(session, &cut);
        memcpy(stop, whole.text + first, n);
        size_t expected = naive_end(whole.text, whole.size, stops, 2);
        assert_int_equal(cut.finish, WEFT_FINISH_STOP_TEXT);
        if (cut.size != expected) fail_msg("seed %u: %zu bytes, expected %zu", seed, cut.size, expected);
        assert_memory_equal(cut.text, whole.text, cut.size);
        const weft_token *tokens;
        size_t n_tokens;
        weft_session_tokens(session, &tokens, &n_tokens);
        assert_int_equal(n_tokens, 1 + cut.n_pieces);
        assert_memory_equal(cut.tokens, whole.tokens, cut.n_pieces * sizeof *cut.tokens);
        /* The answer can go on. */
        CHECK(weft_session_set_sampling(session, &(weft_sampling_options){.max_tokens = 2, .ignore_end = true}, &error));
        read_answer(session, &cut);
        assert_int_equal(cut.finish, WEFT_FINISH_LENGTH);
        assert_int_equal(cut.n_pieces, 2);
        weft_session_destroy(session);
    }
}

/* What was held back comes in the last piece. */
static void half_a_stop_text_is_given_at_the_end(void **state) {
    (void)state;
    weft_sampling_options options = {.max_tokens = 6, .ignore_end = true};
    told whole, held;
    weft_session *session = ask(options);
    read_answer(session, &whole);
    weft_session_destroy(session);
    char stop[128];
    assert_true(whole.size > 0 && whole.size + 2 < sizeof stop && !memchr(whole.text, 0, whole.size));
    snprintf(stop, sizeof stop, "%.*s!", (int)whole.size, whole.text);
    options.stop = &(const char *){stop};
    options.n_stop = 1;
    session = ask(options);
    weft_piece piece;
    for (int i = 0; i < 6; i++) {
        CHECK(weft_session_next(session, &piece, &error));
        assert_int_equal(piece.size, 0);
    }
    read_answer(session, &held);
    assert_int_equal(held.finish, WEFT_FINISH_LENGTH);
    assert_int_equal(held.size, whole.size);
    assert_memory_equal(held.text, whole.text, whole.size);
    weft_session_destroy(session);
}

/* ---- Options of an answer ---- */

typedef struct watched {
    size_t n_calls, n_max, last_n;
    weft_token forced;
} watched;

static bool watch(void *user, const weft_token *tokens, size_t n_tokens, float *logits, size_t n_vocab) {
    watched *w = user;
    assert_int_equal(n_vocab, model->hyper.n_vocab);
    assert_true(n_tokens > 0 && tokens[n_tokens - 1] >= 0);
    assert_true(w->n_calls == 0 || n_tokens == w->last_n + 1);
    w->last_n = n_tokens;
    if (w->forced >= 0) logits[w->forced] = INFINITY;
    return ++w->n_calls <= w->n_max;
}

static void a_hook_changes_logits_and_ends_answers(void **state) {
    (void)state;
    watched w = {.n_max = 5, .forced = 77};
    told t;
    weft_session *session = ask((weft_sampling_options){.hook = watch, .hook_user = &w, .ignore_end = true, .temperature = 1});
    read_answer(session, &t);
    assert_int_equal(t.finish, WEFT_FINISH_HOOK);
    assert_int_equal(t.n_pieces, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(t.tokens[i], 77);
    /* The next call asks again. */
    w = (watched){.n_max = 2, .forced = 78};
    read_answer(session, &t);
    assert_int_equal(t.n_pieces, 2);
    assert_int_equal(t.tokens[1], 78);
    weft_session_destroy(session);
}

static void biases_are_added(void **state) {
    (void)state;
    told t;
    weft_logit_bias forced[] = {{.token = 9, .bias = 5e8f}, {.token = 9, .bias = 5e8f}, {.token = 5, .bias = 9e8f}};
    weft_session *session =
        ask((weft_sampling_options){.max_tokens = 4, .logit_bias = forced, .n_logit_bias = 3, .ignore_end = true});
    forced[0].token = forced[1].token = 4; /* the session has a copy */
    read_answer(session, &t);
    for (int i = 0; i < 4; i++) assert_int_equal(t.tokens[i], 9);
    weft_logit_bias never = {.token = 9, .bias = -INFINITY};
    watched w = {.n_max = 100, .forced = 9};
    CHECK(weft_session_set_sampling(
        session,
        &(weft_sampling_options){
            .max_tokens = 4, .logit_bias = &never, .n_logit_bias = 1, .hook = watch, .hook_user = &w, .ignore_end = true},
        &error));
    read_answer(session, &t);
    for (int i = 0; i < 4; i++) assert_int_not_equal(t.tokens[i], 9); /* infinity and -infinity are no number */
    weft_session_destroy(session);
}

/* Options that are set during an answer are those of the next one. */
static void options_belong_to_answers(void **state) {
    (void)state;
    weft_piece piece;
    told t;
    weft_session *session = ask((weft_sampling_options){.max_tokens = 3, .ignore_end = true, .n_top = 1});
    CHECK(weft_session_next(session, &piece, &error));
    assert_int_equal(piece.n_top, 1);
    CHECK(weft_session_set_sampling(session, &(weft_sampling_options){.max_tokens = 9, .ignore_end = true}, &error));
    CHECK(weft_session_set_sampling(session, &(weft_sampling_options){.max_tokens = 5, .n_top = 2, .ignore_end = true}, &error));
    read_answer(session, &t);
    assert_int_equal(t.n_pieces, 2);
    CHECK(weft_session_next(session, &piece, &error));
    assert_int_equal(piece.n_top, 2);
    read_answer(session, &t);
    assert_int_equal(t.n_pieces, 4);
    assert_int_equal(weft_session_set_sampling(session, &(weft_sampling_options){.top_k = -1}, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_session_set_sampling(NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    read_answer(session, &t);
    assert_int_equal(t.n_pieces, 5);
    weft_session_destroy(session);
}

/* A stop text that has begun is found after a move, and options that wait are not lost. */
static void a_move_keeps_the_options(void **state) {
    (void)state;
    weft_engine *other = NULL;
    weft_piece piece;
    told t;
    size_t size = 0;
    CHECK(weft_engine_create(
        model,
        &(weft_engine_options){
            .device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = 128, .max_top = 2, .logits = true},
        &other, &error));
    watched w = {.n_max = 100, .forced = -1};
    weft_sampling_options options = {.max_tokens = 20, .hook = watch, .hook_user = &w, .ignore_end = true};
    weft_session *session = ask(options);
    read_answer(session, &t);
    weft_session_destroy(session);
    char stop[64];
    size_t last = (size_t)snprintf(stop, sizeof stop, "%.*s", 6, t.text + 2);
    size_t expected = naive_end(t.text, t.size, (const char *const[]){stop}, 1);
    assert_true(last == 6 && expected < t.size);
    options.stop = &(const char *){stop};
    options.n_stop = 1;
    w = (watched){.n_max = 100, .forced = -1};
    session = ask(options);
    do {
        CHECK(weft_session_next(session, &piece, &error));
        size += piece.size;
        if (session->engine != other)
            CHECK(weft_session_set_sampling(session, &(weft_sampling_options){.max_tokens = 3, .ignore_end = true}, &error));
        if (piece.last || weft_stops_held(&session->sampler->stops) == 0 || session->engine == other) continue;
        CHECK(weft_session_move(session, other, NULL, &error));
        w.n_calls = 0;
    } while (!piece.last);
    assert_int_equal(piece.finish, WEFT_FINISH_STOP_TEXT);
    assert_int_equal(size, expected);
    assert_ptr_equal(session->engine, other);
    read_answer(session, &t);
    assert_int_equal(t.n_pieces, 3);
    weft_session_destroy(session);
    weft_engine_destroy(other);
}

static void random_seeds_differ(void **state) {
    (void)state;
    told a, b;
    weft_sampling_options options = {.max_tokens = 20, .temperature = 5, .seed = WEFT_SEED_RANDOM, .ignore_end = true};
    weft_session *session = ask(options);
    read_answer(session, &a);
    weft_session_destroy(session);
    session = ask(options);
    read_answer(session, &b);
    weft_session_destroy(session);
    assert_memory_not_equal(a.tokens, b.tokens, 20 * sizeof *a.tokens);
}

static void senseless_options_are_refused(void **state) {
    (void)state;
    const char *const empty[] = {""}, *const missing[] = {NULL};
    const weft_logit_bias outside[] = {{.token = model->hyper.n_vocab}}, negative[] = {{.token = -1}},
                          nan[] = {{.token = 1, .bias = NAN}}, infinite[] = {{.token = 1, .bias = INFINITY}};
    const weft_sampling_options senseless[] = {
        {.repeat_penalty = -1},
        {.repeat_penalty = INFINITY},
        {.frequency_penalty = NAN},
        {.presence_penalty = INFINITY},
        {.penalty_window = -2},
        {.dry_multiplier = -1},
        {.dry_base = 0.5f},
        {.dry_allowed_length = -1},
        {.dry_window = -1},
        {.dry_breakers = empty, .n_dry_breakers = 1},
        {.n_dry_breakers = 1},
        {.stop = empty, .n_stop = 1},
        {.stop = missing, .n_stop = 1},
        {.n_stop = 1},
        {.n_logit_bias = 1},
        {.logit_bias = outside, .n_logit_bias = 1},
        {.logit_bias = negative, .n_logit_bias = 1},
        {.logit_bias = nan, .n_logit_bias = 1},
        {.logit_bias = infinite, .n_logit_bias = 1},
    };
    weft_sampler *sampler = NULL;
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        assert_int_equal(weft_sampler_create(engine, &senseless[i], 128, &sampler, &error), WEFT_INVALID_ARGUMENT);
        assert_true(strlen(error.message) > 10);
    }
    weft_engine *plain = NULL;
    CHECK(weft_engine_create(model, &(weft_engine_options){.device = "cpu", .n_ctx = 32}, &plain, &error));
    const weft_sampling_options on_host[] = {
        {.repeat_penalty = 1.1f}, {.presence_penalty = 1}, {.dry_multiplier = 1}, {.hook = watch}};
    for (size_t i = 0; i < sizeof on_host / sizeof *on_host; i++) {
        assert_int_equal(weft_sampler_create(plain, &on_host[i], 32, &sampler, &error), WEFT_INVALID_ARGUMENT);
        assert_non_null(strstr(error.message, "logits"));
    }
    weft_engine_destroy(plain);
}

/* ---- Memory ---- */

static void every_allocation_can_fail(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *limited = limited_runtime(&limits);
    weft_model *opened = NULL;
    weft_engine *small = NULL;
    CHECK(weft_model_open(limited, PATH, &opened, &error));
    CHECK(weft_engine_create(
        opened, &(weft_engine_options){.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64, .logits = true, .max_top = 2},
        &small, &error));
    const char *const texts[] = {"stop", "halt"};
    const weft_logit_bias bias = {.token = 1, .bias = 1};
    const weft_sampling_options options = {.temperature = 1,
                                           .n_top = 2,
                                           .repeat_penalty = 1.1f,
                                           .dry_multiplier = 1,
                                           .stop = texts,
                                           .n_stop = 2,
                                           .logit_bias = &bias,
                                           .n_logit_bias = 1};
    size_t n_live = limits.n_live, n_failed = 0;
    weft_session *session = NULL;
    CHECK(weft_session_create(small, NULL, &session, &error));
    for (;; n_failed++) {
        limits.n_all = 0;
        limits.fail_at = n_failed + 1;
        if (weft_session_set_sampling(session, &options, &error) == WEFT_OK) break;
        assert_int_equal(error.status, WEFT_OUT_OF_MEMORY);
    }
    assert_true(n_failed >= 12);
    limits.fail_at = 0;
    weft_session_destroy(session);
    assert_int_equal(limits.n_live, n_live);
    weft_engine_destroy(small);
    weft_model_close(opened);
    weft_runtime_destroy(limited);
    assert_int_equal(limits.n_live, 0);
}

static int setup(void **state) {
    (void)state;
    begin_tiny(&runtime, &model, PATH);
    engine = create_on_cpu(
        model, (weft_engine_options){.precision = WEFT_EXACT, .n_ctx = 128, .n_sequences = 2, .max_top = 2, .logits = true}, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    return end_tiny(runtime, model, PATH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_are_found_in_any_parts),
        cmocka_unit_test(answers_end_before_stop_texts),
        cmocka_unit_test(half_a_stop_text_is_given_at_the_end),
        cmocka_unit_test(a_hook_changes_logits_and_ends_answers),
        cmocka_unit_test(biases_are_added),
        cmocka_unit_test(options_belong_to_answers),
        cmocka_unit_test(a_move_keeps_the_options),
        cmocka_unit_test(random_seeds_differ),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
