/* Every row of the CPU backend's table of kernels, with each kernel set of this processor: forced by its number it runs the op's
 * cases as the oracle has them, or says why it does not fit.
 */
#include <math.h>

#include "core/runtime.h"
#include "graph_support.h"
#include "weft/check.h"

extern const weft_backend weft_cpu_backend;

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

/* Calls `run` with a device of each kernel set. */
static void for_each_set(void (*run)(weft_device *device, const char *set)) {
    static const char *const sets[] = {"none", "avx2", "avxvnni", "avx512vnni", "neon"};
    weft_runtime *runtime = NULL;
    weft_error error;
    check(weft_runtime_create(NULL, &runtime, &error), &error);
    for (size_t i = 0; i < COUNT(sets); i++) {
        weft_device *device = NULL;
        weft_status status =
            weft_device_open(runtime, "cpu", &(weft_device_options){.n_threads = 2, .simd = sets[i]}, &device, &error);
        print_message("%s: %s\n", sets[i], status == WEFT_OK ? "runs" : error.message);
        if (status == WEFT_UNSUPPORTED) continue;
        check(status, &error);
        run(device, sets[i]);
        weft_device_close(device);
    }
    weft_runtime_destroy(runtime);
}

/* "avx2" for "mul_mat fast avx2"; NULL if a row needs no set. */
static const char *set_of(const char *name) {
    const char *fast = strstr(name, " fast ");
    return fast ? fast + strlen(" fast ") : NULL;
}

/* ---- The op table's cases, a row at a time ---- */

static weft_kernel_info forced;
static uint32_t forced_number;

static void only_forced(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_phase asked = *phase;
    if (asked.op == forced.op) asked.kernel = forced_number;
    weft_cpu_backend.supports(device, &asked, support);
}

static weft_status see(void *user, const weft_check_result *result) {
    size_t *n_reasons = user;
    if (result->failure) print_message("%s [%s]: %s\n", result->name, result->kernel, result->failure);
    if (result->passed) assert_string_equal(result->kernel, forced.name);
    if (result->skipped) {
        assert_true(strlen(result->skipped) > 0);
        ++*n_reasons;
    }
    return WEFT_OK;
}

static void run_cases(weft_device *device, const char *set) {
    weft_backend backend = weft_cpu_backend;
    uint32_t n_run = 0;
    backend.supports = only_forced;
    device->backend = &backend;
    for (forced_number = 0; backend.kernel_at(device->handle, forced_number, &forced); forced_number++) {
        bool packed = strstr(forced.name, " packed") != NULL, fast = set_of(forced.name) != NULL;
        bool fits = !fast || strcmp(set_of(forced.name), set) == 0;
        /* A matrix that no product uses is not packed. device_slices copies, and looks up rows of, some that are. */
        bool has_cases = !packed || (forced.op != WEFT_OP_GET_ROWS && forced.op != WEFT_OP_COPY);
        weft_check_summary summary;
        weft_error error;
        size_t n_reasons = 0;
        const weft_check_options options = {
            .op = weft_op_name(forced.op), .quick = true, .precision = fast || packed ? WEFT_FAST : WEFT_EXACT};
        check(weft_check_ops(device, &options, see, &n_reasons, &summary, &error), &error);
        if (summary.n_failed > 0) fail_msg("%s: %zu cases failed", forced.name, summary.n_failed);
        if (fits && has_cases && summary.n_passed == 0) fail_msg("%s did not run with the set %s", forced.name, set);
        if ((!fits || !has_cases) && summary.n_passed > 0) fail_msg("%s ran with the set %s", forced.name, set);
        assert_int_equal(summary.n_skipped, n_reasons);
        n_run += fits;
    }
    device->backend = &weft_cpu_backend;
    assert_true(n_run >= 18 + 7);
}

static void test_every_row_on_its_cases(void **state) {
    (void)state;
    for_each_set(run_cases);
}

/* ---- Extra precision ---- */

typedef struct worst_cases {
    double extra, plain; /* the largest error of cases with extra precision, and of cases without */
} worst_cases;

static weft_status find_worst(void *user, const weft_check_result *result) {
    worst_cases *worst = user;
    double *own = strstr(result->name, " extra precision") ? &worst->extra : &worst->plain;
    assert_true(result->passed);
    if (result->nmse > *own) *own = result->nmse;
    return WEFT_OK;
}

static void ask_extra_precision(weft_device *device, const char *set) {
    worst_cases worst = {0};
    weft_check_summary summary;
    weft_error error;
    const weft_check_options options = {.op = "mul_mat", .type = "Q4_0", .quick = true, .precision = WEFT_FAST};
    check(weft_check_ops(device, &options, find_worst, &worst, &summary, &error), &error);
    assert_true(summary.n_passed >= 2);
    if (strcmp(set, "none") == 0) return; /* it quantises no activations */
    if (worst.plain < 1e-6 || worst.extra > 1e-3 * worst.plain) fail_msg("%s: %g, plain %g", set, worst.extra, worst.plain);
}

