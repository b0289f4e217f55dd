/* Models in which some layers have windows and others see all positions. The former have a smaller pool of pages; tokens are those
 * of an engine that keeps all. */
#include "engine_support.h"
#include "memory_file.h"

#include "decoder/synth.h"
#include "limited_allocator.h"
#include "weft/ops/step.h"

#define PATH "test_mixed.tmp"
enum { WINDOW = 40, PAGE = 16, CTX = 768, ROWS = 16, PROMPT = 300, ANSWER = 200, N_LAYERS = 3, N_WINDOWED = 2, N_SEEDS = 3 };
enum { N_OWN = (WINDOW + 2 * 64) / PAGE + 3, N_SPARE = 3 * ROWS / PAGE };

static limited_allocator limits;
static weft_runtime *runtime;
static weft_model *model;
static weft_error error;
static weft_token expected[N_SEEDS][ANSWER];

static weft_engine *create(weft_engine_options options, int32_t depth) {
    options.precision = WEFT_EXACT;
    if (options.n_ctx == 0) options.n_ctx = CTX;
    if (options.page_size == 0) options.page_size = PAGE;
    options.max_rows = ROWS;
    return create_on_cpu(model, options, depth);
}

static weft_token prompt_token(int seed, int i) {
    return (i * i * 37 + i * seed + 11) % 256;
}

static void add_prompt(weft_session *session, int seed, int from) {
    weft_token prompt[PROMPT];
    for (int i = from; i < PROMPT; i++) prompt[i] = prompt_token(seed, i);
    CHECK(weft_session_add_tokens(session, prompt + from, (size_t)(PROMPT - from), &error));
}

static weft_session *ask(weft_engine *engine, int seed) {
    const weft_sampling_options sampling = {.temperature = 0.8f, .seed = 3, .ignore_end = true};
    weft_session *session = open_session(engine, (weft_session_options){.sampling = sampling});
    add_prompt(session, seed, 0);
    return session;
}

static void read_tokens(weft_session *session, int n, weft_token *tokens) {
    weft_piece piece;
    for (int i = 0; i < n; i++) {
        CHECK(weft_session_next(session, &piece, &error));
        tokens[i] = piece.token;
    }
}

static void expect(weft_session *session, int seed, int first, int n) {
    weft_token tokens[ANSWER];
    read_tokens(session, n, tokens);
    assert_memory_equal(tokens, expected[seed] + first, (size_t)n * sizeof *tokens);
}

static int begin(void **state) {
    (void)state;
    static const weft_synth_entry keys[] = {{.suffix = "attention.sliding_window", .number = WINDOW},
                                            {.suffix = "attention.sliding_window_pattern", .is_period = true, .number = 3},
                                            {.suffix = NULL}};
    const weft_synth_model shape = {"test", "gemma3", N_LAYERS, 64, 2, 1, 32, 96, 320, CTX, 1e-5f, 10000, false, 0, keys};
    runtime = limited_runtime(&limits);
    CHECK(weft_synth_write(runtime, &shape, weft_mix_find("F32"), &(weft_synth_options){.seed = 5}, PATH, &error));
    CHECK(weft_model_open(runtime, PATH, &model, &error));
    weft_engine *engine = create((weft_engine_options){.keep_all_pages = true}, 1);
    assert_false(weft_windowed_apart(engine));
    for (int i = 0; i < N_SEEDS; i++) {
        weft_session *session = ask(engine, i);
        read_tokens(session, ANSWER, expected[i]);
        weft_session_destroy(session);
    }
    weft_engine_destroy(engine);
    return 0;
}

static int end(void **state) {
    (void)state;
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return remove(PATH);
}

static weft_session_timing timing_of(const weft_session *session) {
    weft_session_timing timing;
    weft_session_measure(session, &timing);
    return timing;
}

/* ---- Pages ---- */

static void count_users(weft_pages *pages, const int32_t *table, int32_t first, int32_t n) {
    for (int32_t i = first; i < n; i++) pages->seen[table[i]]++;
}

