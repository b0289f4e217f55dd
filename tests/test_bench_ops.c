/* The benchmark of ops: its reports, early ends, cases for every op, and no leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/limited_allocator.h"
#include "weft/check.h"

#define SECONDS 0.002
#define MEMORY (16 << 20) /* enough for every small case */

typedef struct seen {
    size_t n_timed, n_skipped, n_allowed; /* n_allowed: the report that ends the run; 0: none */
    uint64_t total;                       /* cases, as progress tells */
    bool cancel;                          /* at the first call of progress */
    weft_bench_result last;
    char name[160]; /* of `last` */
} seen;

static weft_status take(void *user, const weft_bench_result *result) {
    seen *s = user;
    s->last = *result;
    snprintf(s->name, sizeof s->name, "%s", result->name);
    assert_memory_equal(result->name, weft_op_name(result->op), strlen(weft_op_name(result->op)));
    if (result->skipped) {
        assert_true(result->skipped[0]);
        s->n_skipped++;
    } else {
        assert_true(result->kernel[0]);
        assert_true(0 < result->us_min && result->us_min <= result->us_median && result->us_median <= result->us_max);
        assert_true(result->n_nodes >= 1 && result->n_rounds >= 1 && result->n_columns >= 1);
        assert_true(result->bytes > 0);
        s->n_timed++;
    }
    return s->n_allowed && s->n_timed + s->n_skipped == s->n_allowed ? WEFT_IO : WEFT_OK;
}

static bool progress(void *user, uint64_t done, uint64_t total) {
    seen *s = user;
    assert_true(done < total);
    assert_true(s->total == 0 || s->total == total);
    s->total = total;
    return !s->cancel;
}

typedef struct bench_device {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_device *device;
} bench_device;

static void open_device(bench_device *d, const char *name) {
    weft_error error = {0};
    *d = (bench_device){.runtime = NULL};
    d->runtime = limited_runtime(&d->limits);
    assert_non_null(d->runtime);
    if (weft_device_open(d->runtime, name, &(weft_device_options){.n_threads = 1}, &d->device, &error) != WEFT_OK)
        fail_msg("%s", error.message);
}

static void close_device(bench_device *d) {
    weft_device_close(d->device);
    weft_runtime_destroy(d->runtime);
    assert_int_equal(d->limits.n_live, 0);
}

static void test_reports(void **state) {
    (void)state;
    static const weft_precision precisions[] = {WEFT_FAST, WEFT_EXACT};
    bench_device d;
    weft_error error = {0};
    open_device(&d, "cpu");
    for (size_t i = 0; i < 2; i++) {
        seen s = {0};
        const weft_bench_options options = {.op = "mul_mat",
                                            .type = "Q4_K",
                                            .name = "257",
                                            .precision = precisions[i],
                                            .quick = true,
                                            .seconds = SECONDS,
                                            .memory = MEMORY,
                                            .progress = progress,
                                            .progress_user = &s};
        assert_int_equal(weft_bench_ops(d.device, &options, take, &s, &error), WEFT_OK);
        assert_int_equal(s.n_timed, s.total);
        assert_int_equal(s.n_skipped, 0);
        /* 9 blocks of 256 by 257, 8 columns. */
        assert_string_equal(s.name, "mul_mat Q4_K 2304x257 T=8");
        assert_int_equal(s.last.n_columns, 8);
        uint64_t weight = 257 * weft_type_bytes(WEFT_Q4_K, 2304);
        assert_int_equal(s.last.bytes, weight + sizeof(float) * 8 * (2304 + 257));
        assert_int_equal(s.last.operations, 2 * 2304 * 257 * 8);
        assert_int_equal(s.last.own_bytes, weight * (uint64_t)s.last.n_nodes);
    }
    close_device(&d);
}

