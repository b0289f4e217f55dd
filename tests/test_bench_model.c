/* The profile of a model's step: its kinds of phases, the graphs that repeat them, reports, early ends, and no leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "check/model/phases.h"
#include "tests/limited_allocator.h"

#define PATH "test_bench_model.tmp"
#define SECONDS 1e-4
#define MAX_PHASES 64

typedef struct bench_model {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_device *device;
    weft_model *model;
} bench_model;

static void open_model(bench_model *m, const char *shape, const char *device) {
    weft_error error = {0};
    const weft_synth_options synth = {.shape = shape, .mix = "Q4_K_M", .seed = 5};
    *m = (bench_model){.runtime = NULL};
    m->runtime = limited_runtime(&m->limits);
    assert_non_null(m->runtime);
    if ((shape && weft_synth(m->runtime, &synth, PATH, &error) != WEFT_OK) ||
        weft_device_open(m->runtime, device, &(weft_device_options){.n_threads = 1}, &m->device, &error) != WEFT_OK ||
        weft_model_open(m->runtime, PATH, &m->model, &error) != WEFT_OK)
        fail_msg("%s", error.message);
}

static void close_model(bench_model *m) {
    weft_model_close(m->model);
    weft_device_close(m->device);
    weft_runtime_destroy(m->runtime);
    assert_int_equal(m->limits.n_live, 0);
}

/* ---- Reports ---- */

typedef struct seen {
    weft_bench_phase phases[MAX_PHASES];
    char names[MAX_PHASES][160];
    size_t n, n_allowed; /* n_allowed: the report that ends the run; 0: none */
    uint64_t n_progress; /* calls that are left before progress ends the run; 0: no limit */
    uint64_t total;
    double sum_us;
} seen;

static weft_status take(void *user, const weft_bench_phase *phase) {
    seen *s = user;
    assert_true(s->n < MAX_PHASES);
    assert_true(phase->name[0] && phase->first[0] && phase->kernel[0]);
    assert_true(0 <= phase->us_min && phase->us_min <= phase->us_median && phase->us_median <= phase->us_max);
    assert_true(phase->n_in_step >= 1 && phase->n_nodes >= 1 && phase->n_rounds >= 1 && phase->bytes > 0);
    for (size_t i = 0; i < s->n; i++) assert_false(strcmp(s->names[i], phase->name) == 0 && s->phases[i].op != phase->op);
    snprintf(s->names[s->n], sizeof s->names[0], "%s", phase->name);
    s->phases[s->n++] = *phase;
    s->sum_us += phase->us_median * phase->n_in_step;
    return s->n == s->n_allowed ? WEFT_IO : WEFT_OK;
}

static bool progress(void *user, uint64_t done, uint64_t total) {
    seen *s = user;
    assert_true(done < total);
    assert_true(s->total == 0 || s->total == total);
    s->total = total;
    return s->n_progress == 0 || --s->n_progress > 0;
}

/* How many nodes the step has that are alike, by op. */
static void compare_with_graph(const bench_model *m, const weft_bench_model_options *options, const seen *s,
                               const weft_bench_step *step) {
    weft_error error = {0};
    weft_graph *graph = NULL, *fused = NULL;
    size_t n_phases = 0, counts[256] = {0};
    const weft_engine_options engine = {.precision = options->precision, .n_ctx = 128, .n_sequences = options->n_sequences};
    assert_int_equal(weft_model_graph(m->model, &engine, options->n_rows, options->n_sequences, &graph, &error), WEFT_OK);
    assert_int_equal(weft_graph_fuse(graph, m->device, options->precision, &fused, &error), WEFT_OK);
    const weft_graph *run = options->unfused ? graph : fused;
    for (size_t i = 0; i < weft_graph_node_count(run); i++) {
        weft_node node;
        assert_int_equal(weft_graph_node(run, i, &node, &error), WEFT_OK);
        if (node.op == WEFT_OP_NONE) continue;
        n_phases++;
        counts[node.op]++;
    }
    for (size_t i = 0; i < s->n; i++) counts[s->phases[i].op] -= (size_t)s->phases[i].n_in_step;
    for (size_t i = 0; i < 256; i++) assert_int_equal(counts[i], 0);
    assert_int_equal(step->n_phases, n_phases);
    weft_graph_destroy(graph);
    weft_graph_destroy(fused);
}

