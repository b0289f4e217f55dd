/* How kernels, layouts and storages are chosen (core/kernels.c, core/layouts.c, backends/table.c): a device whose table of kernels
 * is made here. */
#include "tests/graph_support.h"

#include "backends/table.h"
#include "core/kernels.h"
#include "core/layouts.h"
#include "tests/fake_device.h"

#define K 64
#define FF 96
#define T 3

enum { PACKED = 1, PAIRED = 2 };

#define MATRICES (WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_GATE) | WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_UP))
#define HALVES WEFT_TYPE_BIT(WEFT_F16)
#define FLOATS WEFT_TYPE_BIT(WEFT_F32)
#define BOTH_PRECISIONS (WEFT_RUNS_EXACT | WEFT_RUNS_FAST)

static const weft_companion scales = {WEFT_COMPANION_SCALE, 32}, sums = {WEFT_COMPANION_SUM_SQUARES, 16};

static weft_kernel gated[] = {
    {.op = WEFT_OP_NORM_GATED_MLP, .name = "gated plain", .precisions = BOTH_PRECISIONS},
    {.op = WEFT_OP_NORM_GATED_MLP,
     .name = "gated paired to halves",
     .precisions = WEFT_RUNS_FAST,
     .rank = 2,
     .weights = {{MATRICES, WEFT_TYPE_BIT(WEFT_Q8_0), WEFT_LAYOUT_BIT(PAIRED)}},
     .writes = {{WEFT_PORT_BIT(WEFT_NORM_GATED_MLP_OUT_Y), {HALVES | FLOATS, {WEFT_COMPANION_SCALE, 32}}}}},
};

static weft_kernel products[] = {
    {.op = WEFT_OP_MUL_MAT_ADD,
     .name = "product plain",
     .precisions = BOTH_PRECISIONS,
     .writes = {{1, {FLOATS, {WEFT_COMPANION_SUM_SQUARES, 16}}}}},
    {.op = WEFT_OP_MUL_MAT_ADD,
     .name = "product packed of halves",
     .precisions = WEFT_RUNS_FAST,
     .rank = 1,
     .max_columns = 8,
     .weights = {{WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT), WEFT_TYPE_BIT(WEFT_Q8_0), WEFT_LAYOUT_BIT(PACKED)}},
     .reads = {{WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_X), {HALVES, {WEFT_COMPANION_SCALE, 32}}}}},
    {.op = WEFT_OP_MUL_MAT_ADD,
     .name = "product packed",
     .precisions = WEFT_RUNS_FAST,
     .weights = {{WEFT_PORT_BIT(WEFT_MUL_MAT_ADD_WEIGHT), 0, WEFT_LAYOUT_BIT(PACKED)}}},
};

static weft_kernel norms[] = {
    {.op = WEFT_OP_RMS_NORM,
     .name = "norm with sums",
     .precisions = WEFT_RUNS_FAST,
     .reads = {{1, {FLOATS, {WEFT_COMPANION_SUM_SQUARES, 16}}}}},
    {.op = WEFT_OP_RMS_NORM, .name = "norm", .precisions = WEFT_RUNS_EXACT},
};

static const weft_kernel_rows gated_rows = WEFT_KERNEL_ROWS(gated), product_rows = WEFT_KERNEL_ROWS(products),
                              norm_rows = WEFT_KERNEL_ROWS(norms);
static const weft_kernel_rows *const ops[] = {
    [WEFT_OP_NORM_GATED_MLP] = &gated_rows, [WEFT_OP_MUL_MAT_ADD] = &product_rows, [WEFT_OP_RMS_NORM] = &norm_rows};

static uint64_t measure(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    uint64_t bytes = 0;
    (void)device;
    for (size_t i = 0; i < n_weights; i++) bytes += weft_tensor_bytes(weights[i]);
    return bytes;
}