static void test_extra_precision_where_it_is_asked_for(void **state) {
    (void)state;
    for_each_set(ask_extra_precision);
}

/* ---- Rows forced by a store ---- */

enum { K = 64, N = 48, TOKEN = 7, BLOCK_BYTES = 18 };

/* A weight that is multiplied, and whose row TOKEN is read. */
typedef struct tied {
    weft_runtime *runtime;
    weft_device *device;
    weft_graph *graph;
    uint8_t weight[N * K / 32 * BLOCK_BYTES];
    float values[N * K], x[K];
} tied;

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)name;
    (void)error;
    memcpy(into, ((const tied *)user)->weight + offset, size);
    return WEFT_OK;
}

static void make_tied(tied *t, weft_device *device) {
    weft_error error;
    builder b = {0};
    *t = (tied){.runtime = weft_device_runtime(device), .device = device};
    for (size_t i = 0; i < sizeof t->weight; i++) t->weight[i] = (uint8_t)(i * 37 + i / 5);
    for (size_t i = 0; i < sizeof t->weight; i += BLOCK_BYTES) memcpy(t->weight + i, &(uint16_t){0x2c00}, 2); /* 1/16 */
    for (int i = 0; i < K; i++) t->x[i] = sinf((float)i);
    check(weft_dequantise(WEFT_Q4_0, t->weight, N * K, t->values, &error), &error);
    check(weft_graph_create(t->runtime, &t->graph, &error), &error);
    b.graph = t->graph;
    weft_value weight = add_leaf(&b, weft_graph_weight, "weight", WEFT_Q4_0, K, N, 1, 1);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, K, 1, 1, 1);
    weft_value index = add_leaf(&b, weft_graph_input, "index", WEFT_I32, 1, 1, 1, 1);
    weft_value y = NODE0(&b, WEFT_OP_MUL_MAT, "product", weight, x);
    weft_value row = NODE0(&b, WEFT_OP_GET_ROWS, "row", weight, index, WEFT_NONE);
    check(b.status, &b.error);
    check(weft_graph_output(t->graph, y, &error), &error);
    check(weft_graph_output(t->graph, row, &error), &error);
}

static void check_results(const tied *t, const float *y, const float *row) {
    assert_memory_equal(row, t->values + TOKEN * K, K * sizeof *row);
    for (int i = 0; i < N; i++) {
        double sum = 0.0, magnitude = 0.0;
        for (int j = 0; j < K; j++) {
            double product = (double)t->values[i * K + j] * (double)t->x[j];
            sum += product;
            magnitude += product * product;
        }
        assert_true(fabs(sum - (double)y[i]) <= 0.05 * sqrt(magnitude));
    }
}

/* Plans with one row forced and runs; the status is that of planning. */
static weft_status run_forced(tied *t, weft_precision precision, weft_forced_kernel row, weft_error *error) {
    const weft_graph *graphs[] = {t->graph};
    const weft_store_options options = {.precision = precision, .n_slots = 1, .forced = &row, .n_forced = 1};
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_status status = weft_store_create(t->device, graphs, 1, &options, &store, error);
    if (status == WEFT_OK) status = weft_store_load(store, &(weft_weight_source){.read = read_weight, .user = t}, error);
    if (status == WEFT_OK) status = weft_plan_create(store, t->graph, &plan, error);
    if (status == WEFT_OK) {
        void *inputs[2];
        const void *outputs[2];
        weft_ticket ticket;
        check(weft_plan_begin(plan, &ticket, inputs, error), error);
        memcpy(inputs[0], t->x, sizeof t->x);
        memcpy(inputs[1], &(int32_t){TOKEN}, sizeof(int32_t));
        check(weft_plan_submit(plan, ticket, error), error);
        check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, error), error);
        check_results(t, outputs[0], outputs[1]);
        weft_plan_release(plan, ticket);
    }
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    return status;
}

typedef struct listing {
    tied *t;
    weft_op op;
    weft_precision precision;
    size_t n_rows, n_supported;
} listing;

/* A row that fits runs when it is forced. One that is passed over for the weight's layout may run all the same, since layouts are
 * chosen for the forced row, or be refused for another reason; any other is refused for the reason that the listing gives. */
static weft_status try_row(void *user, const weft_node_support *kernel) {
    listing *l = user;
    weft_error error = {0};
    weft_status status = run_forced(l->t, l->precision, (weft_forced_kernel){l->op, kernel->number}, &error);
    l->n_rows++;
    l->n_supported += kernel->supported;
    bool for_its_layout = strstr(kernel->reason, "layout") != NULL;
    if (status == WEFT_OK && (kernel->supported || for_its_layout)) return WEFT_OK;
    assert_int_equal(status, WEFT_UNSUPPORTED);
    assert_false(kernel->supported);
    assert_true(strlen(kernel->reason) > 0);
    if (!for_its_layout && !strstr(error.message, kernel->reason))
        fail_msg("%s does not say \"%s\"", error.message, kernel->reason);
    return WEFT_OK;
}

