/* Slices of a source's tensors: which are refused, what the loader asks a source for, that a slice is part of what a weight is, and
 * that nothing leaks when anything fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/store.h"
#include "tests/support/fixture.h"

static void assert_says(const weft_error *error, const char *text) {
    if (!strstr(error->message, text)) fail_msg("\"%s\" is not in \"%s\"", text, error->message);
}

/* ---- What is refused ---- */

static const char long_name[] = "a name of sixty-four bytes, which is one more than a name may have";

static void bounds_are_checked(void **state) {
    (void)state;
    static const struct {
        weft_tensor tensor;
        weft_slice slice;
        const char *says; /* NULL: accepted */
    } cases[] = {
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = "t", .shape = {7, 9, 1, 1}, .first = {4, 7, 0, 0}}, NULL},
        {{WEFT_F32, {7, 9, 2, 3}}, {.source = "t", .shape = {7, 9, 2, 3}, .first = {0}}, NULL},
        {{WEFT_F32, {4, 2, 1, 1}},
         {.source = "t", .shape = {7, 9, 1, 1}, .first = {4, 7, 0, 0}},
         "4 from 4 on in dimension 0 are outside t, which has 7"},
        {{WEFT_F32, {3, 3, 1, 1}},
         {.source = "t", .shape = {7, 9, 1, 1}, .first = {4, 7, 0, 0}},
         "3 from 7 on in dimension 1 are outside t, which has 9"},
        {{WEFT_F32, {3, 3, 2, 1}}, {.source = "t", .shape = {7, 9, 3, 1}, .first = {0, 0, 2, 0}}, "dimension 2"},
        {{WEFT_F32, {3, 3, 1, 1}}, {.source = "t", .shape = {7, 9, 3, 2}, .first = {0, 0, 0, 2}}, "dimension 3"},
        {{WEFT_F32, {3, 3, 1, 1}}, {.source = "t", .shape = {7, 9, 1, 1}, .first = {-1, 0, 0, 0}}, "3 from -1 on in dimension 0"},
        {{WEFT_F32, {3, 3, 1, 1}}, {.source = "t", .shape = {7, 9, 1, 1}, .first = {0, INT64_MAX, 0, 0}}, "in dimension 1"},
        {{WEFT_F32, {8, 3, 1, 1}}, {.source = "t", .shape = {7, 9, 1, 1}, .first = {0, 0, 0, 0}}, "8 from 0 on in dimension 0"},
        {{WEFT_F32, {INT32_MAX, 1, 1, 1}}, {.source = "t", .shape = {7, 9, 1, 1}, .first = {INT64_MAX, 0, 0, 0}}, "in dimension 0"},
        {{WEFT_Q4_0, {64, 3, 1, 1}}, {.source = "t", .shape = {96, 9, 1, 1}, .first = {32, 0, 0, 0}}, NULL},
        {{WEFT_Q4_0, {64, 3, 1, 1}},
         {.source = "t", .shape = {96, 9, 1, 1}, .first = {16, 0, 0, 0}},
         "column 16 of t is inside a block of 32 of Q4_0"},
        {{WEFT_Q4_K, {256, 3, 1, 1}},
         {.source = "t", .shape = {768, 9, 1, 1}, .first = {32, 0, 0, 0}},
         "column 32 of t is inside a block of 256 of Q4_K"},
        {{WEFT_Q4_0, {48, 3, 1, 1}}, {.source = "t", .shape = {96, 9, 1, 1}, .first = {0, 0, 0, 0}}, "Q4_0 [48, 3]"},
        {{WEFT_Q4_0, {64, 3, 1, 1}},
         {.source = "t", .shape = {80, 9, 1, 1}, .first = {0, 0, 0, 0}},
         "t [80, 9, 1, 1] is no valid shape of Q4_0"},
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = "t", .shape = {7, 9, 0, 1}, .first = {0}}, "t [7, 9, 0, 1] is no valid shape"},
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = "t", .shape = {7, 9}, .first = {0}}, "is no valid shape"},
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = "t", .shape = {7, INT64_MAX, 2, 1}, .first = {0}}, "is no valid shape"},
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = "", .shape = {7, 9, 1, 1}, .first = {0}}, "names a tensor of the source"},
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = NULL, .shape = {7, 9, 1, 1}, .first = {0}}, "names a tensor of the source"},
        {{WEFT_F32, {3, 2, 1, 1}}, {.source = long_name, .shape = {7, 9, 1, 1}, .first = {0}}, "up to 63 bytes"},
    };
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_graph *graph;
    weft_error error = {0};
    weft_value value = 77;
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    size_t n_added = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%zu", i);
        weft_status status = weft_graph_weight_slice(graph, name, &cases[i].tensor, &cases[i].slice, &value, &error);
        if (status != (cases[i].says ? WEFT_INVALID_ARGUMENT : WEFT_OK)) fail_msg("case %zu: %s", i, error.message);
        if (cases[i].says) {
            assert_says(&error, cases[i].says);
            assert_says(&error, name);
        }
        n_added += cases[i].says == NULL;
    }
    assert_int_equal(weft_graph_node_count(graph), n_added);
    const weft_tensor tensor = {WEFT_F32, {3, 2, 1, 1}};
    const weft_slice slice = {.source = "t", .shape = {7, 9, 1, 1}, .first = {0}};
    assert_int_equal(weft_graph_weight_slice(graph, "n", &tensor, NULL, &value, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_weight_slice(graph, "n", NULL, &slice, &value, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_weight_slice(graph, NULL, &tensor, &slice, &value, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_weight_slice(graph, "w0", &tensor, &slice, &value, &error), WEFT_INVALID_ARGUMENT);
    assert_says(&error, "has a weight of that name");
    weft_graph_destroy(graph);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static weft_status append(void *user, const char *text, size_t size) {
    strncat(user, text, size);
    return WEFT_OK;
}

static void graphs_tell_of_slices(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    weft_graph *graph;
    weft_value whole, part, input;
    weft_node node;
    weft_error error = {0};
    float six[6];
    char source[] = "fused";
    const weft_tensor tensor = matrix(WEFT_F32, 3, 2);
    weft_slice slice = {.source = source, .shape = {7, 9, 1, 1}, .first = {4, 5, 0, 0}};
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_weight(graph, "whole", &tensor, &whole, NULL), WEFT_OK);
    assert_int_equal(weft_graph_weight_slice(graph, "part", &tensor, &slice, &part, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(graph, "input", &tensor, &input, NULL), WEFT_OK);
    memset(source, 'x', 5);
    char text[2000] = "";
    assert_int_equal(weft_graph_print(graph, NULL, append, text, NULL), WEFT_OK);
    assert_non_null(strstr(text, "weight \"part\" F32 [3, 2] from [4, 5, 0, 0] of fused, 24 bytes"));
    text[0] = 0;
    assert_int_equal(weft_graph_print(graph, &(weft_graph_print_options){.format = WEFT_GRAPH_DOT}, append, text, NULL), WEFT_OK);
    assert_non_null(strstr(text, "from [4, 5, 0, 0] of fused"));
    assert_int_equal(weft_graph_node(graph, 0, &node, NULL), WEFT_OK);
    assert_null(node.slice);
    assert_int_equal(weft_graph_node(graph, 1, &node, NULL), WEFT_OK);
    assert_string_equal(node.slice->source, "fused");
    assert_memory_equal(node.slice->first, slice.first, sizeof slice.first);

    assert_int_equal(weft_graph_read_weight(graph, part, &weight_source, six, sizeof six, &error), WEFT_OK);
    for (uint64_t i = 0; i < 6; i++) assert_true(six[i] == weight_element("fused", (5 + i / 3) * 7 + 4 + i % 3));
    assert_int_equal(weft_graph_read_weight(graph, whole, &weight_source, six, sizeof six, &error), WEFT_OK);
    for (uint64_t i = 0; i < 6; i++) assert_true(six[i] == weight_element("whole", i));
    assert_int_equal(weft_graph_read_weight(graph, part, &weight_source, six, 20, &error), WEFT_INVALID_ARGUMENT);
    assert_says(&error, "weight part has 24 bytes, and there is room for 20");
    assert_int_equal(weft_graph_read_weight(graph, input, &weight_source, six, 24, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_read_weight(graph, 3, &weight_source, six, 24, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_read_weight(graph, part, NULL, six, 24, &error), WEFT_INVALID_ARGUMENT);
    weft_graph_destroy(graph);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

/* ---- Loading ---- */

enum { K = 1056, ROWS = 1500, MATRICES = 3 };

typedef struct part {
    int64_t first[WEFT_MAX_DIMENSIONS], n[WEFT_MAX_DIMENSIONS];
    int n_reads; /* runs of bytes that follow each other, where no piece ends one */
} part;

static const part parts[] = {
    {{0, 7, 1, 0}, {K, 33, 1, 1}, 1},           /* rows: one run */
    {{0, 31, 0, 0}, {K, 63, 3, 1}, 3},          /* rows of each matrix */
    {{0, 0, 1, 0}, {K, ROWS, 2, 1}, 4},         /* whole matrices: 12 MB in pieces of up to 4 MiB */
    {{31, 5, 2, 0}, {257, 31, 1, 1}, 31},       /* columns: a run a row */
    {{1, 0, 0, 0}, {1, ROWS, 3, 1}, ROWS * 3},  /* one column */
    {{0, 1499, 2, 0}, {1, 1, 1, 1}, 1},         /* one element */
    {{K - 1, ROWS - 1, 2, 0}, {1, 1, 1, 1}, 1}, /* the last one */
    {{0, 0, 0, 0}, {K, ROWS, MATRICES, 1}, 5},  /* all of it, under another name */
};
enum { N_PARTS = sizeof parts / sizeof *parts };

typedef struct reads {
    int n_reads, fail_at;
    uint64_t bytes;
} reads;

static weft_status read_fused(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    reads *log = user;
    if (++log->n_reads == log->fail_at) return weft_fail(error, WEFT_IO, "the disk is on fire");
    assert_string_equal(name, "fused");
    assert_true(size <= 4 << 20 && offset + size <= (uint64_t)K * ROWS * MATRICES * 4);
    log->bytes += size;
    return read_weight(NULL, name, offset, into, size, error);
}

static weft_status add_part(weft_graph *graph, const char *name, const part *p, weft_value *copy, weft_error *error) {
    weft_tensor tensor = {.type = WEFT_F32};
    weft_slice slice = {.source = "fused", .shape = {K, ROWS, MATRICES, 1}};
    memcpy(tensor.shape, p->n, sizeof tensor.shape);
    memcpy(slice.first, p->first, sizeof slice.first);
    weft_value value;
    weft_status status = weft_graph_weight_slice(graph, name, &tensor, &slice, &value, error);
    if (!status) status = add_node(graph, WEFT_OP_COPY, name, value, WEFT_NONE, copy, error);
    return status;
}

static void check_part(const part *p, const float *values) {
    const int64_t *n = p->n, *first = p->first;
    for (int64_t i = 0; i < n[0] * n[1] * n[2]; i++) {
        int64_t row = (first[2] + i / n[0] / n[1]) * ROWS + first[1] + i / n[0] % n[1];
        assert_true(values[i] == weight_element("fused", (uint64_t)(row * K + first[0] + i % n[0])));
    }
}

static void loads_runs(void **state) {
    (void)state;
    for (int way = 0; way < 5; way++) {
        for (size_t i = 0; i < N_PARTS; i++) {
            script_reset();
            script.packs = way == 0 || way == 3;
            script.unmapped = way == 1 || way == 4;
            script.stages = way >= 3;
            reads log = {0};
            fixture all = {0};
            weft_error error = {0};
            weft_graph *graph;
            weft_value copy = WEFT_NONE;
            weft_store *store;
            const void *output;
            assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
            assert_int_equal(weft_graph_create(all.runtime, &graph, NULL), WEFT_OK);
            assert_int_equal(add_part(graph, "part", &parts[i], &copy, &error), WEFT_OK);
            assert_int_equal(weft_graph_output(graph, copy, NULL), WEFT_OK);
            assert_int_equal(weft_store_create(all.device, (const weft_graph *const[]){graph}, 1, NULL, &store, &error), WEFT_OK);
            assert_int_equal(weft_store_load(store, &(weft_weight_source){.read = read_fused, .user = &log}, &error), WEFT_OK);
            assert_int_equal(log.n_reads, parts[i].n_reads);
            assert_int_equal(log.bytes, 4 * parts[i].n[0] * parts[i].n[1] * parts[i].n[2]);
            weft_plan *plan = run_step(store, graph, &output);
            check_part(&parts[i], output);
            weft_plan_destroy(plan);
            weft_store_destroy(store);
            weft_graph_destroy(graph);
            assert_given_back(&all);
        }
    }
}

/* ---- A slice is part of what a weight is ---- */

static weft_graph *graph_of(weft_runtime *runtime, const part *p) {
    weft_graph *graph;
    weft_value copy = WEFT_NONE;
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    assert_int_equal(add_part(graph, "w", p, &copy, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(graph, copy, NULL), WEFT_OK);
    return graph;
}

static void graphs_must_agree(void **state) {
    (void)state;
    static const part here = {{32, 5, 0, 0}, {64, 31, 1, 1}, 0}, there = {{32, 6, 0, 0}, {64, 31, 1, 1}, 0};
    script_reset();
    fixture all = {0};
    weft_error error = {0};
    assert_int_equal(fixture_open(&all, NULL), WEFT_OK);
    weft_graph *whole, *graphs[3] = {graph_of(all.runtime, &here), graph_of(all.runtime, &there), NULL};
    weft_tensor tensor = matrix(WEFT_F32, 64, 31);
    weft_value value;
    assert_int_equal(weft_graph_create(all.runtime, &whole, NULL), WEFT_OK);
    assert_int_equal(weft_graph_weight(whole, "w", &tensor, &value, NULL), WEFT_OK);
    assert_int_equal(add_node(whole, WEFT_OP_COPY, "copied", value, WEFT_NONE, &value, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(whole, value, NULL), WEFT_OK);
    graphs[2] = whole;
    static const char *const says[] = {NULL, "in another", "weight [64, 31, 1, 1] in another"};
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    for (int i = 1; i < 3; i++) {
        const weft_graph *pair[] = {graphs[0], graphs[i]};
        assert_int_equal(weft_store_create(all.device, pair, 2, NULL, &store, &error), WEFT_INVALID_ARGUMENT);
        assert_says(&error, "\"w\" is a F32 weight [64, 31, 1, 1] from [32, 5, 0, 0] of fused in one graph");
        assert_says(&error, says[i]);
    }
    assert_null(store);
    const weft_graph *same[] = {graphs[0], graph_of(all.runtime, &here)};
    reads log = {0};
    assert_int_equal(weft_store_create(all.device, same, 2, NULL, &store, &error), WEFT_OK);
    assert_int_equal(weft_store_load(store, &(weft_weight_source){.read = read_fused, .user = &log}, &error), WEFT_OK);
    assert_int_equal(log.n_reads, 31); /* once for both graphs */
    for (int i = 1; i < 3; i++) {
        assert_int_equal(weft_plan_create(store, graphs[i], &plan, &error), WEFT_INVALID_ARGUMENT);
        assert_says(&error, "\"w\" is another slice than in the store");
    }
    assert_int_equal(weft_plan_create(store, same[1], &plan, &error), WEFT_OK);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy((weft_graph *)same[1]);
    for (int i = 0; i < 3; i++) weft_graph_destroy(graphs[i]);
    fixture_close(&all);
    assert_int_equal(all.limits.n_live, 0);
    script_end();
}

/* ---- Failures ---- */

/* Two slices of one tensor are added. Every call that can fail does so in turn. */
static weft_status live(limited_allocator limits, reads log, size_t *n_all, int *n_reads) {
    static const part a = {{33, 1, 0, 0}, {257, 7, 1, 1}, 0}, b = {{0, 63, 1, 0}, {257, 7, 1, 1}, 0};
    script_reset();
    script.unmapped = true;
    fixture all = {.limits = limits};
    weft_graph *graph = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_value left = WEFT_NONE, right = WEFT_NONE, sum = WEFT_NONE;
    weft_error error = {0};
    weft_status status = fixture_open(&all, &error);
    if (!status) status = weft_graph_create(all.runtime, &graph, &error);
    if (!status) status = add_part(graph, "left", &a, &left, &error);
    if (!status) status = add_part(graph, "right", &b, &right, &error);
    if (!status) status = add_node(graph, WEFT_OP_ADD, "sum", left, right, &sum, &error);
    if (!status) status = weft_graph_output(graph, sum, &error);
    if (!status) status = weft_store_create(all.device, (const weft_graph *const[]){graph}, 1, NULL, &store, &error);
    if (!status) status = weft_store_load(store, &(weft_weight_source){.read = read_fused, .user = &log}, &error);
    if (!status) status = weft_plan_create(store, graph, &plan, &error);
    if (status && all.runtime) assert_true(error.status == status && error.message[0]);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
    fixture_close(&all);
    if (script.broken) fail_msg("%s", script.complaint);
    assert_int_equal(script.live_buffers + script.live_plans, 0);
    assert_int_equal(all.limits.n_live, 0);
    *n_all = all.limits.n_all;
    *n_reads = log.n_reads;
    script_end();
    return status;
}

static void everything_fails(void **state) {
    (void)state;
    size_t n_all, fail_at = 0;
    int n_reads, n_all_reads;
    assert_int_equal(live((limited_allocator){0}, (reads){0}, &n_all, &n_all_reads), WEFT_OK);
    assert_int_equal(n_all_reads, 7 + 7);
    for (int i = 1; i <= n_all_reads; i++) {
        assert_int_equal(live((limited_allocator){0}, (reads){.fail_at = i}, &n_all, &n_reads), WEFT_IO);
        assert_int_equal(n_reads, i);
    }
    for (int later = 0; later < 2; later++) {
        weft_status status;
        fail_at = 0;
        do {
            status = live((limited_allocator){.fail_at = ++fail_at, .fail_after = later}, (reads){0}, &n_all, &n_reads);
            assert_true(status == WEFT_OUT_OF_MEMORY || n_all < fail_at);
        } while (status);
        assert_true(fail_at > 20);
    }
    print_message("%zu allocations failed in turn\n", fail_at - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_checked), cmocka_unit_test(graphs_tell_of_slices), cmocka_unit_test(loads_runs),
        cmocka_unit_test(graphs_must_agree),  cmocka_unit_test(everything_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
