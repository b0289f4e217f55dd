/* Weights that are slices of a tensor of the source: by rows, columns and matrices, of every type, they are the bits of the whole
 * tensor, whichever op reads them and however the device packs them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check/case.h"
#include "device_support.h"

enum { N_ROWS = 257, N_MATRICES = 3, N_OUTER = 2, N_COLUMNS = 3, SEED = 20261128 };

static void must(weft_status status, const weft_error *error) {
    if (status) fail_msg("%s", error->message);
}

/* The tensor that slices are cut from, and what a slice of it must be, cut element by element. */
typedef struct subject {
    weft_tensor whole, part;
    int64_t first[WEFT_MAX_DIMENSIONS];
    weft_check_case random; /* holds the memory */
    unsigned char *bytes, *cut;
    float *values; /* of the part */
    int n_reads;
} subject;

/* In elements of dimension 0 for types without blocks, and in blocks for those with them. */
typedef struct range {
    int64_t first[WEFT_MAX_DIMENSIONS], n[WEFT_MAX_DIMENSIONS];
} range;

static const range float_ranges[] = {
    {{0, 0, 0, 0}, {257, 257, 3, 2}}, {{0, 3, 1, 0}, {257, 31, 1, 1}},  {{0, 256, 2, 1}, {257, 1, 1, 1}},
    {{5, 0, 0, 0}, {31, 63, 1, 1}},   {{1, 31, 1, 1}, {33, 33, 1, 1}},  {{256, 0, 0, 0}, {1, 257, 1, 1}},
    {{0, 7, 0, 0}, {257, 31, 3, 2}},  {{0, 0, 1, 0}, {257, 257, 2, 2}}, {{194, 5, 1, 1}, {63, 33, 2, 1}},
};
static const range block_ranges[] = {
    {{0, 0, 0, 0}, {5, 257, 3, 2}}, {{0, 3, 1, 0}, {5, 31, 1, 1}},  {{0, 256, 2, 1}, {5, 1, 1, 1}},
    {{1, 0, 0, 0}, {1, 63, 1, 1}},  {{1, 31, 1, 1}, {3, 33, 1, 1}}, {{4, 0, 0, 0}, {1, 257, 1, 1}},
    {{0, 7, 0, 0}, {5, 31, 3, 2}},  {{0, 0, 1, 0}, {5, 257, 2, 2}}, {{2, 5, 1, 1}, {2, 33, 2, 1}},
};
enum { N_RANGES = sizeof float_ranges / sizeof *float_ranges };

static subject make_subject(weft_runtime *runtime, weft_type type) {
    const weft_type_info *info = weft_type_get(type);
    subject s = {.whole = {type, {info->block_elements == 1 ? 257 : 5 * info->block_elements, N_ROWS, N_MATRICES, N_OUTER}},
                 .random = {.runtime = runtime, .random = {.key = SEED}}};
    uint64_t bytes = weft_tensor_bytes(&s.whole);
    weft_check_weight(&s.random, 0, type, s.whole.shape[0], N_ROWS * N_MATRICES * N_OUTER, WEFT_CHECK_NORMAL, 0.1);
    s.bytes = s.random.inputs[0].data;
    s.cut = weft_check_memory(&s.random, (int64_t)bytes, 1);
    s.values = weft_check_memory(&s.random, (int64_t)(bytes / info->block_bytes) * info->block_elements, sizeof *s.values);
    assert_true(weft_check_ready(&s.random));
    return s;
}

static void cut(subject *s, const range *r) {
    const weft_type_info *info = weft_type_get(s->whole.type);
    const int64_t *n = r->n, *first = r->first, *whole = s->whole.shape, n_blocks = whole[0] / info->block_elements;
    s->part = (weft_tensor){s->whole.type, {n[0] * info->block_elements, n[1], n[2], n[3]}};
    memcpy(s->first, first, sizeof s->first);
    s->first[0] *= info->block_elements;
    unsigned char *to = s->cut;
    for (int64_t d = 0; d < n[3]; d++)
        for (int64_t c = 0; c < n[2]; c++)
            for (int64_t b = 0; b < n[1]; b++)
                for (int64_t a = 0; a < n[0]; a++, to += info->block_bytes) {
                    int64_t row = ((first[3] + d) * whole[2] + first[2] + c) * whole[1] + first[1] + b;
                    memcpy(to, s->bytes + (row * n_blocks + first[0] + a) * info->block_bytes, info->block_bytes);
                }
    int64_t n_elements = s->part.shape[0] * n[1] * n[2] * n[3];
    assert_int_equal(weft_dequantise(s->part.type, s->cut, n_elements, s->values, NULL), WEFT_OK);
}

static weft_status read_part(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    subject *s = user;
    bool is_cut = strcmp(name, "cut") == 0;
    uint64_t bytes = weft_tensor_bytes(is_cut ? &s->part : &s->whole);
    if (!is_cut && strcmp(name, "whole") != 0) return weft_fail(error, WEFT_NOT_FOUND, "there is no tensor %s", name);
    assert_true(offset <= bytes && size <= bytes - offset && size > 0);
    memcpy(into, (is_cut ? s->cut : s->bytes) + offset, size);
    s->n_reads += !is_cut;
    return WEFT_OK;
}

typedef struct graph_of {
    weft_graph *graph;
    weft_value slice, cut, index, x;
    bool multiplies;
} graph_of;

