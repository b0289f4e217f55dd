/* Threads that do everything at once with sessions of two engines: they add, say, read, poll, go back, fork, cancel, save, restore,
 * move and destroy at random. Every call ends, no page is lost, and afterwards each session chooses what a fresh session with its
 * tokens chooses.
 *
 *     test_schedules [SECONDS [SEED [DEVICE]]]
 */
#include "limited_allocator.h"
#include "memory_file.h"
#include "stress_questions.h"
#include "watchdog.h"

enum { N_SEATS = 4, N_ACTORS = 4, N_ACTS = 40, N_CTX = 96 };

/* The place of a session. Any number of threads use it at once; to be moved or replaced it has to be free. */
typedef enum seat_state { FREE, MOVES, IS_REPLACED } seat_state;
typedef struct seat {
    weft_os_mutex mutex;
    weft_session *session; /* may be NULL */
    int n_users;
    seat_state state;
} seat;

typedef struct actor {
    uint32_t random;
    weft_os_thread thread;
} actor;

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_engine *engines[2];
static seat seats[N_SEATS];
static double seconds = 0.1;
static uint32_t first_seed = 1;
static const char *device = "cpu", *path = "test_schedules.tmp";
static atomic_size_t n_moved, n_forked, n_restored, n_cancelled, n_read;

/* ---- Seats ---- */

static weft_session *use(seat *s) {
    weft_os_mutex_lock(&s->mutex);
    weft_session *session = s->state == FREE ? s->session : NULL;
    s->n_users += session != NULL;
    weft_os_mutex_unlock(&s->mutex);
    return session;
}

static void stop_using(seat *s) {
    weft_os_mutex_lock(&s->mutex);
    s->n_users--;
    weft_os_mutex_unlock(&s->mutex);
}

static bool take(seat *s, seat_state state) {
    weft_os_mutex_lock(&s->mutex);
    bool is_free = s->state == FREE && s->n_users == 0;
    if (is_free) s->state = state;
    weft_os_mutex_unlock(&s->mutex);
    return is_free;
}

static void leave(seat *s) {
    weft_os_mutex_lock(&s->mutex);
    s->state = FREE;
    weft_os_mutex_unlock(&s->mutex);
}

/* ---- Acts ---- */

static weft_sampling_options random_sampling(uint32_t *random) {
    return (weft_sampling_options){.max_tokens = (int32_t)(next_random(random) % 20),
                                   .temperature = (float)(next_random(random) % 2),
                                   .seed = next_random(random),
                                   .ignore_end = next_random(random) % 4 != 0};
}

static weft_status create_session(weft_session **session, uint32_t *random, weft_error *error) {
    weft_session_options options = {.sampling = random_sampling(random), .share_group = next_random(random) % 2};
    options.when_full = next_random(random) % 2 ? WEFT_WHEN_FULL_DROP : WEFT_WHEN_FULL_STOP;
    return weft_session_create(engines[next_random(random) % 2], &options, session, error);
}

/* What takes the place of the session in a seat: a new one, a fork of another, or another that was saved. */
static weft_status replace(weft_session **session, weft_session *other, uint32_t *random, weft_error *error) {
    memory_file file = {.size = 0};
    const uint32_t what = next_random(random) % 3;
    weft_session_destroy(*session);
    *session = NULL;
    if (!other || what == 0) return create_session(session, random, error);
    if (what == 1) {
        weft_status status = weft_session_fork(other, NULL, session, error);
        n_forked += status == WEFT_OK;
        return status;
    }
    const weft_save_options save = {.write = memory_write, .user = &file, .tokens_only = next_random(random) % 4 == 0};
    weft_status status = weft_session_save(other, NULL, &save, error);
    if (status == WEFT_OK)
        status = weft_session_restore(engines[next_random(random) % 2], NULL,
                                      &(weft_restore_options){.read = memory_read, .user = &file}, session, NULL, error);
    n_restored += status == WEFT_OK;
    memory_release(&file);
    return status;
}

