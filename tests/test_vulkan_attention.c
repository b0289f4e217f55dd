/* Vulkan's attention of few rows (shaders/fast/attention_few.comp): the numbers of rows and KV heads that it refuses, for which a
 * step must be right by another kernel, and values of infinity. Skipped if there is no device.
 */
#include <math.h>

#include "backends/vulkan/device.h"
#include "graph_support.h"
#include "random_reals.h"
#include "vulkan_device.h"

enum { HEAD = 8, PAGE = 64, MOST_GROUPS = 65535, N_SEQUENCES = 2 };
#define INFINITE_HALF 0x7c00

typedef struct step {
    weft_precision precision;
    bool forced; /* attention of few rows */
    int64_t n_rows, n_kv_heads;
    uint16_t *kv; /* a page for each sequence */
    int (*position_of)(int64_t row);
    int (*sequence_of)(int64_t row);
    float *q, *y;
} step;

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static weft_forced_kernel attention_few(void) {
    weft_kernel_info info;
    for (uint32_t i = 0; device->backend->kernel_at(device->handle, i, &info); i++)
        if (strcmp(info.name, "attention few") == 0) return (weft_forced_kernel){info.op, i};
    fail_msg("no kernel is named attention few");
    return (weft_forced_kernel){0};
}

static weft_graph *build(int64_t n_rows, int64_t n_kv_heads) {
    const weft_attention_params params = {.n_heads = (int32_t)n_kv_heads, .scale = 1.0f};
    builder b;
    begin_graph(&b, runtime);
    weft_value q = add_leaf(&b, weft_graph_input, "q", WEFT_F32, HEAD * n_kv_heads, n_rows, 1, 1);
    weft_value kv = add_leaf(&b, weft_graph_state, "kv", WEFT_F16, HEAD, PAGE, n_kv_heads, 2 * N_SEQUENCES);
    weft_value rows = add_leaf(&b, weft_graph_input, "rows", WEFT_I32, WEFT_ROW_WORDS, n_rows, 1, 1);
    weft_value sequences = add_leaf(&b, weft_graph_state, "sequences", WEFT_I32, WEFT_SEQUENCE_PAGES + 1, N_SEQUENCES, 1, 1);
    weft_value y = NODE(&b, WEFT_OP_ATTENTION, "y", &params, q, kv, rows, sequences);
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, y, &b.error);
    check(b.status, &b.error);
    return b.graph;
}

static weft_status make_store(const weft_graph *graph, weft_precision precision, bool is_forced, weft_store **store,
                              weft_error *error) {
    const weft_graph *graphs[] = {graph};
    const weft_forced_kernel forced = attention_few();
    return weft_store_create(device, graphs, 1,
                             &(weft_store_options){.precision = precision, .forced = &forced, .n_forced = is_forced ? 1 : 0}, store,
                             error);
}

static void run(const step *s) {
    static const int32_t tables[N_SEQUENCES][WEFT_SEQUENCE_PAGES + 1] = {{0, 1}, {0, 0}};
    weft_graph *graph = build(s->n_rows, s->n_kv_heads);
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_ticket ticket;
    weft_error error;
    void *inputs[2];
    const void *outputs[1];
    check(make_store(graph, s->precision, s->forced, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){0}, &error), &error);
    check(weft_store_write_state(store, "kv", 0, s->kv, (size_t)(HEAD * PAGE * 2 * N_SEQUENCES * s->n_kv_heads) * 2, &error),
          &error);
    check(weft_store_write_state(store, "sequences", 0, tables, sizeof tables, &error), &error);
    check(weft_plan_create(store, graph, &plan, &error), &error);
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], s->q, (size_t)(HEAD * s->n_kv_heads * s->n_rows) * sizeof(float));
    for (int64_t t = 0; t < s->n_rows; t++) {
        const int32_t words[WEFT_ROW_WORDS] = {[WEFT_ROW_SEQUENCE] = s->sequence_of(t), [WEFT_ROW_CACHE_INDEX] = s->position_of(t)};
        memcpy((int32_t *)inputs[1] + t * WEFT_ROW_WORDS, words, sizeof words);
    }
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(s->y, outputs[0], (size_t)(HEAD * s->n_kv_heads * s->n_rows) * sizeof(float));
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
}

/* The first element of a position's key or value. */
static size_t place_of(int64_t n_kv_heads, int sequence, int64_t kv_head, int position, bool is_value) {
    int64_t half_page = 2 * (1 - sequence) + (is_value ? 1 : 0);
    return (size_t)(((half_page * n_kv_heads + kv_head) * PAGE + position) * HEAD);
}

/* ---- What it refuses ---- */

/* Halves of 1, 1.25, 1.5 and 1.75, and their values. */
static uint16_t some_half(uint64_t i) {
    return (uint16_t)(0x3c00 + (i * 2654435761u >> 7 & 3) * 256);
}

static double value_of(uint16_t half) {
    return 1.0 + (half - 0x3c00) / 1024.0;
}

static int few_positions(int64_t row) {
    return (int)(row % 3);
}

static int both_sequences(int64_t row) {
    return (int)(row / 3 % 2);
}