static void test_reports(void **state) {
    (void)state;
    static const weft_bench_model_options steps[] = {
        {.n_rows = 1, .n_sequences = 1, .position = 70},
        {.n_rows = 4, .n_sequences = 4, .precision = WEFT_EXACT, .kv_f32 = true},
        {.n_rows = 6, .n_sequences = 2, .unfused = true},
    };
    static const char *const shapes[] = {"tiny", "tiny-qwen3moe"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench_model m;
        weft_error error = {0};
        open_model(&m, shapes[i], "cpu");
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            seen s = {.n = 0};
            weft_bench_step step;
            weft_bench_model_options options = steps[k];
            options.seconds = SECONDS;
            options.progress = progress;
            options.progress_user = &s;
            if (weft_bench_model(m.model, m.device, &options, take, &s, &step, &error) != WEFT_OK) fail_msg("%s", error.message);
            compare_with_graph(&m, &options, &s, &step);
            assert_int_equal(s.total, s.n + 1);
            assert_true(0 < step.us_min && step.us_min <= step.us_median && step.us_median <= step.us_max);
            assert_true(step.sum_us == s.sum_us);
            /* The CPU's kernels do not depend on what reads their results. */
            for (size_t j = 0; j < s.n; j++) assert_null(s.phases[j].timed_kernel);
        }
        close_model(&m);
    }
}

/* "tiny" has three layers, and Q4_K_M gives the last of them other types. */
static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int32_t n;
    } expected[] = {
        {"scatter T=1", 1},
        {"get_rows Q4_K 256x512 T=2", 1},
        {"norm_qkv Q4_K 256x256 + 2x Q4_K 256x128 + KV F16 2x64 T=2", 2},
        {"attention KV F16 2x64 T=2", 3},
        {"mul_mat_add Q4_K 256x256 T=2", 3},
        {"norm_gated_mlp 2x Q4_K 256x512 T=2", 3},
        {"mul_mat_add Q4_K 512x256 T=2", 2},
        {"norm_qkv Q4_K 256x256 + Q4_K 256x128 + Q6_K 256x128 + KV F16 2x64 T=2", 1},
        {"mul_mat_add Q6_K 512x256 T=2", 1},
        {"get_rows T=1", 1},
        {"norm_head_sample Q6_K 256x512 T=1", 1},
    };
    bench_model m;
    weft_error error = {0};
    seen s = {.n = 0};
    open_model(&m, "tiny", "null");
    const weft_bench_model_options options = {.n_rows = 2, .position = 62, .seconds = SECONDS};
    assert_int_equal(weft_bench_model(m.model, m.device, &options, take, &s, NULL, &error), WEFT_OK);
    assert_int_equal(s.n, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < s.n; i++) {
        assert_string_equal(s.names[i], expected[i].name);
        assert_int_equal(s.phases[i].n_in_step, expected[i].n);
    }
    /* Two rows share the reads of one page: 64 positions of 2 heads of 64 keys and values. */
    const uint64_t cache = 64 * 2 * 64 * 2 * 2;
    assert_in_range(s.phases[3].bytes, cache, cache + 8192);
    assert_int_equal(s.phases[3].own_bytes % 3, 0);
    assert_in_range(s.phases[3].own_bytes, 3 * cache, 3 * cache + 8192);
    close_model(&m);
}

/* ---- Graphs of a kind ---- */

static const weft_node *leaf_of(const weft_check_index *index, const weft_node *node, size_t port) {
    const weft_node *origin = node->inputs[port] == WEFT_NONE ? NULL : weft_check_origin(index, node->inputs[port]);
    return origin && origin->leaf != WEFT_LEAF_NOT ? origin : NULL;
}

