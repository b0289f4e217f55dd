/* Threads that wait on sessions of one engine: every call ends, whatever other calls do, and a cancel ends exactly the right calls.
 *
 *     test_waiting [SECONDS [SEED]]
 */
#include "stress_questions.h"
#include "tests/support/mortal.h"
#include "watchdog.h"

#define PATH "test_waiting.tmp"
#include "tiny_model.h"

#define MAX_THREADS 6

static double seconds = 3;
static uint32_t first_seed = 1;

static weft_engine *create(weft_engine_options options, int32_t depth) {
    return create_on_cpu(model, options, depth);
}

/* Of a device that ends no step until let_go: so all calls of a test wait at the same time, however busy the processor is. */
static weft_engine *create_held(void) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    mortal_plant(runtime, "cpu");
    weft_engine_options options = {.device = "mortal", .n_ctx = 512, .max_rows = 1};
    CHECK(weft_engine_create_queued(model, &options, 1, &engine, &error));
    return engine;
}

static void hold(void) {
    atomic_store(&mortal.held_until_ns, UINT64_MAX);
}

static void let_go(void) {
    atomic_store(&mortal.held_until_ns, 0);
}

/* ---- A test that hangs ends ---- */

static int begin_watch(void **state) {
    (void)state;
    atomic_store(&fault.happened, false);
    assert_true(watchdog_begin());
    return 0;
}

static int end_watch(void **state) {
    (void)state;
    watchdog_end();
    return 0;
}

static void assert_no_fault(void) {
    if (atomic_load(&fault.happened)) fail_msg("seed %u: %s", atomic_load(&watched_seed), fault.what);
}

/* ---- One call in a thread ---- */

typedef struct caller {
    weft_session *session;
    bool prefills;
    weft_status status;
    weft_piece piece;
    weft_error error;
    weft_os_thread thread;
} caller;

static void call(void *user) {
    caller *c = user;
    c->status = c->prefills ? weft_session_prefill(c->session, &c->error) : weft_session_next(c->session, &c->piece, &c->error);
    atomic_fetch_add(&n_returned, 1);
}

static void start(caller *c, weft_session *session, bool prefills) {
    *c = (caller){.session = session, .prefills = prefills};
    assert_true(weft_os_thread_start(&c->thread, call, c));
}

/* Waits until n calls wait on the session. */
static void await_calls(weft_session *session, int n) {
    for (int found = -1; found < n;) {
        weft_os_mutex_lock(&session->engine->mutex);
        found = 0;
        for (const weft_call *c = session->calls; c != NULL; c = c->next) found++;
        weft_os_mutex_unlock(&session->engine->mutex);
    }
}

static void assert_cancelled(caller *c) {
    weft_os_thread_join(&c->thread);
    if (c->prefills) {
        assert_int_equal(c->status, WEFT_CANCELLED);
    } else {
        check(c->status, &c->error, "next");
        assert_true(c->piece.last);
        assert_int_equal(c->piece.finish, WEFT_FINISH_CANCELLED);
    }
}

static void assert_not_cancelled(weft_session *session) {
    weft_error error = {0};
    weft_piece piece;
    CHECK(weft_session_next(session, &piece, &error));
    assert_false(piece.last);
}

static void assert_next_is_cancelled(weft_session *session) {
    weft_error error = {0};
    weft_piece piece;
    CHECK(weft_session_next(session, &piece, &error));
    assert_true(piece.last);
    assert_int_equal(piece.finish, WEFT_FINISH_CANCELLED);
}

/* ---- Prefills ---- */

static void two_prompts_and_pages_for_one(void **state) {
    (void)state;
    enum { ROUNDS = 20 };
    for (int32_t depth = 1; depth <= 2; depth++) {
        weft_engine *engine = create((weft_engine_options){.n_ctx = 128, .n_sequences = 2, .n_cache = 96, .page_size = 16}, depth);
        for (uint32_t round = 0; round < ROUNDS; round++) {
            caller callers[2];
            for (uint32_t i = 0; i < 2; i++) {
                weft_session *session = open_session(engine, (weft_session_options){.sampling.max_tokens = 4});
                add_question_tokens(session, 2 * round + i, 70);
                start(&callers[i], session, true);
            }
            for (size_t i = 0; i < 2; i++) {
                weft_os_thread_join(&callers[i].thread);
                check(callers[i].status, &callers[i].error, "prefill");
            }
            for (size_t i = 0; i < 2; i++) weft_session_destroy(callers[i].session);
        }
        /* A prompt may be run, and lose its pages, before its thread asks for it: then it is run again, and no more than that. */
        assert_in_range(engine->n_rows, ROUNDS * 2 * 70, ROUNDS * 3 * 70);
        weft_engine_destroy(engine);
    }
}