static void assert_counted(const weft_pages *pages) {
    int32_t n_used = 0;
    for (int32_t i = 0; i < pages->n_pages; i++) {
        assert_int_equal(pages->seen[i], pages->n_users[i]);
        n_used += pages->n_users[i] > 0;
    }
    assert_int_equal(n_used + pages->n_waiting + weft_pages_available(pages), pages->n_pages);
}

/* Each page has as many users as sessions that have it, no page is lost, and no session has too many. */
static void assert_pages(weft_engine *engine) {
    weft_pages *pages = &engine->pages, *windowed = &engine->windowed_pages;
    int32_t n_spare = 0;
    memset(pages->seen, 0, (size_t)pages->n_pages * sizeof *pages->seen);
    if (windowed->seen) memset(windowed->seen, 0, (size_t)windowed->n_pages * sizeof *windowed->seen);
    for (int32_t i = 0; i < engine->n_sessions; i++) {
        const weft_session *session = engine->sessions[i];
        const weft_windowed *own = &session->windowed;
        count_users(pages, session->page_table, session->n_passed, session->n_pages);
        count_users(windowed, own->page_table, own->n_passed, own->n_pages);
        int32_t more = own->n_pages - own->n_passed - engine->config.windowed.n_own;
        n_spare += more > 0 ? more : 0;
    }
    assert_counted(pages);
    assert_counted(windowed);
    assert_true(n_spare <= engine->config.windowed.n_spare);
}

/* The pool is as large as it is said to be, and the memory is that of fewer pages. */
static void memory_is_less(void **state) {
    (void)state;
    const int64_t layer_page = 2 * PAGE * 32 * 4, n_pages = CTX / PAGE;
    for (int32_t n = 1; n <= 3; n += 2) {
        weft_store_bytes all, less;
        weft_engine_options options = {.device = "cpu", .precision = WEFT_EXACT, .n_ctx = CTX, .n_sequences = n};
        options.page_size = PAGE;
        options.max_rows = ROWS;
        CHECK(weft_engine_measure(model, &options, &less, &error));
        options.keep_all_pages = true;
        CHECK(weft_engine_measure(model, &options, &all, &error));
        const int64_t saved = N_WINDOWED * layer_page * (n_pages * n - (N_OWN * n + N_SPARE));
        const int64_t table = (int64_t)(WEFT_SEQUENCE_PAGES + n_pages) * n * 4;
        print_message("%d sequences: %llu bytes, %llu if all is kept\n", (int)n, (unsigned long long)less.states,
                      (unsigned long long)all.states);
        assert_in_range(all.states - less.states, saved - 2 * table, saved);
    }
}

static void memory_may_be_short(void **state) {
    (void)state;
    weft_engine *engine = NULL;
    weft_session *session = NULL;
    weft_engine_options options = {.device = "cpu", .device_options.n_threads = 1, .precision = WEFT_EXACT, .n_ctx = CTX};
    options.max_rows = ROWS;
    options.page_size = PAGE;
    const size_t before = limits.n_all;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    const size_t n_all = limits.n_all - before, n_last = 30; /* the tables are made last */
    weft_engine_destroy(engine);
    engine = NULL;
    for (size_t fail_at = n_all - n_last; !engine; fail_at++) {
        const size_t n_live = limits.n_live;
        limits.fail_at = limits.n_all + fail_at;
        weft_status status = weft_engine_create(model, &options, &engine, &error);
        if (status != WEFT_OK) assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        if (status != WEFT_OK) assert_int_equal(limits.n_live, n_live);
    }
    for (size_t fail_at = 1; !session; fail_at++) {
        const size_t n_live = limits.n_live;
        limits.fail_at = limits.n_all + fail_at;
        weft_status status = weft_session_create(engine, NULL, &session, &error);
        if (status != WEFT_OK) assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        if (status != WEFT_OK) assert_int_equal(limits.n_live, n_live);
    }
    limits.fail_at = 0;
    assert_true(weft_windowed_apart(engine));
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

/* Where a pool of their own would not be smaller, the layers with windows use that of the others. */
static void small_contexts_have_one_pool(void **state) {
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        weft_engine *engine = create((weft_engine_options){.n_ctx = (N_OWN + N_SPARE + apart) * PAGE}, 1);
        assert_int_equal(weft_windowed_apart(engine), apart);
        weft_engine_destroy(engine);
    }
}

