/* What `exact` guarantees on the CPU, bit for bit: fused nodes give the results of their parts, and neither the instruction set,
 * the number of threads nor other rows of a step change a result. In `fast` the number of threads changes no result. test_ops
 * checks that the results are right.
 */
#include <math.h>

#include "backends/cpu/exact.h"
#include "backends/cpu/kernels.h"
#include "graph_support.h"
#include "random_numbers.h"

enum { N_SEQUENCES = 3, MAX_PAGES = 5, N_UPDATES = 10, N_TOP = 6, MOST_ROWS = 16 };

/* Random but valid blocks: the halves at a block's start are scales of about 1/128. */
static uint8_t weight_byte(const char *name, uint64_t at, uint32_t block_bytes, uint32_t n_halves) {
    uint64_t hash = 1469598103934665603u;
    for (const char *p = name; *p != '\0'; p++) hash = (hash ^ (uint8_t)*p) * 1099511628211u;
    hash = (hash ^ at) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    hash *= 0xbf58476d1ce4e5b9u;
    uint8_t byte = (uint8_t)(hash >> 40);
    uint64_t in_block = at % block_bytes;
    if (in_block >= (uint64_t)n_halves * 2) return byte;
    return in_block % 2 == 0 ? byte : (uint8_t)(0x20 | (byte & 0x83)); /* sign, exponent 8 or so */
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)error;
    static const struct {
        const char *prefix;
        uint32_t block_bytes, n_halves;
    } blocks[] = {{"embedding", 34, 1}, {"out", 34, 1},  {"q.", 18, 1},  {"k.", 18, 1},
                  {"v.", 18, 1},        {"gate", 20, 2}, {"up.", 20, 2}, {"down", 2, 1}};
    for (size_t i = 0; i < COUNT(blocks); i++) {
        if (strncmp(name, blocks[i].prefix, strlen(blocks[i].prefix)) != 0) continue;
        for (size_t j = 0; j < size; j++)
            ((uint8_t *)into)[j] = weight_byte(name, offset + j, blocks[i].block_bytes, blocks[i].n_halves);
        return WEFT_OK;
    }
    float *values = into;
    for (size_t j = 0; j < size / 4; j++)
        values[j] = (float)(weight_byte(name, offset / 4 + j, 1, 0) - 100) / 128.0f; /* norms, biases, the rope table */
    return WEFT_OK;
}

typedef struct run_options {
    const char *simd; /* NULL: the best */
    uint32_t n_threads;
    bool unfused, fast;
} run_options;

typedef struct row {
    int32_t token, sequence, position;
    bool head;
} row;

/* Two sequences, rows of both and padding between them. */
static const row rows[] = {
    {5, 0, 0, false},  {77, 0, 1, false},  {299, 0, 2, true}, {0, 1, 0, false},  {12, 0, 3, false}, {-1, -1, 0, false},
    {140, 1, 1, true}, {141, 0, 4, false}, {9, 0, 5, true},   {250, 1, 2, true}, {33, 0, 6, false}, {61, 0, 7, true},
};
enum { N_ROWS = COUNT(rows), N_HEAD_ROWS = 5 };

/* The result of a head row: (token, log-probability), then the most likely tokens. */
typedef struct head_result {
    int32_t words[2 + 2 * N_TOP];
} head_result;

typedef struct runner {
    weft_device *device;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
} runner;

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static bool begin(runner *r, weft_runtime *runtime, const decoder_shape *shape, const run_options *options) {
    weft_error error;
    builder b;
    *r = (runner){0};
    weft_status status = weft_device_open(
        runtime, "cpu", &(weft_device_options){.n_threads = options->n_threads, .simd = options->simd}, &r->device, &error);
    if (status == WEFT_UNSUPPORTED) return false;
    check(status, &error);
    begin_graph(&b, runtime);
    add_decoder(&b, shape);
    check(b.status, &b.error);
    r->graph = b.graph;
    const weft_graph *graphs[] = {b.graph};
    weft_store_options store = {.precision = options->fast ? WEFT_FAST : WEFT_EXACT, .unfused = options->unfused};
    check(weft_store_create(r->device, graphs, 1, &store, &r->store, &error), &error);
    check(weft_store_load(r->store, &(weft_weight_source){.read = read_weight}, &error), &error);
    check(weft_plan_create(r->store, b.graph, &r->plan, &error), &error);
    return true;
}

static void end(runner *r) {
    weft_plan_destroy(r->plan);
    weft_store_destroy(r->store);
    weft_graph_destroy(r->graph);
    weft_device_close(r->device);
}

