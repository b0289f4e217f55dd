/* Kernels of the Vulkan backend with a layout or a storage of their own: a row with packed weights on its op's cases, and two rows
 * with half floats between them, for large and small values. device_kernels.c runs all other rows. Skipped if there is no device.
 */
#include <math.h>

#include "backends/vulkan/features.h"
#include "backends/vulkan/pipeline.h"
#include "core/runtime.h"
#include "graph_support.h"
#include "norm_qkv_graph.h"
#include "random_numbers.h"
#include "vulkan_faults.h"
#include "weft/check.h"

static const weft_backend *vulkan;

static void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

/* ---- A device that picks the rows it is told ---- */

/* Rows that are forced in every call of `supports`, also while layouts are chosen. */
static weft_forced_kernel forced[2];
static size_t n_forced;

static void force(weft_phase *phase) {
    for (size_t i = 0; i < n_forced; i++)
        if (forced[i].op == phase->op) phase->kernel = forced[i].kernel;
}

static void supports_forced(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_phase asked = *phase;
    force(&asked);
    vulkan->supports(device, &asked, support);
}

static void layout_for_forced(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights,
                              const weft_use *uses, size_t n_uses, weft_layout *layout) {
    static weft_phase phases[8];
    weft_use asked[8];
    assert_true(n_uses <= COUNT(phases));
    for (size_t i = 0; i < n_uses; i++) {
        phases[i] = *uses[i].phase;
        asked[i] = uses[i];
        asked[i].phase = &phases[i];
        force(&phases[i]);
    }
    vulkan->weight_layout(device, weights, n_weights, asked, n_uses, layout);
}

/* What the last plan recorded of each op. */
static struct seen {
    const char *name;
    uint32_t layout, type; /* of a packed weight, else the file's; and as which output 0 is stored */
} seen[64];

static weft_status see_plan(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                            weft_error *error) {
    for (size_t i = 0; i < schedule->n_phases; i++) {
        const weft_phase *phase = &schedule->phases[i];
        assert_true((size_t)phase->op < COUNT(seen));
        seen[phase->op] = (struct seen){phase->name, WEFT_LAYOUT_FILE, phase->outputs[0].storage.type};
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++)
            if (phase->inputs[j].leaf == WEFT_LEAF_WEIGHT && phase->inputs[j].layout != WEFT_LAYOUT_FILE)
                seen[phase->op].layout = phase->inputs[j].layout;
    }
    return vulkan->plan_create(device, schedule, plan, error);
}

typedef struct place {
    weft_runtime *runtime;
    weft_device *device;
    weft_backend backend;
} place;

static void begin(place *p, bool no_extensions) {
    weft_error error;
    faults = (vulkan_faults){.no_extensions = no_extensions};
    n_forced = 0;
    must(weft_runtime_create(NULL, &p->runtime, &error), &error);
    must(weft_device_open(p->runtime, "vulkan", NULL, &p->device, &error), &error);
    vulkan = p->device->backend;
    p->backend = *vulkan;
    p->backend.supports = supports_forced;
    p->backend.weight_layout = layout_for_forced;
    p->backend.plan_create = see_plan;
    p->device->backend = &p->backend;
}

static void end(place *p) {
    p->device->backend = vulkan;
    weft_device_close(p->device);
    weft_runtime_destroy(p->runtime);
    faults = (vulkan_faults){0};
}

/* The number of the row of that name. */
static weft_forced_kernel row_named(const place *p, const char *name) {
    weft_kernel_info info;
    for (uint32_t i = 0; vulkan->kernel_at(p->device->handle, i, &info); i++)
        if (strcmp(info.name, name) == 0) return (weft_forced_kernel){info.op, i};
    fail_msg("no kernel is named %s", name);
    return (weft_forced_kernel){0};
}

/* Whether the device and the build's compiler have integer dot products. */
static bool has_dots(const place *p) {
    const weft_backend_device *device = p->device->handle;
    return weft_vulkan_has_shader(WEFT_VULKAN_SHADER_mul_mat_dots) &&
           (weft_vulkan_features_of(&device->traits) & WEFT_VULKAN_INT8_DOT_PRODUCT) != 0;
}

/* ---- A row with a layout of its own, on the op table's cases ---- */