/* Every op of the table has small cases and large ones, and each kind of graph that the bench builds runs. */
static void test_every_op(void **state) {
    (void)state;
    bench_device d;
    weft_error error = {0};
    open_device(&d, "cpu");
    for (size_t op = 1; weft_op_name((weft_op)op); op++) {
        seen large = {.cancel = true}, small = {0};
        weft_bench_options options = {.op = weft_op_name((weft_op)op), .progress = progress, .progress_user = &large};
        assert_int_equal(weft_bench_ops(d.device, &options, take, &large, &error), WEFT_CANCELLED);
        assert_true(large.total > 0);
        options = (weft_bench_options){
            .op = options.op, .quick = true, .seconds = 1e-6, .memory = MEMORY, .progress = progress, .progress_user = &small};
        if (weft_bench_ops(d.device, &options, take, &small, &error) != WEFT_OK) fail_msg("%s", error.message);
        if (small.n_skipped > 0) fail_msg("%s: %zu cases were skipped", options.op, small.n_skipped);
        assert_int_equal(small.n_timed, small.total);
    }
    close_device(&d);
}

static void test_ends(void **state) {
    (void)state;
    bench_device d;
    weft_error error = {0};
    open_device(&d, "null");
    seen s = {.n_allowed = 2};
    weft_bench_options options = {.op = "add", .quick = true, .seconds = SECONDS};
    assert_int_equal(weft_bench_ops(d.device, &options, take, &s, &error), WEFT_IO);
    assert_int_equal(s.n_timed, 2);
    s = (seen){.cancel = true};
    options.progress = progress;
    options.progress_user = &s;
    assert_int_equal(weft_bench_ops(d.device, &options, take, &s, &error), WEFT_CANCELLED);
    assert_int_equal(s.n_timed, 0);
    close_device(&d);
}

/* A case that needs too much memory is refused before anything is made. */
static void test_memory(void **state) {
    (void)state;
    bench_device d;
    weft_error error = {0};
    open_device(&d, "null");
    seen s = {0};
    const weft_bench_options options = {.seconds = SECONDS, .memory = 4096, .progress = progress, .progress_user = &s};
    assert_int_equal(weft_bench_ops(d.device, &options, take, &s, &error), WEFT_OK);
    assert_int_equal(s.n_timed + s.n_skipped, s.total);
    assert_true(s.n_skipped > 100);
    assert_true(d.limits.peak < 4 << 20);
    close_device(&d);
}