/* ---- Answers ---- */

static void no_row_runs_twice(void **state) {
    (void)state;
    for (int32_t depth = 1; depth <= 3; depth += 2) {
        weft_engine *engine = create((weft_engine_options){.n_sequences = 1}, depth);
        assert_int_equal(engine->windowed_pages.n_pages, N_OWN + N_SPARE);
        weft_session *session = ask(engine, 0);
        for (int i = 0; i < ANSWER; i++) {
            expect(session, 0, i, 1);
            assert_pages(engine);
        }
        assert_int_equal(timing_of(session).n_prefill, PROMPT);
        assert_true(session->windowed.n_pages - session->windowed.n_passed <= N_OWN);
        assert_int_equal(session->n_passed, 0);
        weft_session_destroy(session);
        assert_pages(engine);
        assert_int_equal(weft_pages_available(&engine->windowed_pages) + engine->windowed_pages.n_waiting,
                         engine->windowed_pages.n_pages);
        weft_engine_destroy(engine);
    }
}

/* Several sequences, of which none loses pages, and of which some do because the other pages are short. */
static void sequences_share_the_pool(void **state) {
    (void)state;
    for (int small = 0; small < 2; small++) {
        weft_engine *engine = create((weft_engine_options){.n_sequences = N_SEEDS, .n_cache = small ? 900 : 0}, 2);
        weft_session *sessions[N_SEEDS];
        assert_true(weft_windowed_apart(engine));
        for (int i = 0; i < N_SEEDS; i++) sessions[i] = ask(engine, i);
        for (int k = 0; k < ANSWER; k += 20)
            for (int i = 0; i < N_SEEDS; i++) {
                expect(sessions[i], i, k, 20);
                assert_pages(engine);
            }
        for (int i = 0; i < N_SEEDS; i++) {
            if (!small) assert_int_equal(timing_of(sessions[i]).n_prefill, PROMPT);
            weft_session_destroy(sessions[i]);
        }
        assert_int_equal(pages_free(engine), engine->pages.n_pages);
        weft_engine_destroy(engine);
    }
}

static void sessions_go_back(void **state) {
    (void)state;
    weft_engine *engine = create((weft_engine_options){.n_kept = -1}, 1);
    weft_session *session = ask(engine, 1);
    expect(session, 1, 0, 150);
    uint64_t before = timing_of(session).n_prefill;
    CHECK(weft_session_rewind(session, PROMPT + 140, &error)); /* a little: what it needs is still there */
    expect(session, 1, 140, 30);
    assert_true(timing_of(session).n_prefill - before < 16);
    CHECK(weft_session_rewind(session, PROMPT + 10, &error));
    expect(session, 1, 10, 60);
    assert_true(timing_of(session).n_prefill - before > PROMPT);
    CHECK(weft_session_rewind(session, 20, &error));
    add_prompt(session, 1, 20);
    expect(session, 1, 0, 20);
    CHECK(weft_session_rewind(session, 0, &error));
    weft_session_destroy(session);
    assert_pages(engine);
    weft_engine_destroy(engine);
}