static void expect_right(const step *s) {
    for (int64_t i = 0; i < s->n_rows * s->n_kv_heads; i++) {
        int64_t t = i / s->n_kv_heads, head = i % s->n_kv_heads;
        double sum = 0.0, y[HEAD] = {0};
        for (int j = 0; j <= few_positions(t); j++) {
            const uint16_t *key = s->kv + place_of(s->n_kv_heads, both_sequences(t), head, j, false);
            const uint16_t *value = s->kv + place_of(s->n_kv_heads, both_sequences(t), head, j, true);
            double score = 0.0;
            for (int d = 0; d < HEAD; d++) score += (double)s->q[i * HEAD + d] * value_of(key[d]);
            for (int d = 0; d < HEAD; d++) y[d] += exp(score) * value_of(value[d]);
            sum += exp(score);
        }
        for (int d = 0; d < HEAD; d++)
            if (!(fabs((double)s->y[i * HEAD + d] - y[d] / sum) < 1e-4)) fail_msg("row %d, head %d is wrong", (int)t, (int)head);
    }
}

/* The step, by whichever kernel a GPU takes. */
static void expect_right_step(int64_t n_rows, int64_t n_kv_heads) {
    size_t n = (size_t)(HEAD * n_rows * n_kv_heads), n_cached = (size_t)(HEAD * PAGE * 2 * N_SEQUENCES * n_kv_heads);
    const step s = {.precision = WEFT_FAST,
                    .n_rows = n_rows,
                    .n_kv_heads = n_kv_heads,
                    .kv = malloc(n_cached * 2),
                    .position_of = few_positions,
                    .sequence_of = both_sequences,
                    .q = malloc(n * sizeof(float)),
                    .y = malloc(n * sizeof(float))};
    bool *is_processor = &device->handle->traits.is_processor, own = *is_processor;
    assert_true(s.kv && s.q && s.y);
    random_state = 3;
    for (size_t i = 0; i < n_cached; i++) s.kv[i] = some_half(i);
    for (size_t i = 0; i < n; i++) s.q[i] = random_float();
    *is_processor = false;
    run(&s);
    *is_processor = own;
    expect_right(&s);
    free(s.kv), free(s.q), free(s.y);
}

static const struct {
    int64_t n_rows, n_kv_heads; /* a row has two ranges or more */
    const char *reason;         /* NULL: none */
    bool is_run;                /* not all are, to save time */
} sizes[] = {
    {1, MOST_GROUPS / 2, NULL, false},
    {1, MOST_GROUPS / 2 + 1, "too many KV heads", true},
    {MOST_GROUPS, 1, NULL, false},
    {MOST_GROUPS + 1, 1, "too many rows", true},
    {WEFT_VULKAN_N_COUNTERS / 2, 2, NULL, false},
    {WEFT_VULKAN_N_COUNTERS / 2 + 1, 2, "too many rows", false},
};

static void too_many_rows_or_heads_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        weft_graph *graph = build(sizes[i].n_rows, sizes[i].n_kv_heads);
        weft_store *store = NULL;
        weft_error error = {0};
        weft_status status = make_store(graph, WEFT_FAST, true, &store, &error);
        if (sizes[i].reason == NULL) check(status, &error);
        if (sizes[i].reason != NULL) assert_int_equal(status, WEFT_UNSUPPORTED);
        if (sizes[i].reason != NULL && strstr(error.message, sizes[i].reason) == NULL) fail_msg("%s", error.message);
        weft_store_destroy(store);
        weft_graph_destroy(graph);
        if (sizes[i].is_run) expect_right_step(sizes[i].n_rows, sizes[i].n_kv_heads);
    }
}

/* ---- Infinity ---- */

enum { INFINITE_AT = 5, N_INFINITE_ROWS = 4 };

static int around_it(int64_t row) {
    return row == 0 ? INFINITE_AT - 1 : INFINITE_AT + (int)row;
}

static int other_sequence_last(int64_t row) {
    return row == N_INFINITE_ROWS - 1;
}

/* A row that sees an infinity among the values has a result that is not finite, NaN where the weight is 0, as `exact` has. Other
 * rows do not notice. */
static void infinity_reaches_rows_that_see_it(void **state) {
    static uint16_t kv[HEAD * PAGE * 2 * N_SEQUENCES];
    static float q[HEAD * N_INFINITE_ROWS], y[HEAD * N_INFINITE_ROWS];
    step s = {.n_rows = N_INFINITE_ROWS,
              .n_kv_heads = 1,
              .kv = kv,
              .position_of = around_it,
              .sequence_of = other_sequence_last,
              .q = q,
              .y = y};
    (void)state;
    for (size_t i = 0; i < COUNT(kv); i++) kv[i] = some_half(i);
    kv[place_of(1, 0, 0, INFINITE_AT, true)] = INFINITE_HALF;
    for (int has_weight = 0; has_weight < 2; has_weight++) {
        uint16_t *key = kv + place_of(1, 0, 0, INFINITE_AT, false);
        for (int d = 0; d < HEAD; d++) q[d] = q[HEAD + d] = q[2 * HEAD + d] = q[3 * HEAD + d] = 1.0f;
        key[0] = has_weight ? 0x3c00 : 0xe400 /* -1024 */;
        for (int is_fast = 0; is_fast < 2; is_fast++) {
            s.precision = is_fast ? WEFT_FAST : WEFT_EXACT;
            s.forced = is_fast;
            run(&s);
            for (int i = 0; i < HEAD * N_INFINITE_ROWS; i++) {
                bool sees_it = i % HEAD == 0 && (i / HEAD == 1 || i / HEAD == 2);
                assert_int_equal(isfinite(y[i]) != 0, !sees_it);
                if (sees_it && !has_weight) assert_true(isnan(y[i]));
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(too_many_rows_or_heads_are_refused),
                                       cmocka_unit_test(infinity_reaches_rows_that_see_it)};
    if (!open_vulkan()) return 0;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_vulkan();
    return failed;
}
