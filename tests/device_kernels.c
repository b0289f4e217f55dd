/* Every row of a device's table of kernels, and kernels that hand each other values in a storage of their own. */
#include <math.h>

#include "core/runtime.h"
#include "tests/device_support.h"
#include "tests/graph_support.h"
#include "tests/random_reals.h"
#include "weft/check.h"

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static weft_device *open_device(weft_runtime **runtime) {
    weft_device *device = NULL;
    weft_error error;
    check(weft_runtime_create(NULL, runtime, &error), &error);
    check(weft_device_open(*runtime, device_name, NULL, &device, &error), &error);
    return device;
}

/* ---- Each row on the cases of its op ---- */

static const weft_backend *original;
static weft_kernel_info row;
static uint32_t row_number;

/* The device's own support for this row alone. */
static void only_the_row(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_phase asked = *phase;
    if (asked.op == row.op) asked.kernel = row_number;
    original->supports(device, &asked, support);
}

/* The layout that the row reads. */
static void layout_of_the_row(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights,
                              const weft_use *uses, size_t n_uses, weft_layout *layout) {
    static weft_phase phases[8];
    weft_use asked[8];
    assert_true(n_uses <= COUNT(phases));
    for (size_t i = 0; i < n_uses; i++) {
        phases[i] = *uses[i].phase;
        asked[i] = uses[i];
        asked[i].phase = &phases[i];
        if (phases[i].op == row.op) phases[i].kernel = row_number;
    }
    original->weight_layout(device, weights, n_weights, asked, n_uses, layout);
}

typedef struct seen {
    size_t n_passed;
    char reason[256]; /* the reason why a case did not run */
} seen;

static weft_status see(void *user, const weft_check_result *result) {
    seen *s = user;
    if (result->failure) print_message("%s [%s]: %s\n", result->name, result->kernel, result->failure);
    if (result->passed) assert_string_equal(result->kernel, row.name);
    if (result->skipped && !s->reason[0]) snprintf(s->reason, sizeof s->reason, "%s", result->skipped);
    s->n_passed += result->passed;
    return WEFT_OK;
}

static void every_row_runs_its_cases(void **state) {
    (void)state;
    weft_runtime *runtime;
    weft_device *device = open_device(&runtime);
    original = device->backend;
    assert_non_null(original->kernel_at);
    weft_backend changed = *original;
    changed.supports = only_the_row;
    /* On cards. Slow devices run rows with layouts of their own on fewer cases (test_vulkan_kernels.c, test_cpu_kernels.c). */
    const bool is_card = !device_slow && strcmp(device_name, "cpu") != 0;
    if (is_card && original->weight_layout) changed.weight_layout = layout_of_the_row;
    device->backend = &changed;
    size_t n_run = 0;
    for (row_number = 0; original->kernel_at(device->handle, row_number, &row); row_number++) {
        seen s = {0};
        for (int exact = 0; exact < 2; exact++) {
            const weft_check_options options = {
                .op = weft_op_name(row.op), .quick = device_slow, .precision = exact ? WEFT_EXACT : WEFT_FAST};
            weft_check_summary summary;
            weft_error error;
            check(weft_check_ops(device, &options, see, &s, &summary, &error), &error);
            if (summary.n_failed > 0) fail_msg("kernel %u %s: %zu cases failed", row_number, row.name, summary.n_failed);
        }
        if (s.n_passed == 0) print_message("not run by itself here: kernel %u %s: %s\n", row_number, row.name, s.reason);
        n_run += s.n_passed > 0;
    }
    print_message("%zu of %u kernels ran\n", n_run, row_number);
    assert_true(n_run >= 18); /* at least the rows of exact */
    device->backend = original;
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

/* ---- A feed-forward part, whose inner value its kernels may store as they like ---- */

enum { EMBD = 64, FF = 512, BLOCK = 34, GATE_BYTES = EMBD / 32 * BLOCK * FF, DOWN_BYTES = FF / 32 * BLOCK * EMBD, MOST_T = 33 };

typedef struct feed_forward {
    uint8_t gate[GATE_BYTES], up[GATE_BYTES], down[DOWN_BYTES];
    float norm[EMBD], x[MOST_T * EMBD];
    double expected[MOST_T * EMBD];
} feed_forward;

static void fill_blocks(uint8_t *blocks, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)(127.0 * random_real());
    for (size_t i = 0; i < bytes; i += BLOCK) memcpy(blocks + i, &(uint16_t){0x1c00}, 2); /* 2^-8 */
}

static double dot(const float *row_values, const double *column, int n) {
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += (double)row_values[i] * column[i];
    return sum;
}