static const weft_kernel_layout layouts[] = {
    {{.id = PACKED, .name = "packed"}, WEFT_TYPE_BIT(WEFT_Q8_0), 1, measure},
    {{.id = PAIRED, .name = "paired"}, WEFT_TYPE_BIT(WEFT_Q8_0), 2, measure},
};

static const weft_kernel_table table = {.backend = "made up",
                                        .ops = ops,
                                        .n_ops = COUNT(ops),
                                        .row_bytes = sizeof(weft_kernel),
                                        .layouts = layouts,
                                        .n_layouts = COUNT(layouts)};

static void table_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_kernel_supports(&table, device, phase, support);
}

static bool table_kernel_at(weft_backend_device *device, uint32_t number, weft_kernel_info *info) {
    (void)device;
    return weft_kernel_describe(&table, number, info);
}

static void table_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                         size_t n_uses, weft_layout *layout) {
    weft_kernel_weight_layout(&table, device, weights, n_weights, uses, n_uses, layout);
}

static weft_status table_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error) {
    (void)device, (void)packing;
    return weft_fail(error, WEFT_FAILED, "nothing is packed here");
}

static const weft_backend table_backend = {.abi = WEFT_BACKEND_ABI,
                                           .size = sizeof(weft_backend),
                                           .name = "made up",
                                           .supports = table_supports,
                                           .kernel_at = table_kernel_at,
                                           .weight_layout = table_layout,
                                           .weight_pack = table_pack};

/* ---- A feed-forward part: gate and up, down with the residual, and a norm of the result ---- */

typedef struct feed_forward {
    weft_runtime *runtime;
    counting c;
    fake_device fake;
    builder b;
    weft_value gated, y, normed;
    weft_residents residents;
    weft_kernels kernels;
} feed_forward;

static void build(feed_forward *f, weft_type up_type, int64_t n_columns) {
    const weft_norm_gated_mlp_params mlp = {.epsilon = 1e-5f, .activation = WEFT_ACTIVATION_SILU};
    const weft_rms_norm_params norm = {.epsilon = 1e-5f};
    *f = (feed_forward){0};
    f->runtime = make_runtime(&f->c);
    make_device(f->runtime, &f->fake)->device.backend = &table_backend;
    begin_graph(&f->b, f->runtime);
    weft_value x = add_leaf(&f->b, weft_graph_input, "x", WEFT_F32, K, n_columns, 1, 1);
    weft_value weight = add_leaf(&f->b, weft_graph_weight, "norm", WEFT_F32, K, 1, 1, 1);
    weft_value gate = add_leaf(&f->b, weft_graph_weight, "gate", WEFT_Q8_0, K, FF, 1, 1);
    weft_value up = add_leaf(&f->b, weft_graph_weight, "up", up_type, K, FF, 1, 1);
    weft_value down = add_leaf(&f->b, weft_graph_weight, "down", WEFT_Q8_0, FF, K, 1, 1);
    f->gated = add_node(&f->b, WEFT_OP_NORM_GATED_MLP, "gated", (weft_value[]){x, weight, gate, up}, &mlp, sizeof mlp, NULL);
    f->y = add_node(&f->b, WEFT_OP_MUL_MAT_ADD, "y", (weft_value[]){down, f->gated, WEFT_NONE, x}, NULL, 0, NULL);
    f->normed = add_node(&f->b, WEFT_OP_RMS_NORM, "normed", (weft_value[]){f->y, WEFT_NONE}, &norm, sizeof norm, NULL);
    assert_int_equal(f->b.status, WEFT_OK);
    assert_int_equal(weft_graph_output(f->b.graph, f->normed, NULL), WEFT_OK);
}

static weft_status choose(feed_forward *f, weft_precision precision, const weft_forced_kernels *forced) {
    weft_device *device = &f->fake.device;
    const weft_graph *graph = f->b.graph;
    weft_status status = weft_layouts_make(device, &graph, 1, precision, forced, &f->residents, NULL);
    if (status) return status;
    status = weft_kernels_choose(device, graph, precision, &f->residents, forced, &f->kernels, NULL);
    if (status) weft_residents_release(&f->residents);
    return status;
}