/* The node has the leaves of `model`'s node, and the same activations as `first`. */
static void compare_node(const weft_check_index *made, const weft_node *node, const weft_node *first, const weft_check_index *index,
                         const weft_node *model) {
    assert_int_equal(node->op, model->op);
    assert_int_equal(node->params_size, model->params_size);
    if (node->params_size) assert_memory_equal(node->params, model->params, node->params_size);
    for (size_t port = 0; port < WEFT_MAX_INPUTS; port++) {
        const weft_node *leaf = leaf_of(made, node, port), *of_model = leaf_of(index, model, port);
        assert_int_equal(leaf != NULL, of_model != NULL);
        if (leaf)
            assert_string_equal(leaf->name, of_model->name);
        else
            assert_int_equal(node->inputs[port], first->inputs[port]);
    }
}

/* The nodes that are no leaves. */
static size_t count_ops(const weft_check_kinds *kinds, size_t k, size_t n_nodes) {
    weft_error error = {0};
    weft_graph *graph = NULL;
    weft_check_index made;
    size_t count = 0;
    assert_int_equal(weft_check_kind_graph(kinds, k, n_nodes, &graph, &error), WEFT_OK);
    assert_int_equal(weft_check_index_create(kinds->runtime, graph, &made, &error), WEFT_OK);
    for (size_t i = 0; i < made.n_nodes; i++) count += made.nodes[i].op != WEFT_OP_NONE;
    weft_check_index_release(&made);
    weft_graph_destroy(graph);
    return count;
}

static void check_kind(const weft_check_kinds *kinds, size_t k) {
    const weft_check_kind *kind = &kinds->list[k];
    const size_t n = kind->n_nodes + 2;
    weft_error error = {0};
    weft_graph *graph = NULL;
    weft_check_index made;
    if (weft_check_kind_graph(kinds, k, n, &graph, &error) != WEFT_OK) fail_msg("%s: %s", kind->name, error.message);
    assert_int_equal(weft_check_index_create(kinds->runtime, graph, &made, &error), WEFT_OK);
    const weft_node *nodes[MAX_PHASES], *middle = &kinds->index.nodes[weft_check_kind_middle(kind)];
    size_t found = n;
    for (size_t i = made.n_nodes; i-- > 0 && found > 0;)
        if (made.nodes[i].op == middle->op) nodes[--found] = &made.nodes[i];
    assert_int_equal(found, 0);
    for (size_t i = 0; i < n; i++)
        compare_node(&made, nodes[i], nodes[0], &kinds->index,
                     &kinds->index.nodes[kind->nodes[(kind->n_nodes / 2 + i) % kind->n_nodes]]);
    assert_int_equal(count_ops(kinds, k, n), count_ops(kinds, k, 0) + n);
    /* An activation comes from a node of the same op as the model's. */
    for (size_t port = 0; port < WEFT_MAX_INPUTS; port++) {
        if (middle->inputs[port] == WEFT_NONE) continue;
        const weft_node *origin = weft_check_origin(&made, nodes[0]->inputs[port]);
        assert_int_equal(origin->op, weft_check_origin(&kinds->index, middle->inputs[port])->op);
    }
    weft_check_index_release(&made);
    weft_graph_destroy(graph);
}

static void test_graphs_of_kinds(void **state) {
    (void)state;
    static const char *const shapes[] = {"tiny", "tiny-gemma2", "tiny-qwen2moe"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench_model m;
        weft_error error = {0};
        weft_graph *graph = NULL, *fused = NULL;
        weft_check_kinds kinds;
        open_model(&m, shapes[i], "cpu");
        assert_int_equal(weft_model_graph(m.model, NULL, 4, 1, &graph, &error), WEFT_OK);
        assert_int_equal(weft_graph_fuse(graph, m.device, WEFT_FAST, &fused, &error), WEFT_OK);
        assert_int_equal(weft_check_kinds_create(m.runtime, fused, &kinds, &error), WEFT_OK);
        assert_true(kinds.n > 8);
        for (size_t k = 0; k < kinds.n; k++) {
            weft_node_support alone, of_step;
            check_kind(&kinds, k);
            if (weft_check_kind_support(&kinds, k, m.device, WEFT_FAST, &alone, &error) != WEFT_OK) fail_msg("%s", error.message);
            weft_graph_support(fused, weft_check_kind_middle(&kinds.list[k]), m.device, WEFT_FAST, &of_step, &error);
            assert_true(alone.supported);
            assert_int_equal(alone.number, of_step.number);
        }
        weft_check_kinds_release(&kinds);
        weft_graph_destroy(graph);
        weft_graph_destroy(fused);
        close_model(&m);
    }
}

