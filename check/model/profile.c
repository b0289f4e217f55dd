/* Times a model's step, and one run of each kind of its phases. */
#include <string.h>

#include "check/model/phases.h"
#include "check/timing.h"
#include "weft/ops/step.h"

#define MAX_ROWS 512
#define PAGE_SIZE 64
#define MAX_POSITION (1 << 24)
/* A plan of one kind has this many nodes, more if the kind has more, or fewer if the device is slow. */
#define MIN_NODES 64
/* As in an engine for one sequence. */
#define ENGINE_HEADS 16
#define ENGINE_GRAPHS 10

/* The words of a step input. */
typedef struct step_words {
    const char *name;
    int32_t *words;
    size_t n;
} step_words;

typedef struct profile {
    weft_bench_model_options options;
    weft_runtime *runtime;
    weft_model *model;
    weft_device *device;
    weft_engine_options engine;
    int32_t max_pages; /* of a sequence */
    weft_graph *graph; /* of the step, fused */
    weft_check_kinds kinds;
    weft_store *store;
    step_words words[3];
    const step_words *inputs[WEFT_MAX_INPUTS]; /* of the plan that is timed, in its order */
    size_t n_inputs;
    size_t kind; /* that is timed; kinds.n: the whole step */
    bool bare;   /* without nodes of the kind: what they read alone */
    size_t n_dispatches, n_barriers;
    weft_status (*report)(void *user, const weft_bench_phase *phase);
    void *user;
    uint64_t done;
    double sum_us;
} profile;

static weft_status go_on(void *user, weft_error *error) {
    const profile *p = user;
    const weft_bench_model_options *o = &p->options;
    if (!o->progress || o->progress(o->progress_user, p->done, p->kinds.n + 1)) return WEFT_OK;
    return weft_fail(error, WEFT_CANCELLED, "the benchmark was cancelled");
}

static bool load_progress(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return go_on(user, NULL) == WEFT_OK;
}

/* ---- Step inputs ---- */

static void fill_rows(const profile *p, int32_t *row) {
    const int32_t n_each = p->options.n_rows / p->options.n_sequences;
    for (int32_t i = 0; i < p->options.n_rows; i++, row += WEFT_ROW_WORDS) {
        row[WEFT_ROW_TOKEN] = i;
        row[WEFT_ROW_SEQUENCE] = i / n_each;
        row[WEFT_ROW_CACHE_INDEX] = row[WEFT_ROW_ROPE_POSITION] = p->options.position + i % n_each;
    }
}

static void fill_heads(const profile *p, int32_t *head) {
    const int32_t n_each = p->options.n_rows / p->options.n_sequences;
    for (int32_t i = 0; i < p->options.n_sequences; i++, head += WEFT_HEAD_WORDS) {
        head[WEFT_HEAD_ROW] = (i + 1) * n_each - 1;
        head[WEFT_HEAD_SEQUENCE] = i;
        head[WEFT_HEAD_TARGET] = -1;
    }
}

/* The tokens are different ones of the vocabulary. */
static weft_status make_words(profile *p, weft_error *error) {
    static const char *const names[] = {"rows", "updates", "heads"};
    weft_model_info info;
    weft_model_describe(p->model, &info);
    for (size_t i = 0; i < p->kinds.index.n_nodes; i++) {
        const weft_node *node = &p->kinds.index.nodes[i];
        for (size_t k = 0; node->leaf == WEFT_LEAF_INPUT && k < 3; k++) {
            weft_tensor tensor;
            if (strcmp(node->name, names[k]) != 0) continue;
            weft_graph_tensor(p->graph, node->outputs[0], &tensor, NULL);
            size_t bytes = (size_t)weft_tensor_bytes(&tensor);
            p->words[k] = (step_words){.name = names[k], .words = weft_allocate(p->runtime, bytes), .n = bytes / sizeof(int32_t)};
            if (!p->words[k].words) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the inputs of a step");
        }
    }
    if (p->words[0].words) fill_rows(p, p->words[0].words);
    for (size_t i = 0; i < p->words[1].n; i++) p->words[1].words[i] = -1;
    if (p->words[2].words) fill_heads(p, p->words[2].words);
    for (size_t i = 0; i < p->words[0].n; i += WEFT_ROW_WORDS) p->words[0].words[i + WEFT_ROW_TOKEN] %= info.n_vocab;
    return WEFT_OK;
}