static void try_rows(tied *t, weft_precision precision, const char *set) {
    weft_error error;
    for (size_t i = 0; i < weft_graph_node_count(t->graph); i++) {
        weft_node node;
        check(weft_graph_node(t->graph, i, &node, &error), &error);
        if (node.op == WEFT_OP_NONE) continue;
        listing l = {.t = t, .op = node.op, .precision = precision};
        check(weft_graph_kernels(t->graph, i, t->device, precision, try_row, &l, &error), &error);
        bool is_product = node.op == WEFT_OP_MUL_MAT, is_packed = precision == WEFT_FAST && strcmp(set, "none") != 0;
        assert_int_equal(l.n_rows, is_product ? 6 : 2);
        /* A packed weight has one kernel; a weight in the file's layout also has the exact one. */
        assert_int_equal(l.n_supported, is_product && precision == WEFT_FAST && !is_packed ? 2 : 1);
    }
}

static void force_rows(weft_device *device, const char *set) {
    tied t;
    make_tied(&t, device);
    try_rows(&t, WEFT_FAST, set);
    try_rows(&t, WEFT_EXACT, set);
    weft_graph_destroy(t.graph);
}

static void test_rows_forced_by_a_store(void **state) {
    (void)state;
    for_each_set(force_rows);
}

/* ---- Nodes whose matrices lie differently ---- */

static weft_place matrix_place(weft_leaf leaf, weft_type type, int64_t n, int64_t m, uint32_t layout) {
    return (weft_place){
        .present = true, .leaf = leaf, .tensor = {type, {n, m, 1, 1}}, .layout = layout, .storage = {.type = (uint32_t)type}};
}

static weft_support ask_mlp(weft_device *device, uint32_t gate, uint32_t up) {
    static const weft_norm_gated_mlp_params params = {.epsilon = 1e-5f, .activation = WEFT_ACTIVATION_SILU};
    weft_phase phase = {.op = WEFT_OP_NORM_GATED_MLP, .precision = WEFT_FAST, .kernel = WEFT_KERNEL_ANY};
    weft_support support;
    phase.params = &params;
    phase.params_size = sizeof params;
    phase.inputs[WEFT_NORM_GATED_MLP_X] = matrix_place(WEFT_LEAF_NOT, WEFT_F32, K, 3, WEFT_LAYOUT_FILE);
    phase.inputs[WEFT_NORM_GATED_MLP_NORM] = matrix_place(WEFT_LEAF_WEIGHT, WEFT_F32, K, 1, WEFT_LAYOUT_FILE);
    phase.inputs[WEFT_NORM_GATED_MLP_GATE] = matrix_place(WEFT_LEAF_WEIGHT, WEFT_Q4_0, K, N, gate);
    phase.inputs[WEFT_NORM_GATED_MLP_UP] = matrix_place(WEFT_LEAF_WEIGHT, WEFT_Q4_0, K, N, up);
    phase.outputs[WEFT_NORM_GATED_MLP_OUT_Y] = matrix_place(WEFT_LEAF_NOT, WEFT_F32, N, 3, WEFT_LAYOUT_FILE);
    weft_cpu_backend.supports(device->handle, &phase, &support);
    assert_true(support.supported);
    return support;
}

static void ask_mixed(weft_device *device, const char *set) {
    const uint32_t file = WEFT_LAYOUT_FILE, packed = strcmp(set, "avx512vnni") == 0 ? 2 : 1;
    char name[64], reason[96];
    snprintf(name, sizeof name, "norm_gated_mlp fast %s", set);
    assert_string_equal(ask_mlp(device, WEFT_LAYOUT_UNCHOSEN, WEFT_LAYOUT_UNCHOSEN).name, name);
    if (strcmp(set, "none") == 0) {
        assert_string_equal(ask_mlp(device, file, file).name, name);
        return;
    }
    weft_support all = ask_mlp(device, packed, packed), mixed = ask_mlp(device, file, packed), none = ask_mlp(device, file, file);
    assert_string_equal(all.name, name);
    assert_string_equal(all.reason, "");
    assert_string_equal(mixed.name, name);
    snprintf(reason, sizeof reason, "1 of 2 matrices in exact arithmetic: no %s kernel for Q4_0", set);
    assert_string_equal(mixed.reason, reason);
    assert_string_equal(none.name, "norm_gated_mlp exact");
    snprintf(reason, sizeof reason, "2 of 2 matrices in exact arithmetic: no %s kernel for Q4_0", set);
    assert_string_equal(none.reason, reason);
    /* While one layout is being chosen, it alone decides: in the file's this matrix would have no fast kernel. */
    assert_string_equal(ask_mlp(device, file, WEFT_LAYOUT_UNCHOSEN).name, "norm_gated_mlp exact");
    assert_string_equal(ask_mlp(device, packed, WEFT_LAYOUT_UNCHOSEN).name, name);
}

static void test_mixed_matrices(void **state) {
    (void)state;
    for_each_set(ask_mixed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_on_its_cases),
        cmocka_unit_test(test_extra_precision_where_it_is_asked_for),
        cmocka_unit_test(test_rows_forced_by_a_store),
        cmocka_unit_test(test_mixed_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