/* Pages of sequences 0 and 1, in an arbitrary order. */
static void fill_updates(int32_t *updates) {
    static const int32_t pages[2][2] = {{3, 0}, {4, 2}};
    for (int i = 0; i < N_UPDATES; i++) updates[2 * i] = -1;
    for (int s = 0; s < 2; s++)
        for (int p = 0; p < 2; p++) {
            updates[2 * (2 * s + p)] = s * (WEFT_SEQUENCE_PAGES + MAX_PAGES) + WEFT_SEQUENCE_PAGES + p;
            updates[2 * (2 * s + p) + 1] = pages[s][p];
        }
}

static void step(runner *r, const row *some, int n_rows, int n_heads, head_result *results) {
    weft_error error;
    weft_ticket ticket;
    void *inputs[3];
    const void *outputs[2];
    check(weft_plan_begin(r->plan, &ticket, inputs, &error), &error);
    int32_t *row_words = inputs[0], *heads = inputs[1];
    fill_updates(inputs[2]);
    int used = 0;
    for (int i = 0; i < n_rows; i++) {
        memcpy(row_words + 4 * i, (int32_t[]){some[i].token, some[i].sequence, some[i].position, some[i].position}, 16);
        if (some[i].head) memcpy(heads + 8 * used++, (int32_t[]){i, some[i].sequence, -1, 0, 0, 0, 0, 0}, 32);
    }
    for (; used < n_heads; used++) memcpy(heads + 8 * used, (int32_t[]){-1, -1, -1, 0, 0, 0, 0, 0}, 32);
    check(weft_plan_submit(r->plan, ticket, &error), &error);
    check(weft_plan_wait(r->plan, ticket, UINT64_MAX, outputs, &error), &error);
    for (int i = 0; i < n_heads; i++) {
        memcpy(results[i].words, (const int32_t *)outputs[0] + 2 * i, 8);
        memcpy(results[i].words + 2, (const int32_t *)outputs[1] + 2 * N_TOP * i, 8 * N_TOP);
    }
    weft_plan_release(r->plan, ticket);
}

static void run_together(weft_runtime *runtime, decoder_shape shape, const run_options *options, head_result *results) {
    runner r;
    shape.n_rows = N_ROWS;
    shape.n_heads_rows = N_HEAD_ROWS + 1;
    shape.n_top = N_TOP;
    if (!begin(&r, runtime, &shape, options)) {
        memset(results, 0, (N_HEAD_ROWS + 1) * sizeof *results);
        return;
    }
    step(&r, rows, N_ROWS, N_HEAD_ROWS + 1, results);
    end(&r);
    for (int i = 0; i < N_HEAD_ROWS; i++) {
        assert_in_range(results[i].words[0], 0, N_VOCAB - 1);
        assert_int_equal(results[i].words[0], results[i].words[2]);
        float log_probability;
        memcpy(&log_probability, &results[i].words[1], sizeof log_probability);
        assert_true(isfinite(log_probability) && log_probability < 0.0f);
    }
    assert_int_equal(results[N_HEAD_ROWS].words[0], -1);
}

static void run_one_by_one(weft_runtime *runtime, decoder_shape shape, const run_options *options, head_result *results) {
    runner r;
    shape.n_rows = shape.n_heads_rows = 1;
    shape.n_top = N_TOP;
    assert_true(begin(&r, runtime, &shape, options));
    int used = 0;
    for (int i = 0; i < (int)N_ROWS; i++) {
        head_result result;
        step(&r, &rows[i], 1, 1, &result);
        if (rows[i].head) results[used++] = result;
    }
    end(&r);
}

static const decoder_shape shapes[] = {
    {.n_layers = 2},
    {.n_layers = 2, .biases = true, .write_before_q = true},
    {.n_layers = 1, .head_norms = true, .gelu = true, .add_swapped = true},
};

static void test_same_bits(void **state) {
    (void)state;
    static const run_options options[] = {
        {NULL, 1, false, false},  {NULL, 1, true, false},   {NULL, 3, false, false},   {"none", 2, false, false},
        {"none", 1, true, false}, {"avx2", 2, true, false}, {"avx2", 1, false, false}, {"avx512vnni", 2, false, false},
    };
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    for (size_t s = 0; s < COUNT(shapes); s++) {
        head_result first[N_HEAD_ROWS + 1], other[N_HEAD_ROWS + 1];
        run_together(runtime, shapes[s], &options[0], first);
        assert_memory_not_equal(first[0].words, first[1].words, sizeof first[0]);
        for (size_t i = 1; i < COUNT(options); i++) {
            run_together(runtime, shapes[s], &options[i], other);
            if (other[0].words[1] == 0) {
                printf("no instruction set %s here\n", options[i].simd);
                continue;
            }
            assert_memory_equal(first, other, sizeof first);
        }
        for (size_t i = 0; i < 2; i++) {
            run_one_by_one(runtime, shapes[s], &options[i], other);
            assert_memory_equal(first, other, N_HEAD_ROWS * sizeof *first);
        }
    }
    end_runtime(runtime, &c);
}