/* Pages that are kept serve sessions that begin alike, and one that goes back, as far as those of the window are kept, too. */
static void beginnings_are_reused(void **state) {
    (void)state;
    weft_engine *engine = create((weft_engine_options){.n_sequences = 2}, 1);
    weft_session *session = ask(engine, 1), *second;
    expect(session, 1, 0, 20);
    second = ask(engine, 1);
    expect(second, 1, 0, 100);
    assert_int_equal(timing_of(second).n_reused, PROMPT / PAGE * PAGE);
    assert_pages(engine);
    CHECK(weft_session_rewind(second, PROMPT, &error)); /* its own pages are gone; those of the window are kept */
    expect(second, 1, 0, 100);
    assert_true(timing_of(second).n_prefill < 2 * PAGE + 64);
    weft_session_destroy(second);
    weft_session_destroy(session);
    session = ask(engine, 2);
    expect(session, 2, 0, ANSWER);
    weft_session_destroy(session);
    session = ask(engine, 1); /* by now its windowed pages are taken */
    expect(session, 1, 0, ANSWER);
    assert_int_equal(timing_of(session).n_reused, 0);
    assert_pages(engine);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
}

static weft_session *restore(weft_engine *engine, weft_session *from, weft_session_carried *carried) {
    memory_file file = {.size = 0};
    weft_session *session = NULL;
    CHECK(weft_session_save(from, NULL, &(weft_save_options){.write = memory_write, .user = &file}, &error));
    CHECK(
        weft_session_restore(engine, NULL, &(weft_restore_options){.read = memory_read, .user = &file}, &session, carried, &error));
    memory_release(&file);
    return session;
}

/* To engines of all kinds and back. Only where pages are larger, or the other engine has one pool, must rows run again. */
static void copies_go_on(void **state) {
    (void)state;
    const struct {
        weft_engine_options options;
        bool again;
    } kinds[] = {{{.n_sequences = 2}, false},
                 {{.n_sequences = 2, .page_size = 8}, false},
                 {{.n_sequences = 2, .keep_all_pages = true}, true},
                 {{.n_sequences = 2, .page_size = 128, .n_ctx = 2048}, false},
                 {{.n_sequences = 2, .page_size = 256, .n_ctx = 2048}, true}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        weft_engine *engine = create((weft_engine_options){.n_sequences = 3}, 2), *other = create(kinds[i].options, 2);
        weft_session *session = ask(engine, 2), *fork = NULL, *restored;
        weft_session_carried carried;
        expect(session, 2, 0, 150);
        CHECK(weft_session_fork(session, NULL, &fork, &error));
        restored = restore(other, session, &carried);
        assert_int_equal(carried.n_copied, kinds[i].again ? 0 : PROMPT + 149);
        assert_int_equal(carried.reason[0] != 0, kinds[i].again);
        CHECK(weft_session_move(session, other, &carried, &error));
        assert_int_equal(carried.n_copied, kinds[i].again ? 0 : PROMPT + 149);
        assert_pages(engine);
        assert_pages(other);
        expect(fork, 2, 150, 10);
        expect(restored, 2, 150, ANSWER - 150);
        expect(session, 2, 150, 20);
        CHECK(weft_session_move(session, engine, &carried, &error));
        assert_int_equal(carried.n_copied, PROMPT + 169);
        assert_pages(engine);
        expect(session, 2, 170, ANSWER - 170);
        expect(fork, 2, 160, ANSWER - 160);
        weft_session_destroy(fork);
        weft_session_destroy(restored);
        weft_session_destroy(session);
        weft_engine_destroy(engine);
        weft_engine_destroy(other);
    }
}

/* Each stage has its layers of both kinds. */
static void stages_have_both_pools(void **state) {
    (void)state;
    const weft_stage stages[] = {{.device = "cpu", .n_layers = 2}, {.device = "cpu"}};
    weft_engine_options options = {.precision = WEFT_EXACT, .n_ctx = CTX, .page_size = PAGE, .max_rows = ROWS};
    options.device_options.n_threads = 1;
    options.n_sequences = 2;
    options.stages = stages;
    options.n_stages = 2;
    weft_engine *placed = NULL, *engine = create((weft_engine_options){.n_sequences = 1}, 1);
    weft_session_carried carried;
    CHECK(weft_engine_create(model, &options, &placed, &error));
    assert_true(weft_windowed_apart(placed));
    weft_session *session = ask(placed, 1);
    expect(session, 1, 0, 90);
    assert_pages(placed);
    CHECK(weft_session_move(session, engine, &carried, &error));
    assert_int_equal(carried.n_copied, PROMPT + 89);
    expect(session, 1, 90, 30);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    weft_engine_destroy(placed);
}

