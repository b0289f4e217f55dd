/* A cancel does not wait for the device: the call ends while the device still runs the step, or while its plan is made. What the
 * step leaves behind harms nobody: the session, others in the same step, sessions that come later, and those on a device that never
 * ends the step. */
#include "stages_support.h"
#include "tests/support/mortal.h"

#define PATH "test_cancel_held.tmp"
#include "tiny_model.h"

#define MS UINT64_C(1000000)
/* Far more than a cancel takes, even if other programs keep the processor busy. */
#define HOLD_NS (2000 * MS)
#define LIMIT_NS (50 * MS)
#define N_TRIES 5

static const question asked = {.seed = 8, .n_prompt = 12, .n_predict = 6}, other = {.seed = 9, .n_prompt = 4, .n_predict = 6};

/* ---- Calls in threads of their own ---- */

typedef enum call_kind { CALL_PREFILL, CALL_NEXT, CALL_STEP } call_kind;

typedef struct caller {
    call_kind kind;
    weft_engine *engine;
    answer *a;
    weft_status status;
    weft_piece piece;
    weft_error error;
    uint64_t ended_ns;
    weft_os_thread thread;
} caller;

static void call(void *user) {
    caller *c = user;
    if (c->kind == CALL_PREFILL) c->status = weft_session_prefill(c->a->session, &c->error);
    if (c->kind == CALL_NEXT) c->status = weft_session_next(c->a->session, &c->piece, &c->error);
    if (c->kind == CALL_STEP) c->status = weft_engine_step(c->engine, NULL, &c->error);
    c->ended_ns = weft_os_now();
}

static caller *start(call_kind kind, weft_engine *engine, answer *a) {
    caller *c = calloc(1, sizeof *c);
    assert_non_null(c);
    *c = (caller){.kind = kind, .engine = engine, .a = a};
    assert_true(weft_os_thread_start(&c->thread, call, c));
    return c;
}

static caller end(caller *c) {
    weft_os_thread_join(&c->thread);
    const caller copy = *c;
    free(c);
    return copy;
}

/* Cancels the session of the call, which returns while the device holds its step. */
static uint64_t cancel(caller *c) {
    const uint64_t begin = weft_os_now();
    weft_session_cancel(c->a->session);
    const caller ended = end(c);
    assert_true(ended.ended_ns - begin < HOLD_NS / 2);
    if (ended.kind == CALL_PREFILL) assert_int_equal(ended.status, WEFT_CANCELLED);
    if (ended.kind == CALL_NEXT) assert_true(ended.status == WEFT_OK && ended.piece.finish == WEFT_FINISH_CANCELLED);
    return ended.ended_ns - begin;
}

/* ---- Engines ---- */

static weft_engine *create_queued(const char *device, int32_t depth) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_options options = plain_options(device);
    options.n_kept = -1; /* each prompt runs */
    CHECK(weft_engine_create_queued(model, &options, depth, &engine, &error));
    return engine;
}

static weft_engine *create(const char *device) {
    return create_queued(device, 1);
}

/* A card ends no running step, and has a queue. */
static weft_engine *create_mortal(bool is_card) {
    mortal_plant(runtime, "cpu");
    mortal = (mortal_devices){.is_card = is_card};
    return create_queued("mortal", is_card ? 2 : 1);
}

static void hold(uint64_t ns) {
    mortal.n_steps = 0;
    atomic_store(&mortal.held_until_ns, weft_os_now() + ns);
}

static bool is_held(void) {
    return weft_os_now() < atomic_load(&mortal.held_until_ns);
}

static void await(const atomic_int *n) {
    while (atomic_load(n) == 0) weft_os_sleep(MS);
}

/* Of a session whose step the device holds, because it was cancelled. */
static void begin_held(weft_engine *engine, answer *a) {
    begin_answer(engine, &asked, a);
    hold(HOLD_NS);
    caller *c = start(CALL_PREFILL, engine, a);
    await(&mortal.n_steps);
    cancel(c);
    assert_true(is_held());
}

static void assert_goes_on(answer *a, const answer *whole) {
    while (a->session) go_on_answer(a);
    assert_same_answer(a, whole);
}

/* ---- Steps that are held ---- */

static void cancel_when_held(weft_engine *engine, call_kind kind, const answer *whole) {
    uint64_t ns = UINT64_MAX;
    for (int i = 0; i < N_TRIES && ns > LIMIT_NS; i++) {
        answer a;
        begin_answer(engine, &asked, &a);
        hold(HOLD_NS);
        caller *c = start(kind, engine, &a);
        await(&mortal.n_steps);
        ns = cancel(c);
        assert_true(is_held());
        /* The next call waits for the end of the step. */
        hold(20 * MS);
        assert_goes_on(&a, whole);
        assert_false(is_held());
    }
    print_message("a cancel took %.1f ms\n", (double)ns / 1e6);
    assert_true(ns <= LIMIT_NS);
}

