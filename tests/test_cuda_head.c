/* CUDA's head with weights in units: a column's tokens and log-probabilities have the same bits whatever the number of columns, the
 * lowest of equally likely tokens is chosen, and the weights are read once for many columns. Skipped where the device has no such
 * kernels.
 */
#include <math.h>

#include "tests/graph_support.h"
#include "tests/random_reals.h"
#include "weft/ops/step.h"

#include "tests/cuda_device.h" /* last: it has a variable `runtime` */

enum { NAN_COLUMN = 5 };                      /* its values are NaN, so that all tokens are equal */
enum { LATER_COLUMN = 6, UNUSED_COLUMN = 4 }; /* of the sequence of column 0; of the column before it */
enum { MOST_K = 4352, MOST_N = 4200, MOST_TOP = 3, MOST_COLUMNS = 128, RESULT_WORDS = 2 + 2 * MOST_TOP };

/* More than one range of the choice, with a last band that is not full; and a sum in two slices. */
static const struct question { int64_t k, n, n_top; } questions[] = {{96, MOST_N, 0}, {4352, 40, MOST_TOP}};

static const int64_t widths[] = {1, 2, 8, 9, 17, 33, 128};

typedef struct data {
    const struct question *asked;
    uint16_t weight[96 * MOST_N]; /* BF16 */
    float norm[MOST_K], x[MOST_K * MOST_COLUMNS];
    int32_t heads[WEFT_HEAD_WORDS * MOST_COLUMNS];
    bool in_units;
    size_t n_dispatches;
} data;

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

typedef enum kind { GREEDY, SCORED, DRAWN, UNUSED } kind;
static const kind kinds[] = {GREEDY, DRAWN, SCORED, GREEDY, UNUSED, GREEDY, GREEDY, SCORED, GREEDY, GREEDY, GREEDY};

static kind kind_of(int64_t column) {
    return kinds[(size_t)column % COUNT(kinds)];
}

static void fill_head(int32_t *head, int32_t column, int32_t n_vocab) {
    bool draws = kind_of(column) == DRAWN;
    head[WEFT_HEAD_ROW] = kind_of(column) == UNUSED ? -1 : column;
    head[WEFT_HEAD_SEQUENCE] = column == LATER_COLUMN ? 0 : column == UNUSED_COLUMN ? UNUSED_COLUMN - 1 : column;
    head[WEFT_HEAD_TARGET] = kind_of(column) == SCORED ? column * 7 % n_vocab : -1;
    head[WEFT_HEAD_TOP_K] = draws ? 5 : 0;
    head[WEFT_HEAD_TEMPERATURE] = draws ? (int32_t)bits_of(0.75f) : 0;
    head[WEFT_HEAD_TOP_P] = head[WEFT_HEAD_MIN_P] = 0;
    head[WEFT_HEAD_RANDOM] = column * 104729;
}

/* Each row of the first half comes again in the second half. */
static void fill(data *d) {
    const struct question *q = d->asked;
    int64_t half = q->n / 2;
    for (int64_t i = 0; i < q->k * q->n; i++)
        d->weight[i] =
            i / q->k < half || i / q->k >= 2 * half ? (uint16_t)(bits_of(0.2f * random_float()) >> 16) : d->weight[i - half * q->k];
    for (int64_t i = 0; i < q->k; i++) d->norm[i] = 1.0f + 0.5f * random_float();
    for (int64_t i = 0; i < q->k * MOST_COLUMNS; i++) d->x[i] = random_float();
    for (int64_t i = 0; i < q->k; i++) d->x[NAN_COLUMN * q->k + i] = NAN;
    for (int32_t i = 0; i < MOST_COLUMNS; i++) fill_head(d->heads + i * WEFT_HEAD_WORDS, i, (int32_t)q->n);
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const data *d = user;
    const void *from = strcmp(name, "norm") == 0 ? (const void *)d->norm : d->weight;
    (void)error;
    memcpy(into, (const char *)from + offset, size);
    return WEFT_OK;
}

static weft_graph *build(const struct question *q, int64_t n_columns) {
    const weft_norm_head_sample_params params = {.epsilon = 1e-5f, .n_top = (int32_t)q->n_top};
    builder b;
    begin_graph(&b, runtime);
    const weft_value inputs[] = {add_leaf(&b, weft_graph_input, "x", WEFT_F32, q->k, n_columns, 1, 1),
                                 add_leaf(&b, weft_graph_weight, "norm", WEFT_F32, q->k, 1, 1, 1),
                                 add_leaf(&b, weft_graph_weight, "weight", WEFT_BF16, q->k, q->n, 1, 1),
                                 add_leaf(&b, weft_graph_input, "heads", WEFT_I32, WEFT_HEAD_WORDS, n_columns, 1, 1),
                                 add_leaf(&b, weft_graph_state, "sequences", WEFT_I32, 2, MOST_COLUMNS, 1, 1)};
    weft_value more[WEFT_MAX_OUTPUTS];
    weft_value chosen = add_node(&b, WEFT_OP_NORM_HEAD_SAMPLE, "head", inputs, &params, sizeof params, more);
    check(b.status, &b.error);
    check(weft_graph_output(b.graph, chosen, &b.error), &b.error);
    if (q->n_top > 0) check(weft_graph_output(b.graph, more[0], &b.error), &b.error);
    return b.graph;
}

static weft_status find_kernel(void *user, const char *text, size_t size) {
    char line[512];
    snprintf(line, sizeof line, "%.*s", (int)size, text);
    if (strstr(line, "f16 mma, units") != NULL) ((data *)user)->in_units = true;
    return WEFT_OK;
}