/* ---- Attention alone, at lengths of several ranges ---- */

enum { CONTEXT = 1333, A_HEADS = 6, A_KV_HEADS = 2, A_DIM = 40, A_ROWS = 24 };

typedef struct attention_case {
    const run_options *options;
    weft_type type;
    int64_t page_size;
    int32_t window;
    int n_rows;
} attention_case;

static int64_t page_count(const attention_case *a) {
    return (CONTEXT + a->page_size - 1) / a->page_size;
}

static void begin_attention(runner *r, weft_runtime *runtime, const attention_case *a) {
    weft_error error;
    builder b;
    *r = (runner){0};
    weft_device_options device = {.n_threads = a->options->n_threads, .simd = a->options->simd};
    check(weft_device_open(runtime, "cpu", &device, &r->device, &error), &error);
    begin_graph(&b, runtime);
    weft_value q = add_leaf(&b, weft_graph_input, "q", WEFT_F32, A_DIM * A_HEADS, a->n_rows, 1, 1);
    weft_value row_words = add_leaf(&b, weft_graph_input, "rows", WEFT_I32, 4, a->n_rows, 1, 1);
    weft_value kv = add_leaf(&b, weft_graph_state, "kv", a->type, A_DIM, a->page_size, A_KV_HEADS, 2 * page_count(a));
    weft_value sequences = add_leaf(&b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + page_count(a), 1, 1, 1);
    const weft_attention_params params = {.n_heads = A_HEADS, .scale = 0.3f, .window = a->window};
    weft_value out = NODE(&b, WEFT_OP_ATTENTION, "attention", &params, q, kv, row_words, sequences);
    check(b.status, &b.error);
    check(weft_graph_output(b.graph, out, &error), &error);
    r->graph = b.graph;
    const weft_graph *graphs[] = {b.graph};
    check(weft_store_create(r->device, graphs, 1, &(weft_store_options){.precision = a->options->fast ? WEFT_FAST : WEFT_EXACT},
                            &r->store, &error),
          &error);
    check(weft_store_load(r->store, &(weft_weight_source){.read = read_weight}, &error), &error);
    check(weft_plan_create(r->store, b.graph, &r->plan, &error), &error);
}

/* Random keys and values that do not depend on the page size; pages in reverse. */
static void write_cache(runner *r, const attention_case *a) {
    weft_error error;
    int64_t n_pages = page_count(a);
    size_t n = (size_t)(A_DIM * a->page_size * A_KV_HEADS * 2 * n_pages);
    float *reals = calloc(n, sizeof *reals);
    uint16_t *halves = calloc(n, sizeof *halves);
    int32_t *table = calloc((size_t)(WEFT_SEQUENCE_PAGES + n_pages), sizeof *table);
    assert_true(reals != NULL && halves != NULL && table != NULL);
    uint32_t seed = 99;
    for (int64_t i = 0; i < (int64_t)CONTEXT * A_KV_HEADS * 2 * A_DIM; i++) {
        int64_t d = i % A_DIM, v = i / A_DIM % 2, h = i / A_DIM / 2 % A_KV_HEADS, j = i / A_DIM / 2 / A_KV_HEADS;
        int64_t page = n_pages - 1 - j / a->page_size;
        int64_t at = (((2 * page + v) * A_KV_HEADS + h) * a->page_size + j % a->page_size) * A_DIM + d;
        reals[at] = pseudo_random(&seed);
        halves[at] = (uint16_t)((reals[at] < 0.0f ? 0xb000 : 0x3000) + (int)(reals[at] * reals[at] * 2000.0f));
    }
    for (int32_t p = 0; p < n_pages; p++) table[WEFT_SEQUENCE_PAGES + p] = (int32_t)n_pages - 1 - p;
    const void *state = a->type == WEFT_F32 ? (const void *)reals : halves;
    check(weft_store_write_state(r->store, "kv", 0, state, n * (a->type == WEFT_F32 ? 4 : 2), &error), &error);
    check(weft_store_write_state(r->store, "sequences", 0, table, (size_t)(WEFT_SEQUENCE_PAGES + n_pages) * 4, &error), &error);
    free(reals);
    free(halves);
    free(table);
}

