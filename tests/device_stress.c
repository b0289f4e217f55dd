/* Sequences are queued, stopped, joined, cancelled and destroyed at random, by several threads, on engines of all kinds; every
 * token and log-probability is compared with the run alone of the same sequence on the same device, and of the first few with the
 * cpu backend's.
 *
 *     device_stress DEVICE [SECONDS [SEED]]
 */
#include "decoder/synth.h"
#include "device_support.h"
#include "limited_allocator.h"
#include "stress_counts.h"
#include "stress_questions.h"

#include <math.h>

#define MAX_KNOWN 96
#define MAX_CHAIRS 24
#define MAX_DRIVERS 3
#define N_ON_CPU 6

/* A place for one session after the other. */
typedef struct chair {
    weft_os_mutex mutex; /* around `session` and `asked`, against the thread that cancels */
    weft_session *session;
    int asked; /* how often to cancel, less how often that was seen; two requests may be seen as one */
    known *known;
    observer observer;
    int32_t n_top, n, n_added; /* tokens compared; tokens of the prompt that were added */
    bool disturbed;            /* the length of the answer was counted anew in between */
    bool had_pages;
} chair;

typedef struct round {
    weft_engine *engine;
    bool exact, refuses;
    known **known;
    size_t n_known;
    chair chairs[MAX_CHAIRS];
    uint32_t n_chairs, n_drivers;
    uint64_t ends;
    atomic_bool over;
} round_state;

typedef struct driver {
    round_state *round;
    uint32_t index, random;
    counts counts;
    weft_os_thread thread;
} driver;

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static known catalogue[2][MAX_KNOWN]; /* by precision */
static size_t n_catalogue[2];
static double seconds;
static uint32_t seed = 1;
static counts total;

static bool one_in(driver *d, uint32_t n) {
    return next_random(&d->random) % n == 0;
}

/* ---- One sequence ---- */

static void leave(chair *c) {
    weft_os_mutex_lock(&c->mutex);
    weft_session *session = c->session;
    c->session = NULL;
    c->asked = 0;
    weft_os_mutex_unlock(&c->mutex);
    weft_session_destroy(session);
}

static void begin(driver *d, chair *c) {
    round_state *r = d->round;
    weft_error error = {0};
    weft_session *session = NULL;
    c->known = r->known[next_random(&d->random) % r->n_known];
    c->observer = (observer){.known = c->known};
    c->n_top = (int32_t)(next_random(&d->random) % (N_TOP + 1));
    c->n = c->n_added = 0;
    c->disturbed = c->had_pages = false;
    weft_status status = open_known(r->engine, &c->observer, c->n_top, &session, &error);
    if (status == WEFT_FULL && r->engine->config.n_sequences < (int32_t)r->n_chairs) return;
    if (status != WEFT_OK) {
        FAULT("creating a session: %s", error.message);
        return;
    }
    weft_os_mutex_lock(&c->mutex);
    c->session = session;
    weft_os_mutex_unlock(&c->mutex);
    d->counts.begun++;
}

/* Checks that the cancel was requested; the length of the answer counts anew. */
static void was_cancelled(driver *d, chair *c) {
    weft_os_mutex_lock(&c->mutex);
    if (c->asked == 0) FAULT("sequence %u says it was cancelled, and nobody had cancelled it", c->known->question.seed);
    c->asked--;
    weft_os_mutex_unlock(&c->mutex);
    c->disturbed = true;
    d->counts.cancelled++;
}

/* Adds some of the prompt's remaining tokens, or all of them. */
static void add_prompt(driver *d, chair *c) {
    weft_error error = {0};
    int32_t left = c->known->question.n_prompt - c->n_added;
    int32_t count = one_in(d, 3) ? 1 + (int32_t)(next_random(&d->random) % (uint32_t)left) : left;
    if (weft_session_add_tokens(c->session, c->known->prompt + c->n_added, (size_t)count, &error) != WEFT_OK)
        FAULT("adding a prompt: %s", error.message);
    c->n_added += count;
}

/* Stops the answer where it was read and gives its next token as a prompt. */
static void force_token(driver *d, chair *c) {
    const answer *alone = &c->known->alone;
    weft_error error = {0};
    if (c->known->n_scores > 0 || c->n + 1 >= alone->n) return;
    if (weft_session_add_tokens(c->session, &alone->tokens[c->n], 1, &error) != WEFT_OK) FAULT("adding: %s", error.message);
    c->n++;
    c->disturbed = true;
    d->counts.forced++;
}