static weft_forced_kernel forced_row;

static weft_status see_case(void *user, const weft_check_result *result) {
    const char *name = user;
    if (result->failure) print_message("%s [%s]: %s\n", result->name, result->kernel, result->failure);
    if (result->passed) assert_string_equal(result->kernel, name);
    if (result->passed) assert_true(seen[forced_row.op].layout != WEFT_LAYOUT_FILE);
    if (result->skipped) assert_true(strlen(result->skipped) > 0);
    return WEFT_OK;
}

/* Mesa's CPU driver needs half a second to compile one of the variants of products of units, so they run few cases. */
static const struct {
    const char *name, *cases, *type;
    bool quick, needs_matrices; /* the latter: cooperative ones, which not every driver has */
} rows[] = {
    {.name = "mul_mat_add f16, q8_0 planar"},
    {.name = "get_rows units", .quick = true},
    {.name = "mul_mat units", .cases = "T=2"},
    {.name = "mul_mat_add units", .cases = "T=3", .type = "Q4_K"},
    {.name = "norm_qkv units", .cases = "T=1 ", .type = "Q5_K"},
    {.name = "norm_qkv units", .cases = "T=5", .type = "BF16"},
    {.name = "norm_gated_mlp units", .cases = "T=2", .type = "Q6_K"},
    {.name = "norm_gated_mlp units", .cases = "T=1 ", .type = "BF16"}, /* a warp has several units */
    {.name = "norm_head_sample units", .cases = "R=1 ", .type = "Q4_0"},
    {.name = "mul_mat units, dots", .cases = "T=2"},
    {.name = "mul_mat_add units, dots", .cases = "T=33", .type = "Q4_K"},
    {.name = "norm_qkv units, dots", .cases = "T=1 ", .type = "Q5_K"},
    {.name = "norm_qkv units, dots", .cases = "T=8", .type = "Q4_K"},
    {.name = "norm_gated_mlp units, dots", .cases = "T=2", .type = "Q6_K"},
    {.name = "norm_head_sample units, dots", .cases = "R=1 ", .type = "Q4_0"},
    {.name = "mul_mat units, matrices", .cases = "T=33", .type = "Q4_K", .needs_matrices = true},
    {.name = "mul_mat_add units, matrices", .cases = "T=33", .type = "Q5_K", .needs_matrices = true},
    {.name = "norm_qkv units, matrices", .cases = "T=33", .type = "Q8_0", .needs_matrices = true},
    {.name = "norm_gated_mlp units, matrices", .cases = "T=33", .type = "Q6_K", .needs_matrices = true},
};

/* No row of units is forgotten above. Of all rows, those that need cooperative matrices are named in docs/architecture.md ("Not run
 * by CI"), with "attention matrices". */
static void test_all_rows_of_units_are_named(void **state) {
    (void)state;
    place p;
    weft_kernel_info info;
    begin(&p, false);
    for (uint32_t number = 0; vulkan->kernel_at(p.device->handle, number, &info); number++) {
        bool is_named = strstr(info.name, "units") == NULL && strstr(info.name, "matrices") == NULL;
        is_named = is_named || strcmp(info.name, "attention matrices") == 0;
        for (size_t i = 0; i < COUNT(rows); i++)
            is_named = is_named ||
                       (strcmp(info.name, rows[i].name) == 0 && rows[i].needs_matrices == (strstr(info.name, "matrices") != NULL));
        if (!is_named) fail_msg("row %u, %s, is not run by these tests", number, info.name);
    }
    end(&p);
}

static void test_packed_rows_on_their_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char name[64];
        place p;
        weft_check_summary summary;
        weft_error error;
        snprintf(name, sizeof name, "%s", rows[i].name);
        begin(&p, false);
        n_forced = 1;
        forced[0] = forced_row = row_named(&p, name);
        const weft_check_options options = {.op = weft_op_name(forced_row.op),
                                            .precision = WEFT_FAST,
                                            .name = rows[i].cases,
                                            .type = rows[i].type,
                                            .quick = rows[i].quick};
        must(weft_check_ops(p.device, &options, see_case, name, &summary, &error), &error);
        print_message("%s: %zu cases passed, %zu skipped\n", name, summary.n_passed, summary.n_skipped);
        assert_int_equal(summary.n_failed, 0);
        bool may_lack = rows[i].needs_matrices || (strstr(name, "dots") && !has_dots(&p));
        assert_true(summary.n_passed > 0 || may_lack);
        end(&p);
    }
}

