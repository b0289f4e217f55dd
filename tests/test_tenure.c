/* Engines with fewer KV-cache pages than their sequences need: how many rows are run again, and how long a sequence waits for
 * pages. The answers must be those of each sequence alone.
 *
 *     test_tenure [SECONDS [SEED]]
 */
#include "stress_questions.h"

#define PATH "test_tenure.tmp"
#include "tiny_model.h"

#define MAX_SESSIONS 6
#define CTX 2048
#define COMPARED 4 /* one scene in COMPARED is compared bit for bit */

static double seconds = 3, most; /* most: the largest ratio of rows to needed rows in a scene */
static uint32_t first_seed = 1;

static weft_engine *create(weft_engine_options options, int32_t depth) {
    options.n_ctx = CTX;
    options.max_top = N_TOP;
    return create_on_cpu(model, options, depth);
}

/* One answer of any length, as a hash of its tokens and log-probabilities. */
typedef struct reading {
    weft_session *session;
    question question;
    int32_t n;
    bool over;
    uint64_t hash;
} reading;

static void begin_reading(weft_engine *engine, const question *q, reading *r) {
    answer a;
    begin_answer(engine, q, &a);
    *r = (reading){.session = a.session, .question = *q};
}

/* Reads the next token; false after the last. */
static bool read_token(reading *r) {
    weft_error error = {0};
    weft_piece piece;
    if (weft_session_next(r->session, &piece, &error) != WEFT_OK) {
        FAULT("sequence %u: %s", r->question.seed, error.message);
        return false;
    }
    r->over = piece.last;
    if (piece.last) return false;
    weft_logprob all[1 + N_TOP] = {piece.chosen};
    memcpy(all + 1, piece.top, piece.n_top * sizeof *piece.top);
    r->hash = r->hash * 31 + hash_bytes(all, sizeof all);
    r->n++;
    return true;
}

static void read_all(reading *r) {
    while (read_token(r)) {}
}

static void end_reading(reading *r) {
    weft_session_destroy(r->session);
    r->session = NULL;
}

/* The rows of a sequence that never loses a page. */
static int64_t needed_rows(const question *q) {
    return q->n_prompt + q->n_predict - 1;
}

static void assert_no_fault(void) {
    if (atomic_load(&fault.happened)) fail_msg("%s", fault.what);
}

static uint64_t hash_alone(const question *q) {
    reading r;
    weft_engine *engine = create((weft_engine_options){.precision = WEFT_EXACT, .n_sequences = 1}, 1);
    begin_reading(engine, q, &r);
    read_all(&r);
    end_reading(&r);
    assert_no_fault();
    assert_int_equal(r.n, q->n_predict);
    weft_engine_destroy(engine);
    return r.hash;
}

static void assert_rows(const weft_engine *engine, int64_t needed, const char *what) {
    print_message("%s: %lld rows, %lld needed\n", what, (long long)engine->n_rows, (long long)needed);
    assert_true((int64_t)engine->n_rows >= needed);
    assert_true((int64_t)engine->n_rows <= 4 * needed);
}

/* ---- One thread ---- */

static void two_are_read_in_turn(void **state) {
    (void)state;
    static const int32_t n_prompts[] = {300, 40}, n_predicts[] = {40, 100};
    for (size_t p = 0; p < 2; p++) {
        for (int32_t depth = 1; depth <= 2; depth++) {
            reading r[2];
            question questions[2];
            weft_engine *engine = create((weft_engine_options){.precision = WEFT_EXACT,
                                                               .n_sequences = 2,
                                                               .n_cache = n_prompts[p] + n_predicts[p] + 32,
                                                               .page_size = 32,
                                                               .max_rows = 128},
                                         depth);
            for (uint32_t i = 0; i < 2; i++) {
                questions[i] = (question){.seed = 1 + i, .n_prompt = n_prompts[p], .n_predict = n_predicts[p]};
                begin_reading(engine, &questions[i], &r[i]);
            }
            for (bool more = true; more;) {
                bool first = read_token(&r[0]), second = read_token(&r[1]);
                assert_int_equal(first, second);
                more = first;
            }
            assert_no_fault();
            assert_rows(engine, needed_rows(&questions[0]) + needed_rows(&questions[1]), "in turn");
            for (size_t i = 0; i < 2; i++) {
                end_reading(&r[i]);
                if (depth == 1) assert_true(r[i].hash == hash_alone(&questions[i]));
            }
            weft_engine_destroy(engine);
        }
    }
}