static void compare(driver *d, chair *c, const weft_piece *piece) {
    const answer *alone = &c->known->alone;
    uint32_t name = c->known->question.seed;
    int32_t i = c->n++;
    d->counts.tokens++;
    if (i >= alone->n) {
        FAULT("sequence %u goes on after %d tokens, where it ended alone", name, (int)i);
        return;
    }
    bool same = piece->token == alone->tokens[i] && piece->n_top == (size_t)c->n_top;
    if (c->n_top > 0) same = same && bits_of(piece->chosen.logprob) == alone->logprobs[i][0];
    for (size_t k = 0; k < piece->n_top && same; k++)
        same = piece->top[k].id == alone->top[i][k] && bits_of(piece->top[k].logprob) == alone->logprobs[i][1 + k];
    if (!same)
        FAULT("sequence %u (prompt %d, answer %d): token %d is %d (%.9g), alone %d", name, (int)c->known->question.n_prompt,
              (int)alone->n, (int)i, (int)piece->token, (double)piece->chosen.logprob, (int)alone->tokens[i]);
}

static void look_for_set_back(driver *d, chair *c) {
    weft_engine *engine = d->round->engine;
    weft_os_mutex_lock(&engine->mutex);
    bool has_pages = c->session->n_pages > 0;
    weft_os_mutex_unlock(&engine->mutex);
    if (c->had_pages && !has_pages) d->counts.set_back++;
    c->had_pages = has_pages;
}

/* A status other than WEFT_OK that a session may give: whether it goes on. */
static bool may_go_on(driver *d, chair *c, weft_status status, const weft_error *error) {
    if (status == WEFT_CANCELLED) {
        /* An answer that goes on was cancelled too: the next call of next says so. */
        weft_os_mutex_lock(&d->round->engine->mutex);
        bool answering = c->session->answering;
        weft_os_mutex_unlock(&d->round->engine->mutex);
        if (!answering) was_cancelled(d, c);
        return true;
    }
    if (status == WEFT_OUT_OF_PAGES && d->round->refuses) {
        d->counts.refused++;
        if (one_in(d, 2)) return true;
        leave(c);
        return false;
    }
    FAULT("sequence %u: %s", c->known->question.seed, error->message);
    return false;
}

/* Reads one more token; the session ends after the last. */
static void go_on(driver *d, chair *c) {
    const answer *alone = &c->known->alone;
    weft_error error = {0};
    weft_piece piece;
    look_for_set_back(d, c);
    weft_status status = weft_session_next(c->session, &piece, &error);
    if (status != WEFT_OK) {
        may_go_on(d, c, status, &error);
        return;
    }
    if (!piece.last) {
        compare(d, c, &piece);
    } else if (piece.finish == WEFT_FINISH_CANCELLED) {
        was_cancelled(d, c);
    } else {
        if (c->n != alone->n || piece.finish != alone->finish)
            FAULT("sequence %u ends after %d tokens, alone after %d", c->known->question.seed, (int)c->n, (int)alone->n);
        d->counts.whole++;
        leave(c);
        return;
    }
    if (c->disturbed && c->n == alone->n && alone->finish == WEFT_FINISH_LENGTH) {
        d->counts.whole++;
        leave(c);
    }
}

static void prefill(driver *d, chair *c) {
    weft_error error = {0};
    weft_status status = weft_session_prefill(c->session, &error);
    if (status != WEFT_OK) may_go_on(d, c, status, &error);
}

/* ---- Threads ---- */

static void act(driver *d, chair *c) {
    weft_error error = {0};
    if (c->session == NULL) {
        begin(d, c);
        return;
    }
    uint32_t what = next_random(&d->random) % 64;
    if (what == 0) {
        d->counts.destroyed++;
        leave(c);
    } else if (what == 1) {
        if (weft_engine_step(d->round->engine, NULL, &error) != WEFT_OK) FAULT("a step: %s", error.message);
    } else if (c->n_added < c->known->question.n_prompt) {
        add_prompt(d, c);
        if (what < 16) prefill(d, c);
    } else if (what == 2) {
        prefill(d, c);
    } else if (what == 3) {
        force_token(d, c);
    } else {
        for (uint32_t n = 1 + next_random(&d->random) % 8; n > 0 && c->session && !atomic_load(&fault.happened); n--) go_on(d, c);
    }
}

