/* Times the op table's cases. A plan has many nodes of the case's op. Each node has its own weights and KV cache, so that processor
 * caches hold as little of them as in a model. Every node overwrites the previous node's result, so the device must run them one
 * after the other. */
#include <stdlib.h>
#include <string.h>

#include "check/build.h"
#include "check/harness.h"
#include "os/os.h"

#define N_SLOTS 4                       /* steps that are queued at once */
#define MAX_ROUNDS 15                   /* the result is their median and range */
#define MAX_NODES 512                   /* of a plan */
#define OWN_BYTES ((uint64_t)256 << 20) /* of the weights and caches of all nodes of a plan, if they fit */
#define LONG_STEP 50000000u             /* ns; steps this long need no queue */
#define DEFAULT_MEMORY ((uint64_t)1 << 30)
#define DEFAULT_SECONDS 0.25

typedef struct bench {
    weft_bench_options options;
    weft_device *device;
    weft_status (*report)(void *user, const weft_bench_result *result);
    void *user;
    uint64_t done, total; /* cases */
} bench;

/* A case on the device. */
typedef struct timing {
    const bench *b;
    weft_check_case *c;
    weft_store *store;
    weft_plan *plan;
    double samples[MAX_ROUNDS]; /* ns for a step */
    size_t n_samples;
} timing;

static weft_status go_on(const bench *b, weft_error *error) {
    if (!b->options.progress || b->options.progress(b->options.progress_user, b->done, b->total)) return WEFT_OK;
    return weft_fail(error, WEFT_CANCELLED, "the benchmark was cancelled");
}

static bool load_progress(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return go_on(user, NULL) == WEFT_OK;
}

/* ---- Steps ---- */

static weft_status submit(timing *t, weft_ticket *ticket, weft_error *error) {
    void *places[WEFT_MAX_INPUTS] = {NULL};
    weft_status status = weft_plan_begin(t->plan, ticket, places, error);
    if (status != WEFT_OK) return status;
    for (size_t i = 0, k = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *input = &t->c->inputs[i];
        if (input->leaf == WEFT_LEAF_INPUT && input->tensor.type == WEFT_I32)
            memcpy(places[k++], input->data, (size_t)weft_tensor_bytes(&input->tensor));
    }
    return weft_plan_submit(t->plan, *ticket, error);
}

/* Runs steps, `depth` of them queued, for `duration_ns` and at least one round; a round is `batch` steps. With a queue, the clock
 * starts as the first step ends. */
static weft_status run_steps(timing *t, size_t depth, uint64_t batch, uint64_t duration_ns, weft_error *error) {
    weft_ticket tickets[N_SLOTS];
    uint64_t begin = weft_os_now(), round_begin = begin, in_round = 0, first = 0, end = 0;
    bool counts = depth == 1, enough = false;
    weft_status status = WEFT_OK;
    t->n_samples = 0;
    while (status == WEFT_OK && !(enough && first == end)) {
        while (status == WEFT_OK && !enough && end - first < depth) {
            status = submit(t, &tickets[end % N_SLOTS], error);
            if (status == WEFT_OK) end++;
        }
        if (status == WEFT_OK) status = weft_plan_wait(t->plan, tickets[first % N_SLOTS], UINT64_MAX, NULL, error);
        if (status != WEFT_OK) break;
        weft_plan_release(t->plan, tickets[first++ % N_SLOTS]);
        uint64_t now = weft_os_now();
        if (!counts) {
            counts = true;
            round_begin = now;
        } else if (!enough && ++in_round == batch) {
            t->samples[t->n_samples++] = (double)(now - round_begin) / (double)batch;
            round_begin = now;
            in_round = 0;
            enough = t->n_samples == MAX_ROUNDS || now - begin >= duration_ns;
        }
        status = go_on(t->b, error);
    }
    return status;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. */
static double median(timing *t) {
    qsort(t->samples, t->n_samples, sizeof *t->samples, compare);
    return t->n_samples % 2 ? t->samples[t->n_samples / 2] : (t->samples[t->n_samples / 2 - 1] + t->samples[t->n_samples / 2]) / 2;
}

/* ---- How many nodes ---- */

/* The bytes of each node's own weights and states. */
static uint64_t own_memory(const weft_check_case *c) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++)
        if (c->inputs[i].leaf == WEFT_LEAF_WEIGHT || (c->inputs[i].leaf == WEFT_LEAF_STATE && c->inputs[i].tensor.type != WEFT_I32))
            bytes += weft_tensor_bytes(&c->inputs[i].tensor);
    return bytes;
}