static weft_status add(weft_session *session, uint32_t *random, weft_error *error) {
    static const char *const texts[] = {"so", "and then?", "it is", "no"};
    weft_token tokens[24];
    const uint32_t what = next_random(random) % 4, n = 1 + next_random(random) % 24;
    question_tokens(&(question){.seed = 1 + what % 2, .n_prompt = 24}, 200, tokens);
    if (what < 2) return weft_session_add_tokens(session, tokens, n, error);
    if (what == 2) return weft_session_say(session, WEFT_USER, texts[n % 4], error);
    return weft_session_begin(session, texts[n % 4], error);
}

static weft_status go_back(weft_session *session, uint32_t *random, weft_error *error) {
    weft_message message;
    size_t n = 0;
    if (next_random(random) % 2) {
        weft_session_tokens(session, NULL, &n);
        return weft_session_rewind(session, n > 0 ? next_random(random) % n : 0, error);
    }
    while (weft_session_message_at(session, n, &message)) n++;
    return weft_session_rewind_messages(session, n > 0 ? next_random(random) % n : 0, error);
}

static weft_status use_session(weft_session *session, uint32_t *random, weft_error *error) {
    weft_piece piece = {.last = true};
    weft_session_timing timing;
    const weft_sampling_options sampling = random_sampling(random);
    weft_status status = WEFT_OK;
    bool found = false;
    switch (next_random(random) % 12) {
    case 0:
    case 1:
        return add(session, random, error);
    case 2:
    case 3:
        return go_back(session, random, error);
    case 4:
        return weft_session_prefill(session, error);
    case 5:
        return weft_session_poll(session, &piece, &found, error);
    case 6:
        return weft_session_set_sampling(session, &sampling, error);
    case 7:
        weft_session_measure(session, &timing);
        return WEFT_OK;
    default:
        status = weft_session_next(session, &piece, error);
        n_read += status == WEFT_OK && !piece.last;
        return status;
    }
}

static weft_status move(weft_session *session, uint32_t *random, weft_error *error) {
    weft_status status = weft_session_move(session, engines[next_random(random) % 2], NULL, error);
    n_moved += status == WEFT_OK;
    return status;
}

/* Any thread may cancel a session at any time, but while it is destroyed. */
static void cancel(seat *s) {
    weft_os_mutex_lock(&s->mutex);
    if (s->state != IS_REPLACED && s->session) {
        weft_session_cancel(s->session);
        n_cancelled++;
    }
    weft_os_mutex_unlock(&s->mutex);
}

static void act(actor *a) {
    seat *s = &seats[next_random(&a->random) % N_SEATS], *other = &seats[next_random(&a->random) % N_SEATS];
    weft_error error = {0};
    weft_session *session;
    weft_status status = WEFT_OK;
    const uint32_t what = next_random(&a->random) % 16;
    float scores[5];
    if (what == 0) {
        cancel(s);
    } else if (what == 1) {
        status = weft_engine_step(engines[next_random(&a->random) % 2], NULL, &error);
    } else if (what == 2) {
        status = weft_engine_score(engines[next_random(&a->random) % 2], (const weft_token[]){1, 2, 3, 4, 5}, 5, scores, &error);
    } else if (what <= 4 && s != other && take(s, IS_REPLACED)) {
        session = use(other);
        status = replace(&s->session, session, &a->random, &error);
        if (session) stop_using(other);
        leave(s);
    } else if (what <= 6 && take(s, MOVES)) {
        if (s->session) status = move(s->session, &a->random, &error);
        leave(s);
    } else if ((session = use(s)) != NULL) {
        status = use_session(session, &a->random, &error);
        stop_using(s);
    }
    atomic_fetch_add(&n_returned, 1);
    /* A session may be full, empty or shorter by now, and an engine may have no sequence left. */
    if (status != WEFT_OK && status != WEFT_CANCELLED && status != WEFT_INVALID_ARGUMENT && status != WEFT_FULL)
        FAULT("act %u: %s: %s", (unsigned)what, weft_status_text(status), error.message);
}

static void act_often(void *user) {
    for (int n = 0; n < N_ACTS && !atomic_load(&fault.happened); n++) act(user);
}

/* ---- Afterwards ---- */

static void read_tokens(weft_session *session, int n, weft_token *tokens) {
    weft_error error = {0};
    for (int i = 0; i < n;) {
        weft_piece piece;
        CHECK(weft_session_next(session, &piece, &error));
        if (!piece.last) tokens[i++] = piece.token;
    }
}