/* Each driver has every n-th chair. */
static void drive(void *user) {
    driver *d = user;
    round_state *r = d->round;
    while (!atomic_load(&fault.happened) && weft_os_now() < r->ends) {
        uint32_t place = next_random(&d->random) % r->n_chairs;
        place -= place % r->n_drivers;
        place += d->index;
        if (place < r->n_chairs) act(d, &r->chairs[place]);
    }
    for (uint32_t i = d->index; i < r->n_chairs; i += r->n_drivers) leave(&r->chairs[i]);
}

static void cancel_now_and_then(void *user) {
    driver *d = user;
    round_state *r = d->round;
    weft_os_mutex mutex;
    weft_os_condition never;
    if (!weft_os_mutex_init(&mutex) || !weft_os_condition_init(&never)) {
        FAULT("no mutex");
        return;
    }
    while (!atomic_load(&r->over)) {
        uint64_t pause_ns = (device_slow ? UINT64_C(10000000) : UINT64_C(100000)) << next_random(&d->random) % 7;
        weft_os_mutex_lock(&mutex);
        weft_os_condition_wait(&never, &mutex, pause_ns);
        weft_os_mutex_unlock(&mutex);
        chair *c = &r->chairs[next_random(&d->random) % r->n_chairs];
        weft_os_mutex_lock(&c->mutex);
        if (c->session != NULL) {
            weft_session_cancel(c->session);
            c->asked++;
        }
        weft_os_mutex_unlock(&c->mutex);
    }
    weft_os_condition_destroy(&never);
    weft_os_mutex_destroy(&mutex);
}

/* ---- Rounds ---- */

static void run_threads(round_state *r, uint32_t *random) {
    driver drivers[MAX_DRIVERS] = {{.round = NULL}}, canceller = {.round = r, .random = next_random(random)};
    for (uint32_t i = 0; i < r->n_chairs; i++) assert_true(weft_os_mutex_init(&r->chairs[i].mutex));
    assert_true(weft_os_thread_start(&canceller.thread, cancel_now_and_then, &canceller));
    for (uint32_t i = 0; i < r->n_drivers; i++) {
        drivers[i] = (driver){.round = r, .index = i, .random = next_random(random)};
        assert_true(weft_os_thread_start(&drivers[i].thread, drive, &drivers[i]));
    }
    for (uint32_t i = 0; i < r->n_drivers; i++) weft_os_thread_join(&drivers[i].thread);
    atomic_store(&r->over, true);
    weft_os_thread_join(&canceller.thread);
    for (uint32_t i = 0; i < r->n_chairs; i++) weft_os_mutex_destroy(&r->chairs[i].mutex);
    for (uint32_t i = 0; i < r->n_drivers; i++) add_counts(&total, &drivers[i].counts);
    total.steps += r->engine->n_steps;
    total.rows += r->engine->n_rows;
}

static int32_t pick(uint32_t *random, const int32_t *choices, uint32_t n) {
    return choices[next_random(random) % n];
}
#define PICK(random, ...)                                                                                                          \
    pick(random, (const int32_t[]){__VA_ARGS__}, (uint32_t)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)))