static void a_call_ends_while_its_step_runs(void **state) {
    (void)state;
    for (int is_card = 0; is_card < 2; is_card++) {
        answer whole;
        weft_engine *engine = create_mortal(is_card);
        answer_alone(engine, &asked, &whole);
        cancel_when_held(engine, CALL_PREFILL, &whole);
        cancel_when_held(engine, CALL_NEXT, &whole);
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        weft_engine_destroy(engine);
    }
}

/* Whichever of the two runs the step. A device that cannot end it runs no row of the other session again. */
static void other_sessions_are_not_disturbed(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool is_card = i & 1, other_first = i & 2;
        answer whole, whole_other, a, b;
        weft_session_timing timing;
        weft_engine *engine = create_mortal(is_card);
        answer_alone(engine, &asked, &whole);
        answer_alone(engine, &other, &whole_other);
        begin_answer(engine, &asked, &a);
        begin_answer(engine, &other, &b);
        hold(HOLD_NS);
        caller *c[2];
        c[0] = other_first ? start(CALL_NEXT, engine, &b) : start(CALL_PREFILL, engine, &a);
        await(&mortal.n_steps);
        c[1] = other_first ? start(CALL_PREFILL, engine, &a) : start(CALL_NEXT, engine, &b);
        weft_os_sleep(5 * MS); /* the second waits, too */
        cancel(c[other_first]);
        assert_true(is_held());
        hold(0);
        const caller next = end(c[!other_first]);
        assert_int_equal(next.status, WEFT_OK);
        keep_piece(&b, &next.piece);
        weft_session_measure(b.session, &timing);
        if (is_card) assert_int_equal(timing.n_prefill, other.n_prompt);
        assert_goes_on(&b, &whole_other);
        assert_goes_on(&a, &whole);
        weft_engine_destroy(engine);
    }
}

/* The other session's call must not wait either, nor one that needs the engine alone. */
static void a_session_is_destroyed_while_its_step_runs(void **state) {
    (void)state;
    for (int is_card = 0; is_card < 2; is_card++) {
        answer whole, whole_other, a, b;
        weft_engine *engine = create_mortal(is_card);
        answer_alone(engine, &asked, &whole);
        answer_alone(engine, &other, &whole_other);
        begin_held(engine, &a);
        weft_session_destroy(a.session);
        begin_answer(engine, &other, &b);
        assert_true(pages_free(engine) < engine->pages.n_pages);
        assert_true(is_held());
        hold(20 * MS);
        assert_goes_on(&b, &whole_other);
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        answer_alone(engine, &asked, &a);
        assert_same_answer(&a, &whole);
        /* Nobody waits for the step, and its pages are free once it has ended. */
        begin_held(engine, &a);
        weft_session_destroy(a.session);
        assert_true(pages_free(engine) < engine->pages.n_pages);
        hold(0);
        for (int i = 0; i < 5000 && pages_free(engine) < engine->pages.n_pages; i++) weft_os_sleep(MS);
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        /* The engine's end waits for it. */
        begin_held(engine, &a);
        weft_session_destroy(a.session);
        hold(20 * MS);
        weft_engine_destroy(engine);
        assert_false(is_held());
    }
}

/* Each of these waits for the step itself. */
static void a_session_is_copied_while_its_step_runs(void **state) {
    (void)state;
    weft_error error = {0};
    for (int i = 0; i < 6; i++) {
        answer whole, a, copy;
        weft_engine *engine = create_mortal(i & 1), *to = create("cpu");
        answer_alone(engine, &asked, &whole);
        begin_held(engine, &a);
        copy = a;
        hold(20 * MS);
        if (i / 2 == 0) CHECK(weft_session_fork(a.session, NULL, &copy.session, &error));
        if (i / 2 == 1) CHECK(weft_session_move(a.session, to, NULL, &error));
        if (i / 2 == 2) {
            CHECK(weft_session_save(a.session, PATH ".saved", NULL, &error));
            CHECK(weft_session_restore(to, PATH ".saved", NULL, &copy.session, NULL, &error));
            assert_int_equal(remove(PATH ".saved"), 0);
        }
        while (i / 2 != 1 && copy.session) go_on_answer(&copy);
        if (i / 2 != 1) assert_memory_equal(copy.tokens, whole.tokens, sizeof whole.tokens); /* files have no n_top */
        CHECK(weft_session_rewind(a.session, (size_t)asked.n_prompt, &error));
        assert_goes_on(&a, &whole);
        weft_engine_destroy(engine);
        weft_engine_destroy(to);
    }
}