/* The pages of a complete prompt go to another session before the waiting thread has run: its call still succeeds. */
static void a_prompt_that_was_whole_is_enough(void **state) {
    (void)state;
    weft_error error = {0};
    int32_t n_rows = 1;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 128}, 1);
    weft_session *session = open_session(engine, (weft_session_options){.sampling.max_tokens = 4});
    add_question_tokens(session, 1, 70);
    weft_call waits = {.kind = WEFT_CALL_PREFILL};
    weft_call_begin(session, &waits);
    while (n_rows > 0) CHECK(weft_engine_step(engine, &n_rows, &error));
    assert_true(waits.ended);
    assert_int_equal(waits.finish, WEFT_FINISH_NOT);
    weft_session_set_back(session, 0);
    CHECK(weft_engine_step(engine, &n_rows, &error));
    assert_int_equal(n_rows, 0);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* ---- Cancels ---- */

static void a_cancel_ends_every_call(void **state) {
    (void)state;
    static const bool kinds[][3] = {{true, true, true}, {true, false, true}, {false, true, true}, {false, false, false}};
    weft_engine *engine = create_held();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        caller callers[3];
        weft_session *session = open_session(engine, (weft_session_options){.sampling.max_tokens = 4, .sampling.ignore_end = true});
        add_question_tokens(session, 5, 500);
        hold();
        for (size_t i = 0; i < 3; i++) start(&callers[i], session, kinds[k][i]);
        await_calls(session, 3);
        weft_session_cancel(session);
        for (size_t i = 0; i < 3; i++) assert_cancelled(&callers[i]);
        let_go();
        assert_null(session->calls);
        assert_int_equal(session->n_prefills, 0);
        /* The cancel has no further effect. */
        assert_not_cancelled(session);
        weft_session_destroy(session);
    }
    weft_engine_destroy(engine);
}

static void a_cancel_waits_for_a_call(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 128}, 1);
    weft_session *session = open_session(engine, (weft_session_options){.sampling.ignore_end = true});
    add_question_tokens(session, 6, 10);
    weft_session_cancel(session);
    assert_next_is_cancelled(session);
    assert_not_cancelled(session);
    /* An answer that goes on has ended when next says so, whichever call came first. */
    assert_not_cancelled(session);
    weft_session_cancel(session);
    assert_int_equal(weft_session_prefill(session, &error), WEFT_CANCELLED);
    assert_non_null(strstr(error.message, " 10 of 10 prompt tokens"));
    assert_next_is_cancelled(session);
    assert_not_cancelled(session);
    /* A text that is added begins a new answer. */
    weft_session_cancel(session);
    add_question_tokens(session, 7, 3);
    assert_not_cancelled(session);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* A call after a cancel goes on if the cancel has other calls to end. */