/* An engine of a random kind: roomy, or with pages for little more than the longest sequence. */
static weft_engine *create_engine(round_state *r, uint32_t *random) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    int32_t longest = 0, depth = PICK(random, 1, 2, 3, 4);
    weft_engine_options options = {.device = device_name, .n_ctx = STRESS_CTX, .max_top = N_TOP};
    r->exact = next_random(random) % 4 != 0;
    r->n_known = 0;
    for (size_t i = 0; i < n_catalogue[r->exact]; i++) {
        known *k = &catalogue[r->exact][i];
        r->known[r->n_known++] = k;
        options.logits = options.logits || k->logits;
        if (k->question.n_prompt + k->question.n_predict > longest) longest = k->question.n_prompt + k->question.n_predict;
    }
    const bool mixed = model->hyper.n_window > 0; /* with many sequences, its layers with windows have a pool of their own */
    r->n_chairs = (uint32_t)(mixed ? PICK(random, 9, 16, MAX_CHAIRS) : PICK(random, 2, 5, 9, 16, MAX_CHAIRS));
    r->n_drivers = (uint32_t)PICK(random, 1, 2, MAX_DRIVERS);
    if (r->n_drivers > r->n_chairs) r->n_drivers = r->n_chairs;
    options.precision = r->exact ? WEFT_EXACT : WEFT_FAST;
    options.n_sequences = (int32_t)r->n_chairs - (next_random(random) % 4 == 0 ? 1 : 0);
    /* In `fast` small pages may change the last bits. */
    options.page_size = r->exact ? PICK(random, 8, 16, 32, 64) : 64;
    options.max_rows = PICK(random, 4, 16, 64, 128, 512);
    options.unfused = r->exact && next_random(random) % 6 == 0;
    if (next_random(random) % 2 == 0 && !mixed) {
        options.n_cache = longest + options.page_size + (int32_t)(next_random(random) % (uint32_t)longest);
        options.refuse_when_full = r->refuses = next_random(random) % 3 == 0;
    }
    print_message("%s%s, %d sequences, %u threads, %d steps queued, %d rows, pages of %d, cache of %d%s\n",
                  r->exact ? "exact" : "fast", options.unfused ? " unfused" : "", (int)options.n_sequences, r->n_drivers,
                  (int)depth, (int)options.max_rows, (int)options.page_size, (int)options.n_cache, r->refuses ? ", refuses" : "");
    CHECK(weft_engine_create_queued(model, &options, depth, &engine, &error));
    total.apart += weft_windowed_apart(engine);
    return engine;
}

static void run_round(uint32_t *random, uint64_t ends) {
    static known *chosen[MAX_KNOWN];
    static round_state r;
    size_t n_live = limits.n_live, live = limits.live;
    memset(&r, 0, sizeof r);
    r.known = chosen;
    r.engine = create_engine(&r, random);
    r.ends = ends;
    run_threads(&r, random);
    if (atomic_load(&fault.happened)) fail_msg("seed %u: %s", seed, fault.what);
    assert_int_equal(pages_free(r.engine), r.engine->pages.n_pages);
    weft_engine_destroy(r.engine);
    assert_int_equal(limits.n_live, n_live);
    assert_int_equal(limits.live, live);
}

/* ---- Alone ---- */

static weft_engine *create_alone(const char *device, weft_precision precision) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    weft_engine_options options = {.device = device, .precision = precision, .n_ctx = STRESS_CTX, .max_top = N_TOP, .logits = true};
    CHECK(weft_engine_create_queued(model, &options, 1, &engine, &error));
    return engine;
}

/* What the cpu backend says is the same but for the logarithm, which may be another C library's. */
static void compare_with_cpu(void) {
    size_t n_same = 0, n_tokens = 0;
    weft_engine *engine = create_alone("cpu", WEFT_EXACT);
    answer *on_cpu = calloc(1, sizeof *on_cpu);
    assert_non_null(on_cpu);
    for (size_t i = 0; i < N_ON_CPU && i < n_catalogue[1]; i++) {
        known copy = catalogue[1][i];
        const answer *alone = &catalogue[1][i].alone;
        copy.n_scores = 0;
        copy.logits = false;
        learn(engine, &copy, &(observer){.known = &copy}, on_cpu);
        assert_int_equal(on_cpu->n, alone->n);
        assert_memory_equal(on_cpu->tokens, alone->tokens, sizeof alone->tokens);
        assert_memory_equal(on_cpu->top, alone->top, sizeof alone->top);
        for (int32_t t = 0; t < alone->n; t++) {
            for (size_t k = 0; k <= N_TOP; k++) {
                float a, b;
                memcpy(&a, &on_cpu->logprobs[t][k], sizeof a);
                memcpy(&b, &alone->logprobs[t][k], sizeof b);
                assert_true(fabsf(a - b) <= 1e-5f * (1 + fabsf(a)));
                n_same += bits_of(a) == bits_of(b);
            }
            n_tokens++;
        }
    }
    print_message("as the cpu backend: %zu tokens, %zu of %zu log-probabilities to the bit\n", n_tokens, n_same,
                  n_tokens * (1 + N_TOP));
    free(on_cpu);
    weft_engine_destroy(engine);
}