/* ---- Half floats between two kernels ---- */

/* Odd sizes, but for the middle, whose groups of 32 values are each of one magnitude. */
enum { N_IN = 37, N_GROUPS = 5, N_MIDDLE = 32 * N_GROUPS, N_OUT = 45, MAX_T = 33, BLOCK_BYTES = 34 };
static const double magnitudes[N_GROUPS] = {1e6, 1e-6, 1.0, 300.0, 2e-3};

typedef struct mlp {
    place place;
    float norm[N_IN], gate[N_MIDDLE * N_IN], up[N_MIDDLE * N_IN];
    uint8_t down[N_OUT * N_GROUPS * BLOCK_BYTES]; /* row i has quants in block i % N_GROUPS alone */
    float down_values[N_OUT * N_MIDDLE], x[MAX_T * N_IN];
    double middle[MAX_T * N_MIDDLE]; /* the oracle's */
    float results[MAX_T * N_OUT];
} mlp;

static void fill(mlp *m) {
    uint32_t seed = 3;
    weft_error error;
    for (int i = 0; i < N_IN; i++) m->norm[i] = 1.0f + 0.2f * pseudo_random(&seed);
    for (int i = 0; i < N_MIDDLE * N_IN; i++) m->gate[i] = 0.3f * pseudo_random(&seed);
    for (int i = 0; i < N_MIDDLE * N_IN; i++) m->up[i] = (float)magnitudes[i / N_IN / 32] * pseudo_random(&seed);
    for (int i = 0; i < MAX_T * N_IN; i++) m->x[i] = pseudo_random(&seed);
    for (int i = 0; i < N_OUT * N_GROUPS; i++) {
        uint8_t *block = m->down + i * BLOCK_BYTES;
        memcpy(block, &(uint16_t){(uint16_t)(0x2c00 + i)}, 2); /* about 1/16 */
        bool has_quants = i % N_GROUPS == i / N_GROUPS % N_GROUPS;
        for (int j = 0; j < 32; j++) block[2 + j] = has_quants ? (uint8_t)(int8_t)(127.0f * pseudo_random(&seed)) : 0;
    }
    must(weft_dequantise(WEFT_Q8_0, m->down, N_OUT * N_MIDDLE, m->down_values, &error), &error);
}

/* Computes the inner values of column c in double precision. */
static void compute_middle(mlp *m, int c) {
    const float *x = m->x + c * N_IN;
    double squares = 0.0, normed[N_IN];
    for (int i = 0; i < N_IN; i++) squares += (double)x[i] * (double)x[i];
    for (int i = 0; i < N_IN; i++) normed[i] = (double)x[i] / sqrt(squares / N_IN + 1e-5) * (double)m->norm[i];
    for (int row = 0; row < N_MIDDLE; row++) {
        double gate = 0.0, up = 0.0;
        for (int i = 0; i < N_IN; i++) {
            gate += (double)m->gate[row * N_IN + i] * normed[i];
            up += (double)m->up[row * N_IN + i] * normed[i];
        }
        m->middle[c * N_MIDDLE + row] = gate / (1.0 + exp(-gate)) * up;
    }
}

static weft_status read_mlp(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const mlp *m = user;
    const void *from = name[0] == 'n' ? (const void *)m->norm : name[0] == 'g' ? m->gate : name[0] == 'u' ? m->up : NULL;
    (void)error;
    if (name[0] == 'd') from = m->down;
    if (from)
        memcpy(into, (const char *)from + offset, size);
    else
        memset(into, 0, size); /* the bias */
    return WEFT_OK;
}