static size_t most_nodes(const bench *b, const weft_check_case *c) {
    uint64_t own = own_memory(c), limit = b->options.memory < OWN_BYTES ? b->options.memory : OWN_BYTES;
    if (own == 0) return MAX_NODES;
    uint64_t n = own < limit ? (limit + own - 1) / own : 1;
    if (n > b->options.memory / own) n = b->options.memory / own;
    return n < 1 ? 1 : n < MAX_NODES ? (size_t)n : MAX_NODES;
}

/* The operations and bytes of one node's run. `own_bytes`: the bytes that no other node uses. */
static weft_status find_cost(const weft_check_case *c, const weft_graph *graph, weft_bench_result *result, uint64_t *own_bytes,
                             weft_error *error) {
    uint64_t shared = 0;
    weft_status status = weft_graph_node_cost(graph, weft_graph_node_count(graph) - 1, &result->operations, &result->bytes, error);
    result->n_columns = c->outputs[0].tensor.shape[1];
    for (size_t i = WEFT_MAX_INPUTS; i-- > 0;) {
        if (c->inputs[i].leaf != WEFT_LEAF_INPUT) continue;
        shared += weft_tensor_bytes(&c->inputs[i].tensor);
        result->n_columns = c->inputs[i].tensor.shape[1];
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (c->outputs[i].present && c->outputs[i].state < 0) shared += c->outputs[i].bytes;
    *own_bytes = result->bytes > shared ? result->bytes - shared : 0;
    return status;
}

/* ---- A case ---- */

static weft_status make_plan(timing *t, size_t n_nodes, weft_error *error) {
    weft_graph *graph = NULL;
    weft_status status = weft_check_build(t->c, &(weft_check_build_options){.n_nodes = n_nodes, .timed = true}, &graph, error);
    weft_plan_destroy(t->plan);
    t->plan = NULL;
    if (status == WEFT_OK) status = weft_plan_create(t->store, graph, &t->plan, error);
    weft_graph_destroy(graph);
    return status;
}

static weft_status make_store(timing *t, size_t n_nodes, weft_bench_result *result, uint64_t *own_bytes, weft_error *error) {
    const weft_check_build_options one = {.n_nodes = 1, .timed = true}, all = {.n_nodes = n_nodes, .timed = true};
    const weft_store_options options = {.precision = t->c->precision,
                                        .unpruned = true,
                                        .n_slots = N_SLOTS,
                                        .progress = load_progress,
                                        .progress_user = (void *)(uintptr_t)t->b};
    weft_graph *node = NULL, *graph = NULL;
    weft_status status = weft_check_build(t->c, &one, &node, error);
    if (status == WEFT_OK) status = weft_check_ask(t->c, node, t->b->device, error);
    if (status == WEFT_OK) status = find_cost(t->c, node, result, own_bytes, error);
    if (status == WEFT_OK) status = weft_check_build(t->c, &all, &graph, error);
    if (status == WEFT_OK)
        status = weft_store_create(t->b->device, (const weft_graph *const[]){graph}, 1, &options, &t->store, error);
    weft_graph_destroy(node);
    weft_graph_destroy(graph);
    if (status == WEFT_OK)
        status = weft_store_load(t->store, &(weft_weight_source){.read = weft_check_read_weight, .user = t->c}, error);
    if (status == WEFT_OK) status = weft_check_write_states(t->c, &all, t->store, error);
    return status;
}

/* Runs a plan of one node to find how many nodes there is time for. Then warms up and times a plan of that many nodes. */
static weft_status run_case(timing *t, weft_bench_result *result, weft_error *error) {
    const double ns = t->b->options.seconds * 1e9;
    size_t n_nodes = most_nodes(t->b, t->c);
    uint64_t own_bytes = 0;
    weft_status status = make_store(t, n_nodes, result, &own_bytes, error);
    if (status == WEFT_OK) status = make_plan(t, 1, error);
    for (int i = 0; i < 2 && status == WEFT_OK; i++) status = run_steps(t, 1, 1, 0, error);
    if (status != WEFT_OK) return status;
    double step = t->samples[0] + 1, fit = ns / 2 / step;
    if (fit < (double)n_nodes) n_nodes = fit < 1 ? 1 : (size_t)fit;
    if (n_nodes > 1) {
        status = make_plan(t, n_nodes, error);
        if (status == WEFT_OK) status = run_steps(t, N_SLOTS, 1, (uint64_t)(ns / 5), error);
        if (status != WEFT_OK) return status;
        step = median(t) + 1;
    }
    double batch = ns / MAX_ROUNDS / step;
    status = run_steps(t, step < LONG_STEP ? N_SLOTS : 1, batch < 1 ? 1 : (uint64_t)batch, (uint64_t)ns, error);
    if (status != WEFT_OK) return status;
    double us = 1e-3 / (double)n_nodes;
    result->us_median = median(t) * us;
    result->us_min = t->samples[0] * us;
    result->us_max = t->samples[t->n_samples - 1] * us;
    result->n_rounds = (int32_t)t->n_samples;
    result->n_nodes = (int32_t)n_nodes;
    result->own_bytes = own_bytes * n_nodes;
    return WEFT_OK;
}

static weft_status time_case(weft_check_run *run, weft_check_case *c, weft_error *error) {
    bench *b = run->user;
    timing t = {.b = b, .c = c};
    weft_error local = {.status = WEFT_OK};
    weft_bench_result result = {.op = c->op, .name = c->name};
    weft_status status = go_on(b, &local);
    if (status == WEFT_OK && c->too_large)
        status = weft_fail(&local, WEFT_UNSUPPORTED, "its tensors need more than %.0f MiB, the limit for a case",
                           (double)b->options.memory / 0x1p20);
    if (status == WEFT_OK && !weft_check_ready(c))
        status = weft_fail(&local, WEFT_OUT_OF_MEMORY, "no memory for the data of %s", c->name);
    if (status == WEFT_OK) status = run_case(&t, &result, &local);
    weft_plan_destroy(t.plan);
    weft_store_destroy(t.store);
    if (weft_check_is_fatal(status)) return weft_fail(error, status, "%s", local.message);
    result.kernel = c->kernel;
    result.skipped = status == WEFT_OK ? NULL : local.message;
    b->done++;
    status = b->report ? b->report(b->user, &result) : WEFT_OK;
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the benchmark was ended by its report function");
}

static weft_status set_options(bench *b, const weft_bench_options *options, weft_error *error) {
    if (options) b->options = *options;
    weft_bench_options *o = &b->options;
    weft_status status = weft_require_zero("options.reserved", o->reserved, sizeof o->reserved, error);
    if (status != WEFT_OK) return status;
    if (!(o->seconds >= 0 && o->seconds <= 3600))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a case is timed for 0 to 3600 seconds, not %g", o->seconds);
    if (o->seconds == 0) o->seconds = DEFAULT_SECONDS;
    if (o->memory == 0) o->memory = DEFAULT_MEMORY;
    weft_device_info info;
    status = weft_device_describe(b->device, &info, error);
    if (status == WEFT_OK && info.memory_free / 2 != 0 && o->memory > info.memory_free / 2) o->memory = info.memory_free / 2;
    return status;
}

weft_status weft_bench_ops(weft_device *device, const weft_bench_options *options,
                           weft_status (*report)(void *user, const weft_bench_result *result), void *user, weft_error *error) {
    bench b = {.device = device, .report = report, .user = user};
    if (!device) return weft_fail(error, WEFT_INVALID_ARGUMENT, "no device to time");
    weft_status status = set_options(&b, options, error);
    if (status != WEFT_OK) return status;
    weft_runtime *runtime = weft_device_runtime(device);
    weft_check_run *run = weft_allocate(runtime, sizeof *run);
    if (!run) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a benchmark");
    *run = (weft_check_run){.device = device,
                            .op = b.options.op,
                            .type = b.options.type,
                            .name = b.options.name,
                            .size = b.options.quick ? WEFT_CHECK_QUICK : WEFT_CHECK_LARGE,
                            .precision = b.options.precision,
                            .seed = 1,
                            .timed = true,
                            .memory = b.options.memory,
                            .user = &b};
    status = weft_check_walk(run, error);
    b.total = run->n_cases;
    run->end = time_case;
    if (status == WEFT_OK) status = weft_check_walk(run, error);
    weft_release(runtime, run);
    return status;
}