/* Two answers that outgrow the pool take single pages from each other, not all of them. */
static void pages_are_given_up_from_the_end(void **state) {
    (void)state;
    reading r[2];
    weft_engine *engine =
        create((weft_engine_options){.precision = WEFT_EXACT, .n_sequences = 2, .n_cache = 2 * 512 + 64, .page_size = 16}, 1);
    int64_t needed = 0;
    for (uint32_t i = 0; i < 2; i++) {
        question q = {.seed = 11 + i, .n_prompt = 512, .n_predict = 80};
        begin_reading(engine, &q, &r[i]);
        needed += needed_rows(&q);
    }
    while (read_token(&r[0])) assert_true(read_token(&r[1]));
    assert_false(read_token(&r[1]));
    assert_no_fault();
    print_message("%lld rows, %lld needed\n", (long long)engine->n_rows, (long long)needed);
    assert_true((int64_t)engine->n_rows < needed + 300);
    end_reading(&r[0]);
    end_reading(&r[1]);
    weft_engine_destroy(engine);
}

/* A sequence that is not read keeps its pages as long as an idle sequence has pages. */
static void who_is_idle_gives_pages_first(void **state) {
    (void)state;
    weft_error error = {0};
    weft_engine *engine =
        create((weft_engine_options){.precision = WEFT_EXACT, .n_sequences = 3, .n_cache = 256, .page_size = 16}, 1);
    reading unread, idle, third;
    begin_reading(engine, &(question){.seed = 21, .n_prompt = 90, .n_predict = 60}, &unread);
    for (int i = 0; i < 20; i++) assert_true(read_token(&unread));
    begin_reading(engine, &(question){.seed = 22, .n_prompt = 90, .n_predict = 4}, &idle);
    read_all(&idle);
    int32_t n_rows = 1;
    while (n_rows > 0) CHECK(weft_engine_step(engine, &n_rows, &error));
    int32_t n_held = unread.session->n_pages;
    begin_reading(engine, &(question){.seed = 23, .n_prompt = 90, .n_predict = 10}, &third);
    read_all(&third);
    assert_no_fault();
    assert_int_equal(unread.session->n_pages, n_held);
    assert_true(idle.session->n_pages > 0 && idle.session->n_pages < 6);
    end_reading(&unread);
    end_reading(&idle);
    end_reading(&third);
    weft_engine_destroy(engine);
}

/* ---- A slow reader ---- */

typedef struct slow_reader {
    reading reading;
    atomic_bool begun;
} slow_reader;

static void read_slowly(void *user) {
    slow_reader *slow = user;
    while (read_token(&slow->reading)) {
        atomic_store(&slow->begun, true);
        weft_os_sleep(4000000);
    }
}

static void a_slow_reader_keeps_nobody_waiting(void **state) {
    (void)state;
    enum { PROMPT = 256, TENURE = PROMPT / 2 };
    question first = {.seed = 31, .n_prompt = PROMPT, .n_predict = 240},
             second = {.seed = 32, .n_prompt = PROMPT, .n_predict = 200};
    weft_engine *engine =
        create((weft_engine_options){.precision = WEFT_EXACT, .n_sequences = 2, .n_cache = PROMPT + 250, .page_size = 32}, 1);
    slow_reader slow = {.begun = false};
    reading fast;
    weft_os_thread thread;
    begin_reading(engine, &first, &slow.reading);
    assert_true(weft_os_thread_start(&thread, read_slowly, &slow));
    while (!atomic_load(&slow.begun)) weft_os_pause();
    begin_reading(engine, &second, &fast);
    int64_t before = (int64_t)engine->n_rows;
    bool more = read_token(&fast);
    int64_t waited = (int64_t)engine->n_rows;
    while (more) more = read_token(&fast);
    weft_os_thread_join(&thread);
    assert_no_fault();
    print_message("the first token came after %lld rows\n", (long long)waited);
    /* Otherwise the test has shown nothing. */
    assert_true(before < waited && waited > 2 * PROMPT + WEFT_MAX_UNREAD);
    assert_true(waited <= PROMPT + TENURE + PROMPT + 2 * WEFT_MAX_UNREAD);
    assert_rows(engine, needed_rows(&first) + needed_rows(&second), "beside a slow reader");
    assert_true(fast.hash == hash_alone(&second) && slow.reading.hash == hash_alone(&first));
    end_reading(&slow.reading);
    end_reading(&fast);
    weft_engine_destroy(engine);
}

/* ---- At random ---- */

typedef struct scene {
    uint32_t seed;
    weft_engine *engine;
    reading readings[MAX_SESSIONS];
    question questions[MAX_SESSIONS];
    uint64_t begun_at[MAX_SESSIONS]; /* engine's rows when the first token was asked for */
    uint32_t n_sessions, n_open, n_begun;
    int64_t needed, longest;
} scene;

