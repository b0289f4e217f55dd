/* Layers divided among devices: which divisions are refused, what lies where, loading, and allocations that fail. */
#include "limited_allocator.h"
#include "stages_support.h"
#include "tests/support/mortal.h"

#define PATH "test_stages.tmp"
#include "tiny_model.h"

/* ---- Options and descriptions ---- */

static void wrong_stages_are_refused(void **state) {
    (void)state;
    const struct {
        weft_stage stages[4];
        size_t n;
        weft_status status;
        const char *message;
    } cases[] = {
        {{{"cpu", 1, {0}}, {"cpu", 1, {0}}}, 2, WEFT_INVALID_ARGUMENT, "have 1 + 1 = 2 layers, and the model has 3"},
        {{{"cpu", 4, {0}}}, 1, WEFT_INVALID_ARGUMENT, "have 4 layers, and the model has 3"},
        {{{"cpu", 3, {0}}, {"cpu", 0, {0}}}, 2, WEFT_INVALID_ARGUMENT, "no layer is left for"},
        {{{"cpu", 0, {0}}, {"cpu", 0, {0}}}, 2, WEFT_INVALID_ARGUMENT, "only one can have the rest"},
        {{{"cpu", -1, {0}}, {"cpu", 4, {0}}}, 2, WEFT_INVALID_ARGUMENT, "has -1 layers"},
        {{{"cpu", 1, {0}}, {"cpu", 2, {0, 7}}}, 2, WEFT_INVALID_ARGUMENT, "reserved must be zero"},
        {{{"cpu", 1, {0}}, {"cpu", 1, {0}}, {"cpu", 1, {0}}, {"cpu", 1, {0}}},
         4,
         WEFT_INVALID_ARGUMENT,
         "4 stages; the model has 3 layers"},
        {{{"cpu", 2, {0}}, {"no such device", 0, {0}}}, 2, WEFT_NOT_FOUND, "no such device"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        weft_error error = {0};
        weft_engine *engine = NULL;
        const weft_engine_options options = placed_options(cases[i].stages, cases[i].n);
        assert_int_equal(weft_engine_create(model, &options, &engine, &error), cases[i].status);
        if (!strstr(error.message, cases[i].message)) fail_msg("%s", error.message);
        assert_null(engine);
    }
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_options options = placed_options(cases[0].stages, 2);
    options.device = "cpu";
    assert_int_equal(weft_engine_create(model, &options, &engine, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "options.device is given, too"));
    options = placed_options(NULL, 2);
    assert_int_equal(weft_engine_create(model, &options, &engine, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "options.stages is missing"));
}

static void stages_are_measured(void **state) {
    (void)state;
    weft_error error = {0};
    const weft_stage stages[] = {{.device = "cpu", .n_layers = 1}, {.device = "cpu"}};
    const weft_engine_options options = placed_options(stages, 2), plain = plain_options("cpu");
    weft_stage_info list[2], info;
    weft_store_bytes sum, whole;
    size_t count = 0;
    memset(list, 0xa5, sizeof list);
    CHECK(weft_engine_measure_stages(model, &options, list, 2, &count, &error));
    CHECK(weft_engine_measure(model, &options, &sum, &error));
    CHECK(weft_engine_measure(model, &plain, &whole, &error));
    assert_int_equal(count, 2);
    assert_int_equal(list[0].first_layer, 0);
    assert_int_equal(list[0].n_layers, 1);
    assert_int_equal(list[1].first_layer, 1);
    assert_int_equal(list[1].n_layers, 2);
    assert_string_equal(list[0].device.backend, "cpu");
    assert_string_equal(list[1].device.backend, "cpu");
    assert_int_equal(sum.total, list[0].bytes.total + list[1].bytes.total);
    assert_int_equal(sum.weights, list[0].bytes.weights + list[1].bytes.weights);
    assert_true(list[0].bytes.states < list[1].bytes.states && sum.states >= whole.states);
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_require_zero("list", list[i].reserved, sizeof list[i].reserved, NULL), WEFT_OK);
    weft_engine *engine = create_engine(model, options);
    for (size_t i = 0; i < 2; i++) {
        assert_true(weft_engine_stage_at(engine, i, &info));
        assert_int_equal(info.first_layer, list[i].first_layer);
        assert_int_equal(info.bytes.total, list[i].bytes.total);
    }
    assert_false(weft_engine_stage_at(engine, 2, &info));
    assert_int_equal(info.n_layers, 0);
    weft_engine_destroy(engine);
    CHECK(weft_engine_measure_stages(model, &plain, list, 1, &count, &error));
    assert_int_equal(count, 1);
    assert_int_equal(list[0].n_layers, 3);
    assert_int_equal(list[0].bytes.total, whole.total);
    assert_int_equal(weft_engine_measure_stages(NULL, &plain, list, 1, &count, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_engine_measure_stages(model, &plain, NULL, 1, &count, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_engine_measure_stages(model, &plain, list, 1, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_false(weft_engine_stage_at(NULL, 0, &info));
}

typedef struct loading {
    uint64_t last, total, stop_at;
} loading;

static bool follow(void *user, uint64_t done, uint64_t total) {
    loading *l = user;
    assert_true(done >= l->last && done <= total && (l->total == 0 || l->total == total));
    l->last = done;
    l->total = total;
    return l->stop_at == 0 || done < l->stop_at;
}

/* The stages are loaded one after the other, and count as one. */
static void loading_is_followed_and_cancelled(void **state) {
    (void)state;
    weft_error error = {0};
    const weft_stage stages[] = {{.device = "cpu", .n_layers = 1}, {.device = "cpu"}};
    weft_engine_options options = placed_options(stages, 2);
    loading l = {.last = 0};
    weft_engine *engine = NULL;
    options.progress = follow;
    options.progress_user = &l;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    assert_true(l.total > 0);
    assert_int_equal(l.last, l.total);
    weft_engine_destroy(engine);
    l = (loading){.stop_at = l.total - 1};
    engine = NULL;
    assert_int_equal(weft_engine_create(model, &options, &engine, &error), WEFT_CANCELLED);
    assert_null(engine);
}

static weft_status load_with_free(const weft_stage *stages, uint64_t memory_free, loading *l, weft_error *error) {
    weft_engine_options options = placed_options(stages, 2);
    weft_engine *engine = NULL;
    *l = (loading){.last = 0};
    options.progress = follow;
    options.progress_user = l;
    mortal = (mortal_devices){.memory_free = memory_free};
    weft_status status = weft_engine_create(model, &options, &engine, error);
    weft_engine_destroy(engine);
    return status;
}

/* Where a later stage has no room, the first one is not loaded. Stages on one device need room together. */
static void nothing_is_loaded_without_room_for_all(void **state) {
    (void)state;
    weft_error error = {0};
    const weft_stage apart[] = {{.device = "cpu", .n_layers = 1}, {.device = "mortal"}};
    const weft_stage together[] = {{.device = "mortal", .n_layers = 1}, {.device = "mortal"}};
    const weft_engine_options options = placed_options(together, 2);
    weft_stage_info list[2];
    size_t count = 0;
    loading l;
    mortal_plant(runtime, "cpu");
    CHECK(weft_engine_measure_stages(model, &options, list, 2, &count, &error));
    const uint64_t first = list[0].bytes.bytes_used, second = list[1].bytes.bytes_used;
    assert_int_equal(load_with_free(apart, second - 1, &l, &error), WEFT_OUT_OF_MEMORY);
    assert_non_null(strstr(error.message, "its layers need"));
    assert_int_equal(l.total, 0);
    CHECK(load_with_free(apart, second, &l, &error));
    assert_int_equal(l.last, l.total);
    assert_int_equal(load_with_free(together, first + second - 1, &l, &error), WEFT_OUT_OF_MEMORY);
    assert_int_equal(l.total, 0);
    CHECK(load_with_free(together, first + second, &l, &error));
}

/* ---- Cancelling ---- */

static void cancel_session(void *user) {
    weft_session_cancel(user);
}

/* A step whose first device cannot end it does not go on to the second. */
static void a_cancel_ends_a_step_between_two_devices(void **state) {
    (void)state;
    weft_error error = {0};
    const weft_stage stages[] = {{.device = "mortal", .n_layers = 1}, {.device = "mortal"}};
    const question q = {.seed = 8, .n_prompt = 12, .n_predict = 4};
    answer whole, a;
    mortal_plant(runtime, "cpu");
    mortal = (mortal_devices){.n_steps = 0};
    weft_engine *engine = create_engine(model, placed_options(stages, 2));
    answer_alone(engine, &q, &whole);
    begin_answer(engine, &q, &a);
    weft_session_set_back(a.session, 0);
    mortal.n_steps = 0;
    mortal.user = a.session;
    mortal.in_wait = cancel_session;
    assert_int_equal(weft_session_prefill(a.session, &error), WEFT_CANCELLED);
    assert_int_equal(mortal.n_steps, 1);
    while (a.session) go_on_answer(&a);
    assert_same_answer(&a, &whole);
    weft_engine_destroy(engine);
}

/* ---- Failing allocations ---- */

static weft_status whole_life(weft_model *opened, weft_token *chosen, weft_error *error) {
    const weft_stage stages[] = {{.device = "cpu", .n_layers = 1}, {.device = "cpu"}};
    const weft_engine_options options = placed_options(stages, 2);
    weft_engine *engine = NULL;
    weft_session *session = NULL;
    weft_token tokens[20];
    weft_piece piece = {.last = false};
    question_tokens(&(question){.seed = 2, .n_prompt = 20}, opened->hyper.n_vocab, tokens);
    weft_status status = weft_engine_create(opened, &options, &engine, error);
    if (status == WEFT_OK) status = weft_session_create(engine, NULL, &session, error);
    if (status == WEFT_OK) status = weft_session_add_tokens(session, tokens, 20, error);
    if (status == WEFT_OK) status = weft_session_next(session, &piece, error);
    /* A step that failed in any stage has lost nothing: the same call can go on. */
    weft_error again = {0};
    if (session && status == WEFT_OUT_OF_MEMORY && weft_session_next(session, &piece, &again) != WEFT_OK) piece.token = *chosen;
    if (session && piece.token != *chosen) *chosen = piece.token;
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    return status;
}

/* One in several, for time. */
static void every_allocation_can_fail(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_error error = {0};
    weft_model *opened = NULL;
    weft_token expected = -1;
    size_t n_failed = 0;
    weft_runtime *limited = limited_runtime(&limits);
    assert_non_null(limited);
    CHECK(weft_model_open(limited, PATH, &opened, &error));
    CHECK(whole_life(opened, &expected, &error));
    const size_t n_before = limits.n_live, n_all = limits.n_all;
    CHECK(whole_life(opened, &expected, &error));
    const size_t step = 1 + (limits.n_all - n_all) / 100;
    for (size_t n = 1;; n += step) {
        weft_token token = expected;
        limits.fail_at = limits.n_all + n;
        weft_status status = whole_life(opened, &token, &error);
        assert_int_equal(limits.n_live, n_before);
        assert_int_equal(token, expected);
        if (limits.n_all < limits.fail_at) break;
        if (status != WEFT_OK) assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        n_failed += status != WEFT_OK;
    }
    print_message("one in %zu allocations failed in turn: %zu\n", step, n_failed);
    assert_true(n_failed > 10);
    weft_model_close(opened);
    weft_runtime_destroy(limited);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_stages_are_refused),
        cmocka_unit_test(stages_are_measured),
        cmocka_unit_test(loading_is_followed_and_cancelled),
        cmocka_unit_test(nothing_is_loaded_without_room_for_all),
        cmocka_unit_test(a_cancel_ends_a_step_between_two_devices),
        cmocka_unit_test(every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