/* ---- At random ---- */

typedef struct seat {
    weft_session *session;
    int seed, n; /* tokens that were read */
} seat;

static void go_back(seat *s, uint32_t *random) {
    if (next_random(random) % 2) {
        s->n = (int)(next_random(random) % (uint32_t)(s->n + 1));
        CHECK(weft_session_rewind(s->session, (size_t)(PROMPT + s->n), &error));
        return;
    }
    int kept = (int)(next_random(random) % PROMPT);
    CHECK(weft_session_rewind(s->session, (size_t)kept, &error));
    add_prompt(s->session, s->seed, kept);
    s->n = 0;
}

static void copy(seat *s, const seat *from, weft_engine *engine, uint32_t *random) {
    if (s->session) weft_session_destroy(s->session);
    *s = *from;
    if (next_random(random) % 2)
        CHECK(weft_session_fork(from->session, NULL, &s->session, &error));
    else
        s->session = restore(engine, from->session, NULL);
}

static void act(seat *s, const seat *other, weft_engine *const *engines, uint32_t *random) {
    weft_engine *engine = engines[next_random(random) % 2];
    const uint32_t what = next_random(random) % 16;
    if (!s->session) {
        *s = (seat){.seed = (int)(next_random(random) % N_SEEDS)};
        s->session = ask(engine, s->seed);
    } else if (what == 0) {
        weft_session_destroy(s->session);
        s->session = NULL;
    } else if (what < 3) {
        go_back(s, random);
    } else if (what == 3 && s != other && other->session && other->n > 0) {
        copy(s, other, engine, random);
    } else if (what == 4) {
        CHECK(weft_session_move(s->session, engine, NULL, &error));
    } else if (what == 5) {
        weft_session_cancel(s->session);
        CHECK(weft_engine_step(engine, NULL, &error));
        CHECK(weft_session_rewind(s->session, (size_t)(PROMPT + s->n), &error));
    } else {
        int n = 1 + (int)(next_random(random) % 40);
        if (n > ANSWER - s->n) n = ANSWER - s->n;
        expect(s->session, s->seed, s->n, n);
        s->n += n;
    }
}

static void run_at_random(uint32_t seed) {
    enum { N_SEATS = 3, N_ACTS = 40 };
    uint32_t random = seed;
    weft_engine *engines[2];
    seat seats[N_SEATS] = {{.session = NULL}};
    for (int i = 0; i < 2; i++) {
        weft_engine_options options = {.n_sequences = N_SEATS, .page_size = i ? 16 : 8 << next_random(&random) % 3};
        options.n_cache = 820 + (int32_t)(next_random(&random) % 600);
        options.n_kept = (int32_t)(next_random(&random) % 3) * 100 - 1;
        engines[i] = create(options, 1 + (int32_t)(next_random(&random) % 3));
    }
    for (int i = 0; i < N_ACTS; i++) {
        act(&seats[next_random(&random) % N_SEATS], &seats[next_random(&random) % N_SEATS], engines, &random);
        for (int k = 0; k < 2; k++) assert_pages(engines[k]);
    }
    for (int i = 0; i < N_SEATS; i++) weft_session_destroy(seats[i].session);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pages_free(engines[i]), engines[i]->pages.n_pages);
        weft_engine_destroy(engines[i]);
    }
}

static void schedules_at_random(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 2; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run_at_random(seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_less),
        cmocka_unit_test(memory_may_be_short),
        cmocka_unit_test(small_contexts_have_one_pool),
        cmocka_unit_test(no_row_runs_twice),
        cmocka_unit_test(sequences_share_the_pool),
        cmocka_unit_test(sessions_go_back),
        cmocka_unit_test(beginnings_are_reused),
        cmocka_unit_test(copies_go_on),
        cmocka_unit_test(stages_have_both_pools),
        cmocka_unit_test(schedules_at_random),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