static void forget(feed_forward *f) {
    weft_kernels_release(&f->kernels);
    weft_residents_release(&f->residents);
}

static void end(feed_forward *f) {
    weft_graph_destroy(f->b.graph);
    weft_os_mutex_destroy(&f->fake.device.mutex);
    end_runtime(f->runtime, &f->c);
}

static const char *kernel_of(const feed_forward *f, weft_value value) {
    const weft_support *support = &f->kernels.supports[f->b.graph->values[value].node];
    return support->supported ? support->name : support->reason;
}

static void assert_stored(const feed_forward *f, weft_value value, weft_type type, weft_companion companion) {
    const weft_storage *storage = &f->kernels.storages[value];
    assert_int_equal(storage->type, type);
    assert_int_equal(storage->companion.kind, companion.kind);
    assert_int_equal(storage->companion.group, companion.group);
}

static const weft_resident *find(const feed_forward *f, const char *name) {
    return weft_residents_find(&f->residents, name);
}

/* ---- Tests ---- */

static void exact_keeps_plain_values(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, T);
    assert_int_equal(choose(&f, WEFT_EXACT, NULL), WEFT_OK);
    assert_string_equal(kernel_of(&f, f.gated), "gated plain");
    assert_string_equal(kernel_of(&f, f.y), "product plain");
    assert_stored(&f, f.gated, WEFT_F32, (weft_companion){0});
    assert_stored(&f, f.y, WEFT_F32, (weft_companion){0});
    assert_int_equal(find(&f, "gate")->layout.id, WEFT_LAYOUT_FILE);
    forget(&f);
    end(&f);
}

static void kernels_agree_on_storage(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, T);
    assert_int_equal(choose(&f, WEFT_FAST, NULL), WEFT_OK);
    assert_string_equal(kernel_of(&f, f.gated), "gated paired to halves");
    assert_string_equal(kernel_of(&f, f.y), "product packed of halves");
    assert_stored(&f, f.gated, WEFT_F16, scales);
    assert_stored(&f, f.y, WEFT_F32, (weft_companion){0}); /* that product gives no sums */
    /* Elements, then the scales, from a multiple of 64 on. */
    const weft_tensor *tensor = &f.b.graph->values[f.gated].tensor;
    assert_int_equal(weft_storage_companion_offset(tensor, &f.kernels.storages[f.gated]), (FF * T * 2 + 63) / 64 * 64);
    assert_int_equal(weft_storage_bytes(tensor, &f.kernels.storages[f.gated]), (FF * T * 2 + 63) / 64 * 64 + FF / 32 * T * 4);
    forget(&f);
    end(&f);
}

static void weights_share_a_layout(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, T);
    assert_int_equal(choose(&f, WEFT_FAST, NULL), WEFT_OK);
    const weft_resident *gate = find(&f, "gate"), *up = find(&f, "up"), *down = find(&f, "down");
    assert_int_equal(gate->layout.id, PAIRED);
    assert_int_equal(up->layout.id, PAIRED);
    assert_true(gate->member == 0 && up->member == 1 && gate->n_members == 2 && up->n_members == 2);
    assert_true(&f.residents.items[gate->owner] == gate && &f.residents.items[up->owner] == gate);
    assert_int_equal(gate->layout.bytes, 2 * weft_tensor_bytes(&gate->tensor));
    assert_int_equal(down->layout.id, PACKED);
    assert_int_equal(down->n_members, 1);
    forget(&f);
    end(&f);
    /* Two weights of different types have no layout in common. */
    build(&f, WEFT_F16, T);
    assert_int_equal(choose(&f, WEFT_FAST, NULL), WEFT_OK);
    assert_int_equal(find(&f, "gate")->layout.id, WEFT_LAYOUT_FILE);
    assert_int_equal(find(&f, "up")->n_members, 1);
    assert_string_equal(kernel_of(&f, f.gated), "gated plain");
    forget(&f);
    end(&f);
}