/* ---- Devices that are lost, or never end the step ---- */

static void move_away(weft_engine *engine, answer *a, const answer *whole) {
    weft_error error = {0};
    weft_engine *processor = create("cpu");
    for (int i = 0; i < 2; i++) assert_int_equal(weft_session_prefill(a->session, &error), WEFT_DEVICE_LOST);
    CHECK(weft_session_move(a->session, processor, NULL, &error));
    assert_goes_on(a, whole);
    hold(0);
    weft_engine_destroy(engine);
    weft_engine_destroy(processor);
}

/* The answer by itself, and the same one whose call was cancelled. */
static weft_engine *begin_again_held(bool is_card, answer *whole, answer *a) {
    weft_engine *engine = create_mortal(is_card);
    answer_alone(engine, &asked, whole);
    begin_held(engine, a);
    return engine;
}

static void a_device_is_lost_after_the_cancel(void **state) {
    (void)state;
    for (int is_card = 0; is_card < 2; is_card++) {
        answer whole, a;
        weft_engine *engine = begin_again_held(is_card, &whole, &a);
        mortal.is_lost = true;
        move_away(engine, &a, &whole);
    }
}

static void a_stuck_device_is_lost_once_somebody_waits(void **state) {
    (void)state;
    for (int is_card = 0; is_card < 2; is_card++) {
        answer whole, a;
        weft_engine *engine = begin_again_held(is_card, &whole, &a);
        const uint64_t grace_ns = mortal_set_grace(runtime, 20 * MS);
        hold(UINT64_MAX / 2);
        move_away(engine, &a, &whole);
        mortal_set_grace(runtime, grace_ns);
    }
}

/* ---- Plans ---- */

/* A plan that is made for the call, or, in another thread, for any step. */
static void a_call_ends_while_a_plan_is_made(void **state) {
    (void)state;
    for (int steps = 0; steps < 2; steps++) {
        answer whole, a;
        weft_engine *engine = create("cpu");
        answer_alone(engine, &asked, &whole);
        weft_engine_destroy(engine);
        engine = create_mortal(false);
        begin_answer(engine, &asked, &a);
        mortal.plan_ns = steps ? HOLD_NS : 60000 * MS;
        caller *stepper = steps ? start(CALL_STEP, engine, NULL) : NULL, *c = steps ? NULL : start(CALL_PREFILL, engine, &a);
        await(&mortal.n_plans);
        if (steps) {
            c = start(CALL_PREFILL, engine, &a);
            weft_os_sleep(5 * MS);
        }
        cancel(c);
        if (steps) end(stepper);
        mortal.plan_ns = 0;
        assert_goes_on(&a, &whole);
        weft_engine_destroy(engine);
    }
}

static bool goes_on_before_plans(void *user, uint64_t done, uint64_t total) {
    (void)user;
    assert_true(done <= total);
    return mortal.n_plans == 0;
}

/* Those of a card's first step are a part of loading. */
static void first_plans_are_made_with_the_engine(void **state) {
    (void)state;
    weft_error error = {0};
    answer a;
    weft_engine *engine = create_mortal(true);
    const int n_plans = mortal.n_plans;
    answer_alone(engine, &(question){.seed = 1, .n_prompt = 16, .n_predict = 2}, &a);
    assert_int_equal(n_plans, 3);
    assert_int_equal(mortal.n_plans, n_plans + 2); /* with max_top there are other results */
    weft_engine_destroy(engine);
    weft_engine_options options = plain_options("mortal");
    options.progress = goes_on_before_plans;
    mortal = (mortal_devices){.is_card = true, .plan_ns = 60000 * MS};
    engine = NULL;
    assert_int_equal(weft_engine_create(model, &options, &engine, &error), WEFT_CANCELLED);
    assert_null(engine);
    assert_int_equal(mortal.n_plans, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_ends_while_its_step_runs),
        cmocka_unit_test(other_sessions_are_not_disturbed),
        cmocka_unit_test(a_session_is_destroyed_while_its_step_runs),
        cmocka_unit_test(a_session_is_copied_while_its_step_runs),
        cmocka_unit_test(a_device_is_lost_after_the_cancel),
        cmocka_unit_test(a_stuck_device_is_lost_once_somebody_waits),
        cmocka_unit_test(a_call_ends_while_a_plan_is_made),
        cmocka_unit_test(first_plans_are_made_with_the_engine),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