/* Sequence s has the pages from s * max_pages on. */
static weft_status write_page_tables(profile *p, weft_error *error) {
    const size_t n = (size_t)WEFT_SEQUENCE_PAGES + (size_t)p->max_pages, n_words = n * (size_t)p->options.n_sequences;
    int32_t *words = weft_allocate(p->runtime, n_words * sizeof *words);
    if (!words) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for page tables");
    for (int32_t s = 0; s < p->options.n_sequences; s++)
        for (int32_t i = 0; i < p->max_pages; i++) words[(size_t)s * n + WEFT_SEQUENCE_PAGES + (size_t)i] = s * p->max_pages + i;
    weft_status status = weft_store_write_state(p->store, "sequences", 0, words, n_words * sizeof *words, error);
    weft_release(p->runtime, words);
    return status;
}

/* ---- Plans ---- */

static void find_inputs(profile *p, const weft_graph *graph) {
    const size_t n_nodes = weft_graph_node_count(graph);
    p->n_inputs = 0;
    for (size_t i = 0; i < n_nodes; i++) {
        weft_node node;
        if (weft_graph_node(graph, i, &node, NULL) != WEFT_OK || node.leaf != WEFT_LEAF_INPUT) continue;
        for (size_t k = 0; k < 3; k++)
            if (p->words[k].words && strcmp(node.name, p->words[k].name) == 0) p->inputs[p->n_inputs++] = &p->words[k];
    }
}

static void fill(void *user, void *const *places) {
    const profile *p = user;
    for (size_t i = 0; i < p->n_inputs; i++) memcpy(places[i], p->inputs[i]->words, p->inputs[i]->n * sizeof(int32_t));
}

static weft_status make_plan(void *user, size_t n_nodes, weft_plan **plan, weft_error *error) {
    profile *p = user;
    weft_graph *graph = NULL;
    weft_plan_info info;
    weft_status status = WEFT_OK;
    if (p->kind < p->kinds.n) status = weft_check_kind_graph(&p->kinds, p->kind, p->bare ? 0 : n_nodes, &graph, error);
    if (status == WEFT_OK) status = weft_plan_create(p->store, graph ? graph : p->graph, plan, error);
    if (status == WEFT_OK) find_inputs(p, graph ? graph : p->graph);
    if (status == WEFT_OK && !graph) {
        weft_plan_describe(*plan, &info);
        p->n_dispatches = info.n_dispatches;
        p->n_barriers = info.n_barriers;
    }
    weft_graph_destroy(graph);
    return status;
}

static size_t most_nodes(const profile *p, size_t kind) {
    size_t n = p->kinds.list[kind].n_nodes, times = n < MIN_NODES ? (MIN_NODES + n - 1) / n : 1;
    return n * times;
}

/* ---- The store ---- */

/* The graph of a step as the engine would run it. */
static weft_status make_graph(const profile *p, int32_t n_rows, int32_t n_heads, weft_graph **made, weft_error *error) {
    weft_graph *graph = NULL;
    weft_status status = weft_model_graph(p->model, &p->engine, n_rows, n_heads, &graph, error);
    if (status == WEFT_OK && !p->options.unfused) {
        status = weft_graph_fuse(graph, p->device, p->options.precision, made, error);
        weft_graph_destroy(graph);
    } else if (status == WEFT_OK) {
        *made = graph;
    }
    return status;
}

/* The graphs from which the store chooses layouts and the size of the arena: those of an engine's steps of any number of rows, the
 * step's, and for each kind one of two nodes, since more need no more memory. */
static weft_status make_graphs(const profile *p, weft_graph **graphs, size_t *n, weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t rows = MAX_ROWS; rows > 0 && status == WEFT_OK; rows /= 2) {
        status = make_graph(p, rows, rows < ENGINE_HEADS ? rows : ENGINE_HEADS, &graphs[*n], error);
        if (status == WEFT_OK) ++*n;
    }
    for (size_t i = 0; i < p->kinds.n && status == WEFT_OK; i++) {
        status = weft_check_kind_graph(&p->kinds, i, 2, &graphs[*n], error);
        if (status == WEFT_OK) ++*n;
    }
    return status;
}

static weft_status make_store(profile *p, weft_error *error) {
    const weft_store_options options = {.precision = p->options.precision,
                                        .unpruned = true,
                                        .n_slots = WEFT_CHECK_SLOTS,
                                        .progress = load_progress,
                                        .progress_user = p};
    weft_weight_source source = weft_model_source(p->model);
    size_t n = 0;
    weft_graph **graphs = weft_allocate(p->runtime, (ENGINE_GRAPHS + p->kinds.n + 1) * sizeof *graphs);
    if (!graphs) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for graphs");
    weft_status status = make_graphs(p, graphs, &n, error);
    graphs[n] = p->graph;
    if (status == WEFT_OK)
        status = weft_store_create(p->device, (const weft_graph *const *)graphs, n + 1, &options, &p->store, error);
    for (size_t i = 0; i < n; i++) weft_graph_destroy(graphs[i]);
    weft_release(p->runtime, graphs);
    if (status == WEFT_OK)
        status = weft_store_load(p->store, &(weft_weight_source){.read = weft_check_kind_read, .user = &source}, error);
    return status == WEFT_OK ? write_page_tables(p, error) : status;
}