static void compute(feed_forward *f) {
    static float gate[FF * EMBD], up[FF * EMBD], down[FF * EMBD];
    weft_error error;
    check(weft_dequantise(WEFT_Q8_0, f->gate, FF * EMBD, gate, &error), &error);
    check(weft_dequantise(WEFT_Q8_0, f->up, FF * EMBD, up, &error), &error);
    check(weft_dequantise(WEFT_Q8_0, f->down, FF * EMBD, down, &error), &error);
    for (int t = 0; t < MOST_T; t++) {
        double z[EMBD], inner[FF], squares = 0.0;
        for (int i = 0; i < EMBD; i++) squares += (double)f->x[t * EMBD + i] * (double)f->x[t * EMBD + i];
        for (int i = 0; i < EMBD; i++) z[i] = (double)f->x[t * EMBD + i] / sqrt(squares / EMBD + 1e-5) * (double)f->norm[i];
        for (int j = 0; j < FF; j++) {
            double g = dot(gate + j * EMBD, z, EMBD);
            inner[j] = g / (1.0 + exp(-g)) * dot(up + j * EMBD, z, EMBD);
        }
        for (int i = 0; i < EMBD; i++) f->expected[t * EMBD + i] = dot(down + i * FF, inner, FF);
    }
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const feed_forward *f = user;
    const void *from = strcmp(name, "gate") == 0   ? f->gate
                       : strcmp(name, "up") == 0   ? f->up
                       : strcmp(name, "down") == 0 ? f->down
                                                   : (const void *)f->norm;
    (void)error;
    memcpy(into, (const char *)from + offset, size);
    return WEFT_OK;
}

static weft_graph *build(weft_runtime *runtime, int64_t n_columns) {
    const weft_norm_gated_mlp_params params = {.epsilon = 1e-5f, .activation = WEFT_ACTIVATION_SILU};
    builder b;
    begin_graph(&b, runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, EMBD, n_columns, 1, 1);
    weft_value zero = add_leaf(&b, weft_graph_input, "zero", WEFT_F32, EMBD, n_columns, 1, 1);
    weft_value norm = add_leaf(&b, weft_graph_weight, "norm", WEFT_F32, EMBD, 1, 1, 1);
    weft_value gate = add_leaf(&b, weft_graph_weight, "gate", WEFT_Q8_0, EMBD, FF, 1, 1);
    weft_value up = add_leaf(&b, weft_graph_weight, "up", WEFT_Q8_0, EMBD, FF, 1, 1);
    weft_value down = add_leaf(&b, weft_graph_weight, "down", WEFT_Q8_0, FF, EMBD, 1, 1);
    weft_value inner = NODE(&b, WEFT_OP_NORM_GATED_MLP, "inner", &params, x, norm, gate, up);
    weft_value y = NODE0(&b, WEFT_OP_MUL_MAT_ADD, "y", down, inner, WEFT_NONE, zero);
    check(b.status, &b.error);
    check(weft_graph_output(b.graph, y, &b.error), &b.error);
    return b.graph;
}

static weft_status print_kernels(void *user, const char *text, size_t size) {
    (void)user;
    print_message("%.*s", (int)size, text);
    return WEFT_OK;
}

static void run(weft_device *device, feed_forward *f, int64_t n_columns, float *y) {
    weft_graph *graph = build(weft_device_runtime(device), n_columns);
    const weft_graph *graphs[] = {graph};
    weft_store *store;
    weft_plan *plan;
    weft_ticket ticket;
    weft_error error;
    void *inputs[2];
    const void *outputs[1];
    if (n_columns == 1)
        check(weft_graph_print(graph, &(weft_graph_print_options){.device = device}, print_kernels, NULL, &error), &error);
    check(weft_store_create(device, graphs, 1, NULL, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_weight, .user = f}, &error), &error);
    check(weft_plan_create(store, graph, &plan, &error), &error);
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], f->x, (size_t)n_columns * EMBD * sizeof *f->x);
    check(weft_plan_submit(plan, ticket, &error), &error);
    check(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(y, outputs[0], (size_t)n_columns * EMBD * sizeof *y);
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(graph);
}

/* Inner values of about 1e-6, 1 and 1e6, the last beyond what a half float holds, in several widths: right, and a column has the
 * same bits in each. */
static void inner_values_keep_their_range(void **state) {
    static const int64_t widths[] = {1, 2, 7, 8, 9, 33};
    static const float magnitudes[] = {1e-3f, 1.0f, 1e3f};
    static feed_forward f;
    static float y[COUNT(widths)][MOST_T * EMBD];
    (void)state;
    weft_runtime *runtime;
    weft_device *device = open_device(&runtime);
    for (size_t m = 0; m < COUNT(magnitudes); m++) {
        random_state = 11 + m;
        fill_blocks(f.gate, sizeof f.gate), fill_blocks(f.up, sizeof f.up), fill_blocks(f.down, sizeof f.down);
        for (int i = 0; i < EMBD; i++) f.norm[i] = magnitudes[m] * (1.5f + (float)random_real());
        for (int i = 0; i < MOST_T * EMBD; i++) f.x[i] = (float)random_real();
        compute(&f);
        for (size_t w = 0; w < COUNT(widths); w++) {
            double errors = 0.0, squares = 0.0;
            run(device, &f, widths[w], y[w]);
            for (int64_t i = 0; i < widths[w] * EMBD; i++) {
                double difference = (double)y[w][i] - f.expected[i];
                assert_true(isfinite(y[w][i]));
                errors += difference * difference;
                squares += f.expected[i] * f.expected[i];
            }
            if (!(errors <= 3e-4 * squares)) fail_msg("seed %zu, T = %d: nmse %.2g", 11 + m, (int)widths[w], errors / squares);
            for (size_t other = 0; other < w; other++)
                if (memcmp(y[w], y[other], (size_t)widths[other] * EMBD * sizeof(float)) != 0)
                    fail_msg("seed %zu: T = %d and T = %d differ", 11 + m, (int)widths[w], (int)widths[other]);
        }
    }
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_runs_its_cases),
        cmocka_unit_test(inner_values_keep_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