static void step(weft_plan *plan, const data *d, int64_t n_columns, int32_t results[][RESULT_WORDS]) {
    weft_ticket ticket;
    weft_error error;
    void *inputs[2];
    const void *outputs[2] = {NULL, NULL};
    int64_t n_top = d->asked->n_top;
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], d->x, (size_t)(n_columns * d->asked->k) * sizeof *d->x);
    memcpy(inputs[1], d->heads, (size_t)(n_columns * WEFT_HEAD_WORDS) * sizeof *d->heads);
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    for (int64_t i = 0; i < n_columns; i++) {
        memcpy(results[i], (const int32_t *)outputs[0] + 2 * i, 2 * sizeof(int32_t));
        if (n_top > 0) memcpy(results[i] + 2, (const int32_t *)outputs[1] + 2 * n_top * i, (size_t)(2 * n_top) * sizeof(int32_t));
    }
    weft_plan_release(plan, ticket);
}

/* The last column that is used sets its sequence's token. */
static void expect_last_tokens(weft_store *store, int64_t n_columns, int32_t results[][RESULT_WORDS]) {
    static int32_t sequences[MOST_COLUMNS][2];
    weft_error error;
    check(weft_store_read_state(store, "sequences", 0, sequences, sizeof sequences, &error), &error);
    for (int64_t i = 0; i < MOST_COLUMNS; i++) {
        int64_t column = i == 0 && n_columns > LATER_COLUMN ? LATER_COLUMN : i;
        bool is_set = column < n_columns && kind_of(column) != UNUSED && i != LATER_COLUMN;
        assert_int_equal(sequences[i][WEFT_SEQUENCE_LAST_TOKEN], is_set ? results[column][0] : 0);
        assert_int_equal(sequences[i][WEFT_SEQUENCE_PAGES], 0);
    }
}

/* Where there are few columns, two steps: the second must give the same. */
static void run(weft_device *device, data *d, int64_t n_columns, int32_t results[][RESULT_WORDS]) {
    static int32_t again[MOST_COLUMNS][RESULT_WORDS];
    memset(again, 0, sizeof again);
    weft_graph *graph = build(d->asked, n_columns);
    const weft_graph *graphs[] = {graph};
    weft_store *store;
    weft_plan *plan;
    weft_plan_info info = {0};
    weft_error error;
    check(weft_graph_print(graph, &(weft_graph_print_options){.device = device}, find_kernel, d, &error), &error);
    check(weft_store_create(device, graphs, 1, NULL, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_weight, .user = d}, &error), &error);
    check(weft_plan_create(store, graph, &plan, &error), &error);
    weft_plan_describe(plan, &info);
    d->n_dispatches = info.n_dispatches;
    step(plan, d, n_columns, results);
    if (n_columns <= 16) {
        step(plan, d, n_columns, again);
        assert_memory_equal(again, results, (size_t)n_columns * sizeof *results);
    }
    expect_last_tokens(store, n_columns, results);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
}

static void expect_choices(const data *d, int64_t n_columns, int32_t results[][RESULT_WORDS]) {
    for (int64_t i = 0; i < n_columns; i++) {
        int32_t token = results[i][0];
        if (i == NAN_COLUMN) assert_int_equal(token, 0);
        if (kind_of(i) == UNUSED) assert_int_equal(token, -1);
        if (kind_of(i) == SCORED) assert_int_equal(token, d->heads[i * WEFT_HEAD_WORDS + WEFT_HEAD_TARGET]);
        if (kind_of(i) == GREEDY)
            assert_false(token >= d->asked->n / 2 && token < d->asked->n / 2 * 2); /* there is an equal one before */
        if (kind_of(i) == GREEDY && d->asked->n_top > 0) assert_memory_equal(results[i], results[i] + 2, 2 * sizeof(int32_t));
    }
}

static void every_width_chooses_the_same(void **state) {
    static data d;
    static int32_t results[COUNT(widths)][MOST_COLUMNS][RESULT_WORDS];
    size_t n_dispatches[COUNT(widths)];
    weft_device *device = NULL;
    weft_error error;
    (void)state;
    check(weft_device_open(runtime, "cuda:0", NULL, &device, &error), &error);
    for (size_t i = 0; i < COUNT(questions); i++) {
        d.asked = &questions[i];
        random_state = 3000 + i;
        memset(results, 0, sizeof results);
        fill(&d);
        for (size_t w = 0; w < COUNT(widths); w++) {
            run(device, &d, widths[w], results[w]);
            if (!d.in_units) break;
            n_dispatches[w] = d.n_dispatches;
            expect_choices(&d, widths[w], results[w]);
            for (size_t other = 0; other < w; other++)
                if (memcmp(results[w], results[other], (size_t)widths[other] * sizeof *results[w]) != 0)
                    fail_msg("question %zu: T = %d and T = %d differ", i, (int)widths[w], (int)widths[other]);
        }
        /* The launches that begin and end a step, the norm, the product, sums of exponentials and the choice: none looks for the
         * largest logit. */
        for (size_t w = 0; d.in_units && w < 2; w++) assert_int_equal(n_dispatches[w], 6);
        for (size_t w = 0; d.in_units && w + 1 < COUNT(widths); w++)
            if (widths[w] > 16) assert_int_equal(n_dispatches[w], n_dispatches[w + 1]); /* one pass over the weights */
    }
    if (!d.in_units) print_message("skipped: the device has no products of weights in units\n");
    if (WEFT_CUDA_EMULATED) assert_true(d.in_units);
    weft_device_close(device);
}

int main(void) {
    if (!find_cuda()) return 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_width_chooses_the_same)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return failed;
}