/* Runs as many sequences alone as a quarter of the time allows. */
static void learn_all(uint64_t ends) {
    weft_engine *engines[2] = {create_alone(device_name, WEFT_FAST), create_alone(device_name, WEFT_EXACT)};
    int32_t n_vocab = model->hyper.n_vocab;
    for (size_t n = 0; n < MAX_KNOWN && (n < N_ON_CPU || weft_os_now() < ends); n++) {
        for (size_t exact = 0; exact < 2; exact++) {
            known *k = &catalogue[exact][n_catalogue[exact]++];
            make_known(k, seed * 1000 + (uint32_t)n, device_slow ? 48 : 400, n_vocab);
            learn(engines[exact], k, &(observer){.known = k, .records = true}, &k->alone);
        }
    }
    weft_engine_destroy(engines[0]);
    weft_engine_destroy(engines[1]);
}

/* ---- The whole ---- */

/* The free memory of a device that has memory of its own. */
static int64_t memory_free(void) {
    weft_error error = {0};
    weft_device *device = NULL;
    weft_device_info info;
    CHECK(weft_device_open(runtime, device_name, NULL, &device, &error));
    CHECK(weft_device_describe(device, &info, &error));
    weft_device_close(device);
    return info.host_processor || info.rank < 0 ? 0 : (int64_t)info.memory_free;
}

/* A machine with other work may need longer than the given time, and longer rounds, in which more sequences come to their end. */
static void every_token_is_as_alone(void **state) {
    (void)state;
    const int64_t min_lost = INT64_C(64) << 20; /* a driver may keep this much for later */
    const uint64_t longest_round = device_slow ? UINT64_C(10000000000) : UINT64_C(4000000000);
    uint32_t random = seed;
    uint64_t start = weft_os_now(), length = (uint64_t)(seconds * 1e9), rounds = 0;
    print_message("seed %u, %g seconds\n", seed, seconds);
    learn_all(start + length / 4);
    if (strcmp(device_name, "cpu") != 0) compare_with_cpu();
    int64_t free_before = memory_free();
    for (uint64_t now; (now = weft_os_now()) < start + (seen_enough(&total) ? length : 8 * length) || rounds < 2; rounds++) {
        uint64_t round_ns = now >= start + length ? length : length / (device_slow ? 4 : 12);
        if (round_ns > longest_round) round_ns = longest_round;
        run_round(&random, now + round_ns);
    }
    int64_t lost = free_before - memory_free();
    print_counts(&total, rounds, (double)(weft_os_now() - start) / 1e9);
    assert_true(lost < min_lost);
    assert_true(seen_enough(&total));
}

static int setup(void **state) {
    (void)state;
    runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    model = open_synth(runtime, "tiny", "Q4_K_M", device_path("device_stress"));
    return 0;
}

/* A model of which two of three layers have a window, for a part of the time. */
static int setup_mixed(void **state) {
    (void)state;
    static const weft_synth_entry keys[] = {{.suffix = "attention.sliding_window", .number = 20},
                                            {.suffix = "attention.sliding_window_pattern", .is_period = true, .number = 3},
                                            {.suffix = NULL}};
    const weft_synth_model shape = {"mixed", "gemma3", 3, 256, 4, 2, 64, 512, 512, 2048, 1e-6f, 10000, false, 0, keys};
    const weft_synth_options options = {.seed = 11};
    weft_error error = {0};
    seconds /= 3;
    total = (counts){0};
    runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    CHECK(weft_synth_write(runtime, &shape, weft_mix_find("Q4_K_M"), &options, device_path("device_stress"), &error));
    CHECK(weft_model_open(runtime, device_path("device_stress"), &model, &error));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (size_t exact = 0; exact < 2; exact++) {
        for (size_t i = 0; i < n_catalogue[exact]; i++) release_known(&catalogue[exact][i]);
        n_catalogue[exact] = 0;
    }
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return remove(device_path("device_stress"));
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    seconds = argc > 2 ? strtod(argv[2], NULL) : device_slow ? 12 : 4.5;
    if (argc > 3) seed = (uint32_t)strtoul(argv[3], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(every_token_is_as_alone, setup, teardown),
                                       cmocka_unit_test_setup_teardown(every_token_is_as_alone, setup_mixed, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