/* ---- Times ---- */

static weft_status time_nodes(profile *p, size_t kind, size_t max_nodes, double seconds, weft_check_timing *timing,
                              weft_error *error) {
    *timing = (weft_check_timing){
        .make_plan = make_plan, .fill = fill, .go_on = go_on, .user = p, .seconds = seconds, .max_nodes = max_nodes};
    p->kind = kind;
    return weft_check_time(timing, error);
}

/* The time of a step with the nodes alone that compute what the nodes of a kind read: the fastest round, since a slow one would
 * take too much from the kind's time. */
static weft_status time_bare(profile *p, size_t kind, double *us, weft_error *error) {
    weft_check_timing timing;
    weft_graph *graph = NULL;
    bool is_empty = true;
    weft_status status = weft_check_kind_graph(&p->kinds, kind, 0, &graph, error);
    for (size_t i = 0; status == WEFT_OK && i < weft_graph_node_count(graph); i++) {
        weft_node node;
        status = weft_graph_node(graph, i, &node, error);
        is_empty = is_empty && node.op == WEFT_OP_NONE;
    }
    weft_graph_destroy(graph);
    *us = 0;
    if (status != WEFT_OK || is_empty) return status;
    p->bare = true;
    status = time_nodes(p, kind, 1, p->options.seconds / 4, &timing, error);
    p->bare = false;
    if (status == WEFT_OK) *us = timing.us_min;
    return status;
}

/* What is left of a node's share of a step. */
static double without(double us, double bare_us, size_t n_nodes) {
    us -= bare_us / (double)n_nodes;
    return us > 0 ? us : 0;
}

/* The bytes of a node that nodes of other layers do not read or write. */
static uint64_t own_bytes(const profile *p, const weft_node *node, uint64_t bytes) {
    uint64_t shared = 0;
    weft_tensor tensor;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if (node->inputs[i] == WEFT_NONE) continue;
        weft_leaf leaf = weft_check_origin(&p->kinds.index, node->inputs[i])->leaf;
        if (leaf == WEFT_LEAF_WEIGHT || leaf == WEFT_LEAF_STATE) continue;
        if (weft_graph_tensor(p->graph, node->inputs[i], &tensor, NULL) == WEFT_OK) shared += weft_tensor_bytes(&tensor);
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (node->outputs[i] != WEFT_NONE && weft_check_state_port(node->op, i) < 0 &&
            weft_graph_tensor(p->graph, node->outputs[i], &tensor, NULL) == WEFT_OK)
            shared += weft_tensor_bytes(&tensor);
    return bytes > shared ? bytes - shared : 0;
}

/* The kernels of a kind: in the step, and alone if that is another one. */
static weft_status find_kernels(const profile *p, size_t index, weft_bench_phase *phase, weft_error *error) {
    const size_t middle = weft_check_kind_middle(&p->kinds.list[index]);
    weft_node_support support, alone;
    weft_status status = weft_graph_support(p->graph, middle, p->device, p->options.precision, &support, error);
    if (status == WEFT_OK) status = weft_check_kind_support(&p->kinds, index, p->device, p->options.precision, &alone, error);
    if (status != WEFT_OK) return status;
    phase->kernel = support.kernel;
    phase->kernel_number = support.number;
    if (alone.number != support.number) phase->timed_kernel = alone.kernel;
    return WEFT_OK;
}

static weft_status time_kind(profile *p, size_t index, weft_error *error) {
    const weft_check_kind *kind = &p->kinds.list[index];
    const weft_node *node = &p->kinds.index.nodes[weft_check_kind_middle(kind)];
    weft_check_timing timing;
    double bare_us = 0;
    weft_bench_phase phase = {.op = node->op,
                              .name = kind->name,
                              .first = p->kinds.index.nodes[kind->nodes[0]].name,
                              .n_in_step = (int32_t)kind->n_nodes,
                              .n_columns = weft_check_kind_columns(&p->kinds, kind)};
    weft_status status = find_kernels(p, index, &phase, error);
    if (status == WEFT_OK)
        status = weft_graph_node_cost(p->graph, weft_check_kind_middle(kind), &phase.operations, &phase.bytes, error);
    if (status == WEFT_OK) status = time_bare(p, index, &bare_us, error);
    if (status == WEFT_OK) status = time_nodes(p, index, most_nodes(p, index), p->options.seconds, &timing, error);
    p->done++;
    if (status != WEFT_OK) return status;
    size_t n_different = timing.n_nodes < kind->n_nodes ? timing.n_nodes : kind->n_nodes;
    phase.n_nodes = (int32_t)timing.n_nodes;
    phase.own_bytes = own_bytes(p, node, phase.bytes) * n_different;
    phase.n_rounds = timing.n_rounds;
    phase.us_median = without(timing.us_median, bare_us, timing.n_nodes);
    phase.us_min = without(timing.us_min, bare_us, timing.n_nodes);
    phase.us_max = without(timing.us_max, bare_us, timing.n_nodes);
    p->sum_us += phase.us_median * (double)kind->n_nodes;
    status = p->report ? p->report(p->user, &phase) : WEFT_OK;
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the benchmark was ended by its report function");
}