/* More columns than the product of halves has: the other reader of the layout runs, which reads F32, and so F32 is written. */
static void a_range_of_columns_decides(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, 9);
    assert_int_equal(choose(&f, WEFT_FAST, NULL), WEFT_OK);
    assert_string_equal(kernel_of(&f, f.gated), "gated paired to halves");
    assert_stored(&f, f.gated, WEFT_F32, (weft_companion){0});
    assert_true(strncmp(kernel_of(&f, f.y), "product p", 9) == 0);
    assert_string_not_equal(kernel_of(&f, f.y), "product packed of halves");
    forget(&f);
    end(&f);
}

/* A kernel forced by number runs, the layouts follow it, and the values between are stored so that it can. */
static void a_forced_kernel_runs(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, T);
    const weft_forced_kernel plain_product = {WEFT_OP_MUL_MAT_ADD, 0}, none = {WEFT_OP_MUL_MAT_ADD, 4};
    weft_kernel_info info;
    weft_forced_kernel first = plain_product;
    while (weft_kernel_describe(&table, first.kernel, &info) && strcmp(info.name, "product plain") != 0) first.kernel++;
    assert_int_equal(choose(&f, WEFT_FAST, &(weft_forced_kernels){&first, 1}), WEFT_OK);
    assert_string_equal(kernel_of(&f, f.y), "product plain");
    assert_int_equal(f.kernels.supports[f.b.graph->values[f.y].node].kernel, first.kernel);
    assert_int_equal(find(&f, "down")->layout.id, WEFT_LAYOUT_FILE);
    assert_stored(&f, f.gated, WEFT_F32, (weft_companion){0});
    assert_stored(&f, f.y, WEFT_F32, sums); /* which this product writes and the norm reads */
    forget(&f);
    weft_forced_kernel wrong = none;
    wrong.kernel = 1000;
    assert_int_equal(choose(&f, WEFT_FAST, &(weft_forced_kernels){&wrong, 1}), WEFT_OK);
    assert_string_equal(kernel_of(&f, f.y), "the made up backend has no such kernel for this op");
    forget(&f);
    end(&f);
}

static weft_status count_row(void *user, const weft_node_support *kernel) {
    int *counts = user;
    counts[kernel->supported]++;
    assert_true(kernel->supported || kernel->reason[0]);
    return WEFT_OK;
}

static void rows_are_listed_with_reasons(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, T);
    int counts[2] = {0};
    size_t index = (size_t)f.b.graph->values[f.y].node;
    assert_int_equal(weft_graph_kernels(f.b.graph, index, &f.fake.device, WEFT_FAST, count_row, counts, NULL), WEFT_OK);
    assert_true(counts[false] == 2 && counts[true] == 1); /* the layout leaves two, the storage one of them */
    end(&f);
}

static void failing_allocations(void **state) {
    (void)state;
    feed_forward f;
    build(&f, WEFT_Q8_0, T);
    for (long fail_at = 1;; fail_at++) {
        f.c.n_requests = 0;
        f.c.fail_at = fail_at;
        weft_status status = choose(&f, WEFT_FAST, NULL);
        f.c.fail_at = 0;
        if (status == WEFT_OK) break;
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        assert_true(fail_at < 100);
    }
    forget(&f);
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_keeps_plain_values), cmocka_unit_test(kernels_agree_on_storage),
        cmocka_unit_test(weights_share_a_layout),   cmocka_unit_test(a_range_of_columns_decides),
        cmocka_unit_test(a_forced_kernel_runs),     cmocka_unit_test(rows_are_listed_with_reasons),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