/* Runs a graph with one input, x, and one result, y, and ends it. */
static void run_graph(const place *p, builder *b, const weft_weight_source *source, const float *x, size_t n_x, float *y,
                      size_t n_y) {
    weft_error error;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_ticket ticket;
    void *inputs[1];
    const void *outputs[1];
    must(b->status, &b->error);
    const weft_graph *graphs[] = {b->graph};
    const weft_store_options options = {.precision = WEFT_FAST, .forced = forced, .n_forced = n_forced};
    must(weft_store_create(p->device, graphs, 1, &options, &store, &error), &error);
    must(weft_store_load(store, source, &error), &error);
    must(weft_plan_create(store, b->graph, &plan, &error), &error);
    must(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], x, n_x * sizeof *x);
    must(weft_plan_submit(plan, ticket, &error), &error);
    must(weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error), &error);
    memcpy(y, outputs[0], n_y * sizeof *y);
    weft_plan_release(plan, ticket);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b->graph);
}

/* Runs the two nodes for T columns. */
static void run_mlp(mlp *m, int T) {
    const weft_norm_gated_mlp_params params = {.epsilon = 1e-5f, .activation = WEFT_ACTIVATION_SILU};
    builder b;
    begin_graph(&b, m->place.runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, N_IN, T, 1, 1);
    weft_value middle =
        NODE(&b, WEFT_OP_NORM_GATED_MLP, "middle", &params, x, add_weight(&b, "norm", 0, WEFT_F32, N_IN, 1),
             add_weight(&b, "gate", 0, WEFT_F32, N_IN, N_MIDDLE), add_weight(&b, "up", 0, WEFT_F32, N_IN, N_MIDDLE));
    weft_value y = NODE0(&b, WEFT_OP_MUL_MAT_ADD, "y", add_weight(&b, "down", 0, WEFT_Q8_0, N_MIDDLE, N_OUT), middle,
                         add_weight(&b, "bias", 0, WEFT_F32, N_OUT, 1), WEFT_NONE);
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, y, &b.error);
    run_graph(&m->place, &b, &(weft_weight_source){.read = read_mlp, .user = m}, m->x, (size_t)(T * N_IN), m->results,
              (size_t)(T * N_OUT));
}

/* A half float is off by 2^-12 of itself or so; values that did not get their own group's scale would be off by all of it. */
static void check_column(const mlp *m, int c) {
    for (int row = 0; row < N_OUT; row++) {
        double sum = 0.0, terms = 0.0, y = (double)m->results[c * N_OUT + row];
        for (int i = 0; i < N_MIDDLE; i++) {
            double term = (double)m->down_values[row * N_MIDDLE + i] * m->middle[c * N_MIDDLE + i];
            sum += term;
            terms += fabs(term);
        }
        if (!(fabs(y - sum) <= terms / 2048.0)) fail_msg("column %d, row %d: %g and not %g", c, row, y, sum);
    }
}

/* For each T: the rows that must run, the results, and the same bits in each column. */
static void check_mlp(mlp *m) {
    static const int widths[] = {MAX_T, 1, 2, 8};
    float widest[MAX_T * N_OUT];
    for (size_t i = 0; i < COUNT(widths); i++) {
        memset(seen, 0, sizeof seen);
        run_mlp(m, widths[i]);
        assert_string_equal(seen[WEFT_OP_NORM_GATED_MLP].name, "norm_gated_mlp exact, to f16");
        assert_string_equal(seen[WEFT_OP_MUL_MAT_ADD].name, "mul_mat_add f16, q8_0 planar");
        assert_int_equal(seen[WEFT_OP_NORM_GATED_MLP].type, WEFT_F16);
        assert_true(seen[WEFT_OP_MUL_MAT_ADD].layout != WEFT_LAYOUT_FILE);
        for (int c = 0; c < widths[i]; c++) check_column(m, c);
        if (i == 0) memcpy(widest, m->results, sizeof widest);
        assert_memory_equal(m->results, widest, (size_t)(widths[i] * N_OUT) * sizeof(float));
    }
}

static mlp the_mlp;

/* On a device without int8 products these are the best rows; on others they run if they are forced. */
static void test_half_floats_between(void **state) {
    (void)state;
    mlp *m = &the_mlp;
    fill(m);
    for (int c = 0; c < MAX_T; c++) compute_middle(m, c);
    for (int no_extensions = 0; no_extensions < 2; no_extensions++) {
        begin(&m->place, no_extensions);
        if (!no_extensions) {
            n_forced = 2;
            forced[0] = row_named(&m->place, "norm_gated_mlp exact, to f16");
            forced[1] = row_named(&m->place, "mul_mat_add f16, q8_0 planar");
        }
        check_mlp(m);
        end(&m->place);
    }
}