/* The attention of the last n_rows positions. */
static void attend(weft_runtime *runtime, const attention_case *a, float *y) {
    weft_error error;
    runner r;
    weft_ticket ticket;
    void *inputs[2];
    const void *results[1];
    begin_attention(&r, runtime, a);
    write_cache(&r, a);
    check(weft_plan_begin(r.plan, &ticket, inputs, &error), &error);
    for (int i = 0; i < a->n_rows; i++) {
        int32_t position = CONTEXT - a->n_rows + i;
        uint32_t own = (uint32_t)position;
        for (int d = 0; d < A_DIM * A_HEADS; d++) ((float *)inputs[0])[i * A_DIM * A_HEADS + d] = pseudo_random(&own);
        memcpy((int32_t *)inputs[1] + 4 * i, (int32_t[]){0, 0, position, position}, 16);
    }
    check(weft_plan_submit(r.plan, ticket, &error), &error);
    check(weft_plan_wait(r.plan, ticket, UINT64_MAX, results, &error), &error);
    memcpy(y, results[0], (size_t)(a->n_rows * A_DIM * A_HEADS) * sizeof *y);
    weft_plan_release(r.plan, ticket);
    end(&r);
}

static void test_attention_same_bits(void **state) {
    (void)state;
    static const run_options options[] = {{NULL, 2, false, false}, {"none", 1, false, false}, {NULL, 1, false, false}};
    static const int64_t page_sizes[] = {64, 7, 100, 512};
    static const int row_counts[] = {A_ROWS, 1, 3};
    const size_t n = A_DIM * A_HEADS;
    static float whole[A_ROWS * A_DIM * A_HEADS], other[A_ROWS * A_DIM * A_HEADS];
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    for (int which = 0; which < 4; which++) {
        attention_case a = {&options[0], which % 2 == 0 ? WEFT_F32 : WEFT_F16, 64, which / 2 == 0 ? 0 : 90, A_ROWS};
        attend(runtime, &a, whole);
        for (size_t i = 0; i < A_ROWS * n; i++) assert_true(isfinite(whole[i]) && whole[i] != 0.0f);
        for (size_t i = 0; i < COUNT(options) * COUNT(page_sizes) * COUNT(row_counts); i++) {
            a.options = &options[i % COUNT(options)];
            a.page_size = page_sizes[i / COUNT(options) % COUNT(page_sizes)];
            a.n_rows = row_counts[i / (COUNT(options) * COUNT(page_sizes))];
            memset(other, 0xff, sizeof other);
            attend(runtime, &a, other);
            assert_memory_equal(other, whole + (size_t)(A_ROWS - a.n_rows) * n, (size_t)a.n_rows * n * sizeof *other);
        }
    }
    end_runtime(runtime, &c);
}

/* Any bytes at all, NaN and infinite scales among them. */
static void test_unpack_is_dequantise(void **state) {
    (void)state;
    static const weft_type types[] = {WEFT_F32,  WEFT_F16,  WEFT_BF16, WEFT_Q4_0, WEFT_Q4_1, WEFT_Q5_0,   WEFT_Q5_1,   WEFT_Q8_0,
                                      WEFT_Q2_K, WEFT_Q3_K, WEFT_Q4_K, WEFT_Q5_K, WEFT_Q6_K, WEFT_IQ4_NL, WEFT_IQ4_XS, WEFT_MXFP4};
    enum { K = 1024, N_MATRIX_ROWS = 65 };
    static uint8_t data[K * N_MATRIX_ROWS * 4];
    static float expected[K], unpacked[K];
    uint32_t seed = 5;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(int)(pseudo_random(&seed) * 128.0f);
    for (size_t i = 0; i < COUNT(types); i++) {
        for (size_t s = 0; weft_cpu_kernel_sets[s] != NULL; s++) {
            if (!weft_cpu_kernel_sets[s]->available()) continue;
            const weft_cpu_exact *exact = weft_cpu_exact_find(weft_cpu_kernel_sets[s]->name);
            for (int64_t at = 0; at < N_MATRIX_ROWS; at++) {
                const uint8_t *from = data + (uint64_t)at * weft_type_bytes(types[i], K);
                assert_int_equal(weft_dequantise(types[i], from, K, expected, NULL), WEFT_OK);
                memset(unpacked, 0xff, sizeof unpacked);
                exact->unpack(types[i], data, at, K, unpacked);
                for (int j = 0; j < K; j++)
                    assert_true(memcmp(&unpacked[j], &expected[j], 4) == 0 || (isnan(unpacked[j]) && isnan(expected[j])));
            }
        }
    }
}

/* Step inputs full of nonsense touch nothing but what steps may write: a step that sets its own pages and positions gives what it
 * gives without them. */