static void make_scene(scene *s, uint32_t seed, uint32_t *random) {
    *s = (scene){.seed = seed, .n_sessions = 2 + next_random(random) % (MAX_SESSIONS - 1)};
    for (uint32_t i = 0; i < s->n_sessions; i++) {
        question *q = &s->questions[i];
        *q = (question){.seed = next_random(random),
                        .n_prompt = 1 + (int32_t)(next_random(random) % (next_random(random) % 3 == 0 ? 200 : 100)),
                        .n_predict = 1 + (int32_t)(next_random(random) % (next_random(random) % 3 == 0 ? 120 : 60))};
        s->needed += needed_rows(q);
        if (needed_rows(q) > s->longest) s->longest = needed_rows(q);
    }
    int32_t page_size = 8 << next_random(random) % 3, depth = 1 + (int32_t)(next_random(random) % 2);
    int64_t spare = (int64_t)(next_random(random) % (uint64_t)s->longest);
    s->engine = create((weft_engine_options){.precision = seed % COMPARED == 0 ? WEFT_EXACT : WEFT_FAST,
                                             .n_sequences = (int32_t)s->n_sessions,
                                             .n_cache = s->longest + page_size + (next_random(random) % 2 ? spare : 0),
                                             .page_size = page_size,
                                             .max_rows = 8 << next_random(random) % 5},
                       depth);
}

/* Each sequence ahead in line runs its rows at most once more, and the tokens of its tenure. */
static void assert_waited(const scene *s, uint32_t i) {
    int64_t ahead = s->questions[i].n_prompt, waited = (int64_t)(s->engine->n_rows - s->begun_at[i]);
    for (uint32_t other = 0; other < s->n_sessions; other++)
        if (other != i) ahead += 3 * needed_rows(&s->questions[other]) / 2 + 2 * WEFT_MAX_UNREAD;
    if (waited > ahead)
        fail_msg("seed %u: the first token came after %lld rows, and %lld were ahead", s->seed, (long long)waited,
                 (long long)ahead);
}

/* Reads some tokens of one sequence. */
static void read_some(scene *s, uint32_t *random, uint32_t habit) {
    weft_error error = {0};
    uint32_t i = next_random(random) % s->n_begun;
    reading *r = &s->readings[i];
    if (next_random(random) % 16 == 0) CHECK(weft_engine_step(s->engine, NULL, &error));
    for (uint32_t n = habit == 0 ? 1 : 1 + next_random(random) % habit; n > 0 && !r->over; n--) {
        bool is_first = r->n == 0;
        if (is_first) s->begun_at[i] = s->engine->n_rows;
        bool found = read_token(r);
        if (found && is_first) assert_waited(s, i);
        if (found) continue;
        s->n_open--;
        /* Other sequences stay idle, and keep their pages as long as no other needs them. */
        if (next_random(random) % 2 == 0) end_reading(r);
        break;
    }
}

static void run_scene(uint32_t seed) {
    scene s;
    uint32_t random = seed;
    make_scene(&s, seed, &random);
    uint32_t habit = next_random(&random) % 3 * 12;
    while (s.n_begun < s.n_sessions || s.n_open > 0) {
        if (s.n_begun < s.n_sessions && (s.n_begun == 0 || next_random(&random) % 4 == 0)) {
            begin_reading(s.engine, &s.questions[s.n_begun], &s.readings[s.n_begun]);
            s.n_begun++;
            s.n_open++;
        }
        read_some(&s, &random, habit);
        if (atomic_load(&fault.happened)) fail_msg("seed %u: %s", seed, fault.what);
    }
    double ratio = (double)s.engine->n_rows / (double)s.needed;
    if (ratio > most) most = ratio;
    if ((int64_t)s.engine->n_rows > 4 * s.needed)
        fail_msg("seed %u: %lld rows, %lld needed", seed, (long long)s.engine->n_rows, (long long)s.needed);
    for (uint32_t i = 0; i < s.n_sessions; i++) {
        end_reading(&s.readings[i]);
        assert_int_equal(s.readings[i].n, s.questions[i].n_predict);
        if (seed % COMPARED == 0) assert_true(s.readings[i].hash == hash_alone(&s.questions[i]));
    }
    assert_int_equal(pages_free(s.engine), s.engine->pages.n_pages);
    weft_engine_destroy(s.engine);
}

static void random_readers(void **state) {
    (void)state;
    const uint64_t end = weft_os_now() + (uint64_t)(seconds * 1e9);
    uint32_t seed = first_seed;
    for (; weft_os_now() < end || seed < first_seed + 4; seed++) run_scene(seed);
    print_message("seeds %u to %u, %.2f times the rows needed at most\n", first_seed, seed - 1, most);
}

int main(int argc, char **argv) {
    if (argc > 1) seconds = strtod(argv[1], NULL);
    if (argc > 2) first_seed = (uint32_t)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_are_read_in_turn),
        cmocka_unit_test(pages_are_given_up_from_the_end),
        cmocka_unit_test(who_is_idle_gives_pages_first),
        cmocka_unit_test(a_slow_reader_keeps_nobody_waiting),
        cmocka_unit_test(random_readers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