/* ---- Units: rows of a step have the same bits alone and together ---- */

/* More units than warps that share a row, and a part of one. */
enum { WIDE_IN = 5 * 256 + 32, NARROW_OUT = 17, WIDE_OUT = 2065, WIDE_T = 8, WIDE_BYTES = WIDE_OUT * WIDE_IN / 32 * BLOCK_BYTES };
static struct {
    uint8_t matrix[WIDE_BYTES];
    float norm[WIDE_IN], x[WIDE_T * WIDE_IN], results[WIDE_T * WIDE_OUT];
} wide;

static weft_status read_wide(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)error;
    memcpy(into, (name[0] == 'n' ? (const char *)wide.norm : (const char *)wide.matrix) + offset, size);
    return WEFT_OK;
}

static void run_wide(const place *p, int n_out, int T) {
    const weft_norm_gated_mlp_params params = {.epsilon = 1e-5f, .activation = WEFT_ACTIVATION_SILU};
    builder b;
    begin_graph(&b, p->runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, WIDE_IN, T, 1, 1);
    weft_value y = NODE(&b, WEFT_OP_NORM_GATED_MLP, "y", &params, x, add_weight(&b, "norm", 0, WEFT_F32, WIDE_IN, 1),
                        add_weight(&b, "gate", 0, WEFT_Q8_0, WIDE_IN, n_out), add_weight(&b, "up", 0, WEFT_Q8_0, WIDE_IN, n_out));
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, y, &b.error);
    run_graph(p, &b, &(weft_weight_source){.read = read_wide}, wide.x, (size_t)(T * WIDE_IN), wide.results, (size_t)(T * n_out));
}

static void test_widths_of_units(void **state) {
    static const char *const names[] = {"norm_gated_mlp units", "norm_gated_mlp units, dots"};
    static const int widths[] = {WIDE_T, 1, 5, 2, 3, 4, 6, 7};
    static float widest[WIDE_T * WIDE_OUT];
    uint32_t seed = 5;
    place p;
    (void)state;
    for (int i = 0; i < WIDE_BYTES; i++) wide.matrix[i] = (uint8_t)(int8_t)(127.0f * pseudo_random(&seed));
    for (int i = 0; i < WIDE_BYTES; i += BLOCK_BYTES) memcpy(wide.matrix + i, &(uint16_t){(uint16_t)(0x1c00 + i / 8)}, 2);
    for (int i = 0; i < WIDE_IN; i++) wide.norm[i] = 1.0f + 0.2f * pseudo_random(&seed);
    for (int i = 0; i < WIDE_T * WIDE_IN; i++) wide.x[i] = pseudo_random(&seed);
    begin(&p, false);
    n_forced = 1;
    for (size_t n = 0; n < (has_dots(&p) ? COUNT(names) : 1); n++) {
        forced[0] = row_named(&p, names[n]);
        for (size_t i = 0; i < COUNT(widths); i++) {
            run_wide(&p, NARROW_OUT, widths[i]);
            assert_string_equal(seen[WEFT_OP_NORM_GATED_MLP].name, names[n]);
            if (i == 0) memcpy(widest, wide.results, sizeof widest);
            assert_memory_equal(wide.results, widest, (size_t)(widths[i] * NARROW_OUT) * sizeof(float));
        }
        /* With so many rows the columns of a workgroup are others. */
        for (size_t i = 0; n == 1 && i < 3; i++) {
            run_wide(&p, WIDE_OUT, widths[i]);
            if (i == 0) memcpy(widest, wide.results, sizeof widest);
            assert_memory_equal(wide.results, widest, (size_t)(widths[i] * WIDE_OUT) * sizeof(float));
        }
    }
    end(&p);
}