static void test_arguments(void **state) {
    (void)state;
    bench_device d;
    weft_error error = {0};
    open_device(&d, "null");
    weft_bench_options options = {.quick = true, .op = "add", .seconds = SECONDS};
    assert_int_equal(weft_bench_ops(NULL, &options, take, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_bench_ops(d.device, &options, NULL, NULL, NULL), WEFT_OK);
    static const weft_bench_options wrong[] = {{.op = "none of them"},
                                               {.type = "Q9"},
                                               {.op = "add", .seconds = -1},
                                               {.op = "add", .seconds = 1e9},
                                               {.op = "add", .reserved = {[7] = 1}}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        error.message[0] = 0;
        assert_int_equal(weft_bench_ops(d.device, &wrong[i], take, NULL, &error), WEFT_INVALID_ARGUMENT);
        assert_true(error.message[0]);
    }
    const weft_check_options both = {.quick = true, .large = true};
    assert_int_equal(weft_check_ops(d.device, &both, NULL, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    close_device(&d);
}

/* Whether allocation `fail_at` was reached. */
static bool run_failing(const char *op, size_t fail_at) {
    bench_device d;
    weft_error error = {0};
    seen s = {.n_allowed = 1};
    open_device(&d, "cpu");
    const weft_bench_options options = {.op = op, .quick = true, .seconds = 1e-6, .memory = MEMORY};
    d.limits.fail_at = d.limits.n_all + fail_at;
    weft_status status = weft_bench_ops(d.device, &options, take, &s, &error);
    bool reached = d.limits.n_all >= d.limits.fail_at;
    if (status != (reached ? WEFT_OUT_OF_MEMORY : WEFT_IO))
        fail_msg("%s: allocation %zu: status %d, %s", op, fail_at, (int)status, error.message);
    assert_true(error.message[0]);
    close_device(&d);
    return reached;
}

static void test_every_allocation(void **state) {
    (void)state;
    static const char *const ops[] = {"mul_mat", "attention", "sample", "kv_write"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        size_t n = 1;
        while (run_failing(ops[i], n)) n += n < 100 ? 1 : 37;
        printf("%s: failures up to allocation %zu\n", ops[i], n);
        assert_true(n > 50);
    }
}

/* ---- What the core gives to it ---- */

/* A store made with `unpruned` runs nodes that a plan would drop, needs no more memory, and does not fuse. */
static void test_unpruned(void **state) {
    (void)state;
    bench_device d;
    weft_error error = {0};
    open_device(&d, "cpu");
    static const struct {
        bool unpruned;
        size_t n_phases;
    } rows[] = {{true, 8}, {false, 1}};
    for (size_t i = 0; i < 2; i++) {
        weft_graph *graph = NULL;
        weft_store *store = NULL;
        weft_plan *plan = NULL;
        weft_plan_info info;
        weft_value x, inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
        assert_int_equal(weft_graph_create(d.runtime, &graph, &error), WEFT_OK);
        assert_int_equal(weft_graph_input(graph, "x", &(weft_tensor){WEFT_F32, {1024, 1, 1, 1}}, &x, &error), WEFT_OK);
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++) inputs[j] = WEFT_NONE;
        inputs[0] = x;
        for (int j = 0; j < 8; j++)
            assert_int_equal(weft_graph_add(graph, WEFT_OP_SILU, "silu", inputs, NULL, 0, outputs, &error), WEFT_OK);
        assert_int_equal(weft_graph_output(graph, outputs[0], &error), WEFT_OK);
        const weft_store_options options = {.unpruned = rows[i].unpruned};
        assert_int_equal(weft_store_create(d.device, (const weft_graph *const[]){graph}, 1, &options, &store, &error), WEFT_OK);
        assert_int_equal(weft_store_load(store, &(weft_weight_source){.read = NULL}, &error), WEFT_OK);
        assert_int_equal(weft_plan_create(store, graph, &plan, &error), WEFT_OK);
        weft_plan_describe(plan, &info);
        assert_int_equal(info.n_phases, rows[i].n_phases);
        assert_true(info.arena_bytes <= 3 * 4096);
        weft_plan_destroy(plan);
        weft_store_destroy(store);
        weft_graph_destroy(graph);
    }
    close_device(&d);
}

static void test_node_cost(void **state) {
    (void)state;
    bench_device d;
    weft_error error = {0};
    weft_graph *graph = NULL;
    uint64_t operations = 1, bytes = 1;
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    open_device(&d, "null");
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = WEFT_NONE;
    assert_int_equal(weft_graph_create(d.runtime, &graph, &error), WEFT_OK);
    assert_int_equal(weft_graph_weight(graph, "w", &(weft_tensor){WEFT_F16, {64, 32, 1, 1}}, &inputs[0], &error), WEFT_OK);
    assert_int_equal(weft_graph_input(graph, "x", &(weft_tensor){WEFT_F32, {64, 3, 1, 1}}, &inputs[1], &error), WEFT_OK);
    assert_int_equal(weft_graph_add(graph, WEFT_OP_MUL_MAT, "y", inputs, NULL, 0, outputs, &error), WEFT_OK);
    assert_int_equal(weft_graph_node_cost(graph, 0, &operations, &bytes, &error), WEFT_OK);
    assert_true(operations == 0 && bytes == 0);
    assert_int_equal(weft_graph_node_cost(graph, 2, &operations, &bytes, &error), WEFT_OK);
    assert_int_equal(operations, 2 * 64 * 32 * 3);
    assert_int_equal(bytes, 64 * 32 * 2 + 64 * 3 * 4 + 32 * 3 * 4);
    assert_int_equal(weft_graph_node_cost(graph, 3, &operations, &bytes, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_node_cost(NULL, 0, &operations, &bytes, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_node_cost(graph, 0, NULL, &bytes, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_node_cost(graph, 0, &operations, NULL, &error), WEFT_INVALID_ARGUMENT);
    weft_graph_destroy(graph);
    close_device(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports),  cmocka_unit_test(test_every_op),  cmocka_unit_test(test_ends),
        cmocka_unit_test(test_memory),   cmocka_unit_test(test_arguments), cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_unpruned), cmocka_unit_test(test_node_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