static void a_cancel_is_of_those_who_were_there(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine = create((weft_engine_options){.n_ctx = 128}, 1);
    weft_session *session = open_session(engine, (weft_session_options){.sampling.ignore_end = true});
    add_question_tokens(session, 8, 10);
    weft_call waits = {.kind = WEFT_CALL_PREFILL};
    weft_call_begin(session, &waits);
    weft_session_cancel(session);
    CHECK(weft_session_prefill(session, &error));
    assert_true(waits.ended);
    assert_int_equal(waits.finish, WEFT_FINISH_CANCELLED);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* Adding to a session ends the answer for those who wait for it, and not the prompt. */
static void adding_ends_the_answer(void **state) {
    (void)state;
    weft_engine *engine = create_held();
    weft_session *session = open_session(engine, (weft_session_options){.sampling.ignore_end = true});
    caller reads, prefills;
    add_question_tokens(session, 9, 200);
    hold();
    start(&reads, session, false);
    start(&prefills, session, true);
    await_calls(session, 2);
    add_question_tokens(session, 10, 5);
    assert_cancelled(&reads);
    let_go();
    weft_os_thread_join(&prefills.thread);
    check(prefills.status, &prefills.error, "prefill");
    assert_not_cancelled(session);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* A cancel meets a thread that tokenises a text, and one that waits for the first to read the answer. */
static void a_cancel_ends_adding_too(void **state) {
    (void)state;
    weft_engine *engine = create((weft_engine_options){.n_ctx = 128}, 1);
    weft_session *session = open_session(engine, (weft_session_options){.sampling.ignore_end = true});
    caller reads;
    add_question_tokens(session, 11, 10);
    weft_os_mutex_lock(&engine->mutex);
    session->adding = true;
    weft_os_mutex_unlock(&engine->mutex);
    start(&reads, session, false);
    await_calls(session, 1);
    weft_session_cancel(session);
    assert_true(atomic_load(&session->adding_cancelled));
    weft_os_mutex_lock(&engine->mutex);
    session->adding = false;
    weft_session_drop_cancel(session);
    weft_os_mutex_unlock(&engine->mutex);
    assert_cancelled(&reads);
    assert_false(atomic_load(&session->adding_cancelled));
    assert_not_cancelled(session);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* ---- At random ---- */

#define MAX_SHARED 3
#define N_ACTS 60

typedef struct schedule {
    weft_engine *engine;
    weft_session *sessions[MAX_SHARED];
    uint32_t n_sessions;
} schedule;

typedef struct actor {
    schedule *schedule;
    uint32_t random;
    weft_os_thread thread;
} actor;

static void act(actor *a) {
    const schedule *s = a->schedule;
    weft_session *session = s->sessions[next_random(&a->random) % s->n_sessions];
    weft_error error = {0};
    weft_piece piece;
    weft_token token = (weft_token)(next_random(&a->random) % 200);
    weft_status status = WEFT_OK;
    uint32_t what = next_random(&a->random) % 16;
    if (what == 0)
        weft_session_cancel(session);
    else if (what == 1)
        status = weft_session_add_tokens(session, &token, 1, &error);
    else if (what == 2)
        status = weft_engine_step(s->engine, NULL, &error);
    else if (what < 9)
        status = weft_session_prefill(session, &error);
    else
        status = weft_session_next(session, &piece, &error);
    atomic_fetch_add(&n_returned, 1);
    /* Nothing can be added to a full session. */
    if (status != WEFT_OK && status != WEFT_CANCELLED && !(what == 1 && status == WEFT_INVALID_ARGUMENT))
        FAULT("%s: %s", weft_status_text(status), error.message);
}

static void act_often(void *user) {
    for (int n = 0; n < N_ACTS && !atomic_load(&fault.happened); n++) act(user);
}

static void run_schedule(uint32_t seed) {
    uint32_t random = seed;
    schedule s = {.n_sessions = 1 + next_random(&random) % MAX_SHARED};
    actor actors[MAX_THREADS];
    uint32_t n_actors = 2 + next_random(&random) % (MAX_THREADS - 1);
    int32_t page_size = 4 << next_random(&random) % 3;
    s.engine = create((weft_engine_options){.n_ctx = 96,
                                            .n_sequences = (int32_t)s.n_sessions,
                                            .n_cache = 96 + (int32_t)(next_random(&random) % 64),
                                            .page_size = page_size,
                                            .max_rows = 4 << next_random(&random) % 4},
                      1 + (int32_t)(next_random(&random) % 3));
    for (uint32_t i = 0; i < s.n_sessions; i++) {
        s.sessions[i] = open_session(s.engine, (weft_session_options){.sampling.max_tokens = (int32_t)(next_random(&random) % 20),
                                                                      .sampling.ignore_end = true,
                                                                      .sampling.seed = seed});
        add_question_tokens(s.sessions[i], seed + i, 1 + (int32_t)(next_random(&random) % 80));
    }
    for (uint32_t i = 0; i < n_actors; i++) {
        actors[i] = (actor){.schedule = &s, .random = next_random(&random)};
        assert_true(weft_os_thread_start(&actors[i].thread, act_often, &actors[i]));
    }
    for (uint32_t i = 0; i < n_actors; i++) weft_os_thread_join(&actors[i].thread);
    assert_no_fault();
    for (uint32_t i = 0; i < s.n_sessions; i++) {
        assert_null(s.sessions[i]->calls);
        weft_session_cancel(s.sessions[i]);
        assert_next_is_cancelled(s.sessions[i]);
        weft_session_destroy(s.sessions[i]);
    }
    assert_int_equal(pages_free(s.engine), s.engine->pages.n_pages);
    weft_engine_destroy(s.engine);
}

static void random_schedules(void **state) {
    (void)state;
    const uint64_t end = weft_os_now() + (uint64_t)(seconds * 1e9);
    uint32_t seed = first_seed;
    /* One sequence waits for promised pages; once two others took these pages from each other in turn. */
    for (int i = 0; i < 5; i++) {
        atomic_store(&watched_seed, 12);
        run_schedule(12);
    }
    for (; weft_os_now() < end || seed < first_seed + 2; seed++) {
        atomic_store(&watched_seed, seed);
        run_schedule(seed);
    }
    print_message("seeds %u to %u\n", first_seed, seed - 1);
}

#define WATCHED(test) cmocka_unit_test_setup_teardown(test, begin_watch, end_watch)

int main(int argc, char **argv) {
    if (argc > 1) seconds = strtod(argv[1], NULL);
    if (argc > 2) first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        WATCHED(two_prompts_and_pages_for_one),
        WATCHED(a_prompt_that_was_whole_is_enough),
        WATCHED(a_cancel_ends_every_call),
        WATCHED(a_cancel_waits_for_a_call),
        WATCHED(a_cancel_is_of_those_who_were_there),
        WATCHED(adding_ends_the_answer),
        WATCHED(a_cancel_ends_adding_too),
        WATCHED(random_schedules),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