static weft_value add(graph_of *g, weft_op op, const char *name, weft_value a, weft_value b) {
    weft_error error;
    weft_value inputs[WEFT_MAX_INPUTS] = {a, b, WEFT_NONE}, outputs[WEFT_MAX_OUTPUTS];
    must(weft_graph_add(g->graph, op, name, inputs, NULL, 0, outputs, &error), &error);
    must(weft_graph_output(g->graph, outputs[0], &error), &error);
    return outputs[0];
}

/* Results: copy and get_rows of the slice, and where it is a matrix, products of the slice and of the same bytes as a tensor. */
static graph_of build(weft_runtime *runtime, const subject *s) {
    weft_error error;
    graph_of g;
    weft_slice slice = {.source = "whole"};
    int64_t n_rows = s->part.shape[1] * s->part.shape[2] * s->part.shape[3];
    memcpy(slice.shape, s->whole.shape, sizeof slice.shape);
    memcpy(slice.first, s->first, sizeof slice.first);
    must(weft_graph_create(runtime, &g.graph, &error), &error);
    must(weft_graph_weight_slice(g.graph, "slice", &s->part, &slice, &g.slice, &error), &error);
    must(weft_graph_input(g.graph, "index", &(weft_tensor){WEFT_I32, {1, n_rows + 1, 1, 1}}, &g.index, &error), &error);
    add(&g, WEFT_OP_COPY, "copied", g.slice, WEFT_NONE);
    add(&g, WEFT_OP_GET_ROWS, "looked up", g.slice, g.index);
    g.multiplies = s->part.shape[2] * s->part.shape[3] == 1;
    if (!g.multiplies) return g;
    must(weft_graph_weight(g.graph, "cut", &s->part, &g.cut, &error), &error);
    must(weft_graph_input(g.graph, "x", &(weft_tensor){WEFT_F32, {s->part.shape[0], N_COLUMNS, 1, 1}}, &g.x, &error), &error);
    add(&g, WEFT_OP_MUL_MAT, "of slice", g.slice, g.x);
    add(&g, WEFT_OP_MUL_MAT, "of cut", g.cut, g.x);
    return g;
}

static void judge(const subject *s, const graph_of *g, const void *const *outputs) {
    int64_t n = s->part.shape[0], n_rows = s->part.shape[1] * s->part.shape[2] * s->part.shape[3];
    size_t bytes = (size_t)(n * n_rows) * sizeof(float);
    assert_memory_equal(outputs[0], s->values, bytes);
    assert_memory_equal(outputs[1], s->values, bytes);
    for (int64_t i = 0; i < n; i++) assert_true(((const float *)outputs[1])[n * n_rows + i] == 0);
    if (g->multiplies) assert_memory_equal(outputs[2], outputs[3], (size_t)(s->part.shape[1] * N_COLUMNS) * sizeof(float));
}

static void run(weft_runtime *runtime, weft_device *device, subject *s, weft_precision precision) {
    weft_error error;
    weft_store *store;
    weft_plan *plan;
    weft_ticket ticket;
    void *inputs[2];
    const void *outputs[4];
    graph_of g = build(runtime, s);
    const weft_weight_source source = {.read = read_part, .user = s};
    weft_store_options options = {.precision = precision, .n_slots = 1};
    must(weft_store_create(device, (const weft_graph *const[]){g.graph}, 1, &options, &store, &error), &error);
    must(weft_store_load(store, &source, &error), &error);
    must(weft_plan_create(store, g.graph, &plan, &error), &error);
    must(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    int64_t n_rows = s->part.shape[1] * s->part.shape[2] * s->part.shape[3];
    for (int64_t i = 0; i <= n_rows; i++) ((int32_t *)inputs[0])[i] = (int32_t)i;
    for (int64_t i = 0; g.multiplies && i < s->part.shape[0] * N_COLUMNS; i++) ((float *)inputs[1])[i] = (float)(i % 19) - 9;
    must(weft_plan_submit(plan, ticket, &error), &error);
    must(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    judge(s, &g, outputs);
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);

    size_t bytes = (size_t)weft_tensor_bytes(&s->part);
    unsigned char *read = malloc(bytes);
    must(weft_graph_read_weight(g.graph, g.slice, &source, read, bytes, &error), &error);
    assert_memory_equal(read, s->cut, bytes);
    free(read);
    weft_graph_destroy(g.graph);
}

static void slices_are_the_whole(void **state) {
    (void)state;
    weft_error error;
    weft_runtime *runtime;
    weft_device *device;
    must(weft_runtime_create(NULL, &runtime, &error), &error);
    must(weft_device_open(runtime, device_name, NULL, &device, &error), &error);
    print_message("seed %d\n", SEED);
    for (int type = 0; type < WEFT_TYPE_COUNT; type++) {
        const weft_type_info *info = weft_type_get((weft_type)type);
        if (!info || type == WEFT_I32) continue;
        subject s = make_subject(runtime, (weft_type)type);
        for (size_t i = 0; i < N_RANGES; i++) {
            cut(&s, info->block_elements == 1 ? &float_ranges[i] : &block_ranges[i]);
            for (int precision = WEFT_FAST; precision <= WEFT_EXACT; precision++)
                if (!device_slow || (i + (size_t)type) % 2 == (size_t)precision)
                    run(runtime, device, &s, (weft_precision)precision);
        }
        assert_true(s.n_reads > N_RANGES);
        weft_check_free(&s.random);
    }
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {cmocka_unit_test(slices_are_the_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