static void assert_goes_on_as_fresh(weft_session *session, uint32_t seed) {
    weft_error error = {0};
    weft_token own[3], expected[3];
    const weft_token *held;
    size_t n;
    const weft_session_options options = {.n_ctx = N_CTX, .sampling.ignore_end = true, .share_group = WEFT_SHARE_NONE};
    weft_session_tokens(session, NULL, &n);
    if (n > 80) CHECK(weft_session_rewind(session, 80, &error));
    add_question_tokens(session, seed, 2);
    weft_session_tokens(session, &held, &n);
    weft_session *fresh = open_session(session->engine, options);
    CHECK(weft_session_add_tokens(fresh, held, n, &error));
    read_tokens(fresh, 3, expected);
    weft_session_destroy(fresh);
    CHECK(weft_session_set_sampling(session, &options.sampling, &error));
    read_tokens(session, 3, own);
    if (memcmp(own, expected, sizeof own) != 0) fail_msg("seed %u: a session says something else", (unsigned)seed);
}

static void create_engines(uint32_t *random) {
    for (int i = 0; i < 2; i++) {
        weft_error error = {0};
        const weft_engine_options options = {.device = device,
                                             .device_options.n_threads = 1,
                                             .precision = WEFT_EXACT,
                                             .n_ctx = N_CTX,
                                             .n_sequences = N_SEATS + 1,
                                             .page_size = 16 >> i,
                                             .n_cache = N_CTX + (int32_t)(next_random(random) % 200),
                                             .n_kept = next_random(random) % 3 == 0 ? 32 : 0,
                                             .max_rows = 8 << next_random(random) % 3};
        CHECK(weft_engine_create_queued(model, &options, 1 + (int32_t)(next_random(random) % 3), &engines[i], &error));
    }
}

static void run_schedule(uint32_t seed) {
    uint32_t random = seed;
    weft_error error = {0};
    actor actors[N_ACTORS];
    const size_t n_live = limits.n_live;
    create_engines(&random);
    for (uint32_t i = 0; i < N_SEATS; i++) {
        seats[i] = (seat){.session = NULL};
        assert_true(weft_os_mutex_init(&seats[i].mutex));
        CHECK(create_session(&seats[i].session, &random, &error));
        add_question_tokens(seats[i].session, 1 + i % 2, 40);
    }
    for (uint32_t i = 0; i < N_ACTORS; i++) {
        actors[i] = (actor){.random = next_random(&random)};
        assert_true(weft_os_thread_start(&actors[i].thread, act_often, &actors[i]));
    }
    for (uint32_t i = 0; i < N_ACTORS; i++) weft_os_thread_join(&actors[i].thread);
    if (atomic_load(&fault.happened)) fail_msg("seed %u: %s", (unsigned)seed, fault.what);
    for (uint32_t i = 0; i < N_SEATS; i++) {
        if (seats[i].session) assert_goes_on_as_fresh(seats[i].session, seed);
        weft_session_destroy(seats[i].session);
        weft_os_mutex_destroy(&seats[i].mutex);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pages_free(engines[i]), engines[i]->pages.n_pages);
        weft_engine_destroy(engines[i]);
    }
    assert_int_equal(limits.n_live, n_live);
}

static void random_schedules(void **state) {
    (void)state;
    const uint64_t end = weft_os_now() + (uint64_t)(seconds * 1e9);
    uint32_t seed = first_seed;
    assert_true(watchdog_begin());
    for (; weft_os_now() < end || seed < first_seed + 2; seed++) {
        atomic_store(&watched_seed, seed);
        run_schedule(seed);
    }
    watchdog_end();
    print_message("seeds %u to %u: %zu tokens read, %zu moved, %zu forked, %zu restored, %zu cancelled\n", (unsigned)first_seed,
                  (unsigned)seed - 1, (size_t)n_read, (size_t)n_moved, (size_t)n_forked, (size_t)n_restored, (size_t)n_cancelled);
}

static int setup(void **state) {
    (void)state;
    runtime = limited_runtime(&limits);
    model = open_synth(runtime, "tiny-qwen3", "Q8_0", path);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    end_tiny(runtime, model, path);
    assert_int_equal(limits.n_live, 0);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1) seconds = strtod(argv[1], NULL);
    if (argc > 2) first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
    if (argc > 3) device = argv[3];
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_schedules)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