/* ---- Ends ---- */

static void test_ends(void **state) {
    (void)state;
    bench_model m;
    weft_error error = {0};
    weft_bench_step step = {.n_phases = 7};
    open_model(&m, "tiny", "null");
    seen s = {.n_allowed = 2};
    weft_bench_model_options options = {.seconds = SECONDS, .progress = progress, .progress_user = &s};
    assert_int_equal(weft_bench_model(m.model, m.device, &options, take, &s, &step, &error), WEFT_IO);
    assert_int_equal(s.n, 2);
    /* The second call is made while weights are loaded, and a later one between steps. */
    static const uint64_t calls[] = {1, 2, 30};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        s = (seen){.n_progress = calls[i]};
        assert_int_equal(weft_bench_model(m.model, m.device, &options, take, &s, &step, &error), WEFT_CANCELLED);
        assert_int_equal(s.n_progress, 0);
    }
    assert_int_equal(step.n_phases, 7);
    options = (weft_bench_model_options){.seconds = SECONDS};
    assert_int_equal(weft_bench_model(m.model, m.device, &options, NULL, NULL, NULL, NULL), WEFT_OK);
    close_model(&m);
}

static void test_arguments(void **state) {
    (void)state;
    bench_model m, other;
    weft_error error = {0};
    open_model(&m, "tiny", "null");
    open_model(&other, NULL, "null");
    static const weft_bench_model_options wrong[] = {
        {.n_rows = -1},   {.n_rows = 513},         {.n_sequences = -1}, {.n_sequences = 2},
        {.position = -1}, {.position = 1 << 30},   {.seconds = -1},     {.n_rows = 8, .n_sequences = 3},
        {.seconds = 1e9}, {.reserved = {[7] = 1}}, {.precision = 7},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error.message[0] = 0;
        if (weft_bench_model(m.model, m.device, &wrong[i], take, NULL, NULL, &error) != WEFT_INVALID_ARGUMENT)
            fail_msg("case %zu: %s", i, error.message);
        assert_true(error.message[0]);
    }
    assert_int_equal(weft_bench_model(m.model, other.device, NULL, take, NULL, NULL, &error), WEFT_INVALID_ARGUMENT);
    close_model(&other);
    close_model(&m);
}

/* Whether allocation `fail_at` was reached; `n_all`: all allocations. */
static bool run_failing(size_t fail_at, size_t *n_all) {
    bench_model m;
    weft_error error = {0};
    seen s = {.n = 0};
    open_model(&m, NULL, "null");
    const weft_bench_model_options options = {.seconds = 1e-9};
    size_t before = m.limits.n_all;
    m.limits.fail_at = fail_at ? before + fail_at : 0;
    weft_status status = weft_bench_model(m.model, m.device, &options, take, &s, NULL, &error);
    bool reached = fail_at && m.limits.n_all >= m.limits.fail_at;
    *n_all = m.limits.n_all - before;
    if (status != (reached ? WEFT_OUT_OF_MEMORY : WEFT_OK))
        fail_msg("allocation %zu: status %d, %s", fail_at, (int)status, error.message);
    assert_true(!reached || error.message[0]);
    close_model(&m);
    return reached;
}

static void test_allocations(void **state) {
    (void)state;
    size_t n_all, ignored, count = 0;
    assert_false(run_failing(0, &n_all));
    for (size_t n = 1; n <= n_all; n += n < 10 ? 1 : 1 + n_all / 60) count += run_failing(n, &ignored);
    printf("%zu failures of %zu allocations\n", count, n_all);
    assert_true(count > 30);
}

static int remove_file(void **state) {
    (void)state;
    return remove(PATH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports), cmocka_unit_test(test_names),     cmocka_unit_test(test_graphs_of_kinds),
        cmocka_unit_test(test_ends),    cmocka_unit_test(test_arguments), cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, remove_file);
}