static void test_nonsense_is_harmless(void **state) {
    (void)state;
    static const int32_t odd[] = {-1, 0, 1, 2, 7, 39, 40, 299, 300, 1000000, -2, INT32_MIN, INT32_MAX, 0x7f800000, 0x3f000000, 5};
    const size_t sizes[] = {4 * N_ROWS, 8 * (N_HEAD_ROWS + 1), 2 * N_UPDATES};
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    uint32_t seed = 3;
    printf("seed %u\n", seed);
    for (int which = 0; which < 4; which++) {
        const run_options options = {NULL, 2, which % 2 == 1, which / 2 == 1};
        decoder_shape shape = shapes[1];
        shape.n_rows = N_ROWS;
        shape.n_heads_rows = N_HEAD_ROWS + 1;
        shape.n_top = N_TOP;
        head_result before[N_HEAD_ROWS + 1], after[N_HEAD_ROWS + 1];
        runner r;
        assert_true(begin(&r, runtime, &shape, &options));
        step(&r, rows, N_ROWS, N_HEAD_ROWS + 1, before);
        for (int n = 0; n < 300; n++) {
            weft_error error;
            weft_ticket ticket;
            void *inputs[3];
            check(weft_plan_begin(r.plan, &ticket, inputs, &error), &error);
            for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < sizes[i]; j++)
                    ((int32_t *)inputs[i])[j] = odd[(size_t)((pseudo_random(&seed) + 1.0f) * 8.0f) % COUNT(odd)];
            check(weft_plan_submit(r.plan, ticket, &error), &error);
            check(weft_plan_wait(r.plan, ticket, UINT64_MAX, NULL, &error), &error);
            weft_plan_release(r.plan, ticket);
        }
        step(&r, rows, N_ROWS, N_HEAD_ROWS + 1, after);
        assert_memory_equal(before, after, sizeof before);
        end(&r);
    }
    end_runtime(runtime, &c);
}

/* `fast` guarantees the same bits with any number of threads. */
static void test_fast_with_any_threads(void **state) {
    (void)state;
    static const char *const sets[] = {NULL, "none"};
    static float one[A_ROWS * A_DIM * A_HEADS], other[A_ROWS * A_DIM * A_HEADS];
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    for (size_t s = 0; s < COUNT(sets); s++) {
        head_result first[N_HEAD_ROWS + 1], more[N_HEAD_ROWS + 1];
        run_together(runtime, shapes[1], &(run_options){sets[s], 1, false, true}, first);
        for (uint32_t n_threads = 2; n_threads <= 5; n_threads++) {
            const run_options options = {sets[s], n_threads, false, true};
            run_together(runtime, shapes[1], &options, more);
            assert_memory_equal(first, more, sizeof first);
            for (int n_rows = 1; n_rows <= A_ROWS; n_rows += A_ROWS - 1) {
                attend(runtime, &(attention_case){&(run_options){sets[s], 1, false, true}, WEFT_F16, 32, 0, n_rows}, one);
                attend(runtime, &(attention_case){&options, WEFT_F16, 32, 0, n_rows}, other);
                assert_memory_equal(one, other, (size_t)(n_rows * A_DIM * A_HEADS) * sizeof *one);
            }
        }
    }
    end_runtime(runtime, &c);
}

/* In `fast`, too, a row's attention has the same bits in steps of any width, at positions of several parts. */
static void test_fast_attention_at_any_width(void **state) {
    (void)state;
    static const char *const sets[] = {NULL, "none"};
    static const int row_counts[] = {1, 2, 5, 8};
    static float whole[A_ROWS * A_DIM * A_HEADS], other[A_ROWS * A_DIM * A_HEADS];
    const size_t n = A_DIM * A_HEADS;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    for (size_t i = 0; i < COUNT(sets) * 2; i++) {
        const run_options options = {sets[i / 2], 2, false, true};
        attention_case a = {&options, WEFT_F16, 64, i % 2 == 0 ? 0 : 300, A_ROWS};
        attend(runtime, &a, whole);
        for (size_t r = 0; r < COUNT(row_counts); r++) {
            a.n_rows = row_counts[r];
            attend(runtime, &a, other);
            assert_memory_equal(other, whole + (size_t)(A_ROWS - a.n_rows) * n, (size_t)a.n_rows * n * sizeof *other);
        }
    }
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack_is_dequantise), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_attention_same_bits),  cmocka_unit_test(test_fast_with_any_threads),
        cmocka_unit_test(test_nonsense_is_harmless), cmocka_unit_test(test_fast_attention_at_any_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