/* Integer dot products are only used by themselves where the device has an instruction for them. */
static void test_dots_need_an_instruction(void **state) {
    static const char *const names[] = {"norm_gated_mlp units", "norm_gated_mlp units, dots"};
    place p;
    (void)state;
    begin(&p, false);
    for (int is_fast = 0; is_fast < 2 && has_dots(&p); is_fast++) {
        weft_backend_device *device = p.device->handle;
        const weft_vulkan_traits traits = device->traits;
        device->traits.is_processor = false;
        device->traits.dot_product_is_fast = is_fast;
        run_wide(&p, NARROW_OUT, 1);
        device->traits = traits;
        assert_string_equal(seen[WEFT_OP_NORM_GATED_MLP].name, names[is_fast]);
    }
    end(&p);
}

/* ---- Units: Q, K and V rotate and store in the dispatch of the products, where nothing hinders it ---- */

static size_t dispatches_of_qkv(const place *p, int32_t head_dim, int32_t order, bool has_norms) {
    const norm_qkv_shape shape = {256, 2,        2,     2,     head_dim,  16,      4, WEFT_SEQUENCE_PAGES + 2,
                                  1,   head_dim, order, false, has_norms, WEFT_F16};
    const weft_store_options options = {.precision = WEFT_FAST, .forced = forced, .n_forced = n_forced};
    weft_plan_info info = {0};
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_error error;
    builder b;
    begin_graph(&b, p->runtime);
    add_norm_qkv(&b, &shape);
    must(b.status, &b.error);
    const weft_graph *graphs[] = {b.graph};
    must(weft_store_create(p->device, graphs, 1, &options, &store, &error), &error);
    must(weft_store_load(store, &(weft_weight_source){.read = read_wide}, &error), &error);
    must(weft_plan_create(store, b.graph, &plan, &error), &error);
    weft_plan_describe(plan, &info);
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
    return info.n_dispatches;
}

static void test_units_rotate_at_once(void **state) {
    static const char *const names[] = {"norm_qkv units", "norm_qkv units, dots"};
    place p;
    (void)state;
    begin(&p, false);
    size_t less = weft_vulkan_has_more_push_bytes(&p.device->handle->traits) ? 1 : 0;
    n_forced = 1;
    for (size_t n = 0; n < (has_dots(&p) ? COUNT(names) : 1); n++) {
        forced[0] = row_named(&p, names[n]);
        size_t most = dispatches_of_qkv(&p, 64, WEFT_ROPE_HALVES, true);
        assert_int_equal(dispatches_of_qkv(&p, 64, WEFT_ROPE_HALVES, false), most - less);
        assert_int_equal(dispatches_of_qkv(&p, 96, WEFT_ROPE_ADJACENT, false), most - less);
        assert_int_equal(dispatches_of_qkv(&p, 80, WEFT_ROPE_HALVES, false), most);
    }
    end(&p);
}

/* A number that is no row of the op is refused by `supports` and by `plan_create`. */
static void test_a_number_of_another_op(void **state) {
    (void)state;
    place p;
    weft_error error = {0};
    weft_support support = {0};
    weft_backend_plan *plan = NULL;
    begin(&p, false);
    weft_phase phase = {.op = WEFT_OP_ADD, .precision = WEFT_EXACT, .kernel = row_named(&p, "mul exact").kernel};
    vulkan->supports(p.device->handle, &phase, &support);
    assert_false(support.supported);
    assert_string_equal(support.reason, "the vulkan backend has no such kernel for this op");
    const weft_schedule schedule = {.phases = &phase, .n_phases = 1};
    assert_int_equal(vulkan->plan_create(p.device->handle, &schedule, &plan, &error), WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "op add has no kernel number"));
    end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_rows_of_units_are_named), cmocka_unit_test(test_packed_rows_on_their_cases),
        cmocka_unit_test(test_half_floats_between),         cmocka_unit_test(test_widths_of_units),
        cmocka_unit_test(test_units_rotate_at_once),        cmocka_unit_test(test_dots_need_an_instruction),
        cmocka_unit_test(test_a_number_of_another_op),
    };
    place p;
    weft_error error;
    vulkan_faults_install();
    if (weft_runtime_create(NULL, &p.runtime, &error) != WEFT_OK) return 1;
    weft_status status = weft_device_open(p.runtime, "vulkan", NULL, &p.device, &error);
    weft_device_close(p.device);
    weft_runtime_destroy(p.runtime);
    if (status != WEFT_OK) printf("skipped: %s\n", error.message);
    return status != WEFT_OK ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