static weft_status run(profile *p, weft_bench_step *step, weft_error *error) {
    weft_check_timing timing;
    weft_status status = make_graph(p, p->options.n_rows, p->options.n_sequences, &p->graph, error);
    if (status == WEFT_OK) status = weft_check_kinds_create(p->runtime, p->graph, &p->kinds, error);
    if (status == WEFT_OK) status = make_words(p, error);
    if (status == WEFT_OK) status = go_on(p, error);
    if (status == WEFT_OK) status = make_store(p, error);
    if (status == WEFT_OK) status = time_nodes(p, p->kinds.n, 1, p->options.seconds, &timing, error);
    p->done++;
    for (size_t i = 0; i < p->kinds.n && status == WEFT_OK; i++) status = time_kind(p, i, error);
    if (status != WEFT_OK) return status;
    size_t n_phases = 0;
    for (size_t i = 0; i < p->kinds.n; i++) n_phases += p->kinds.list[i].n_nodes;
    *step = (weft_bench_step){.n_phases = n_phases,
                              .n_dispatches = p->n_dispatches,
                              .n_rounds = timing.n_rounds,
                              .us_median = timing.us_median,
                              .us_min = timing.us_min,
                              .us_max = timing.us_max,
                              .sum_us = p->sum_us,
                              .n_barriers = p->n_barriers};
    return WEFT_OK;
}

/* ---- Options ---- */

static weft_status set_options(profile *p, const weft_bench_model_options *options, weft_error *error) {
    weft_bench_model_options *o = &p->options;
    if (options) *o = *options;
    weft_status status = weft_require_zero("options.reserved", o->reserved, sizeof o->reserved, error);
    if (status == WEFT_OK) status = weft_check_seconds(&o->seconds, error);
    if (status != WEFT_OK) return status;
    if (o->n_rows == 0) o->n_rows = 1;
    if (o->n_sequences == 0) o->n_sequences = 1;
    if (o->n_rows < 1 || o->n_rows > MAX_ROWS || o->n_sequences < 1 || o->n_rows % o->n_sequences != 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d rows of %d sequences: 1 to %d rows are possible, as many of each",
                         (int)o->n_rows, (int)o->n_sequences, MAX_ROWS);
    if (o->position < 0 || o->position > MAX_POSITION)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "position is %d; it can be 0 to %d", (int)o->position, MAX_POSITION);
    p->engine = (weft_engine_options){.precision = o->precision,
                                      .kv_f32 = o->kv_f32,
                                      .n_ctx = o->position + o->n_rows / o->n_sequences,
                                      .n_sequences = o->n_sequences,
                                      .page_size = PAGE_SIZE,
                                      .keep_all_pages = true};
    p->max_pages = (p->engine.n_ctx + PAGE_SIZE - 1) / PAGE_SIZE;
    return WEFT_OK;
}

weft_status weft_bench_model(weft_model *model, weft_device *device, const weft_bench_model_options *options,
                             weft_status (*report)(void *user, const weft_bench_phase *phase), void *user, weft_bench_step *step,
                             weft_error *error) {
    if (!model || !device || weft_device_runtime(device) != weft_model_runtime(model))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model and a device of its runtime are needed for a benchmark");
    weft_bench_step timed;
    profile p = {.runtime = weft_model_runtime(model), .model = model, .device = device, .report = report, .user = user};
    weft_status status = set_options(&p, options, error);
    if (status != WEFT_OK) return status;
    status = run(&p, &timed, error);
    weft_store_destroy(p.store);
    weft_check_kinds_release(&p.kinds);
    weft_graph_destroy(p.graph);
    for (size_t i = 0; i < 3; i++) weft_release(p.runtime, p.words[i].words);
    if (status == WEFT_OK && step) *step = timed;
    return status;
}
