/* Times the op table's cases. A plan has many nodes of the case's op. Each node has its own weights and KV cache, so that processor
 * caches hold as little of them as in a model. Every node overwrites the previous node's result, so the device must run them one
 * after the other. */
#include <string.h>

#include "check/build.h"
#include "check/harness.h"
#include "check/timing.h"

#define MAX_NODES 512                   /* of a plan */
#define OWN_BYTES ((uint64_t)256 << 20) /* of the weights and caches of all nodes of a plan, if they fit */
#define DEFAULT_MEMORY ((uint64_t)1 << 30)

typedef struct bench {
    weft_bench_options options;
    weft_device *device;
    weft_status (*report)(void *user, const weft_bench_result *result);
    void *user;
    uint64_t done, total; /* cases */
} bench;

/* A case on the device. */
typedef struct timed_case {
    const bench *b;
    weft_check_case *c;
    weft_store *store;
} timed_case;

static weft_status go_on(const bench *b, weft_error *error) {
    if (!b->options.progress || b->options.progress(b->options.progress_user, b->done, b->total)) return WEFT_OK;
    return weft_fail(error, WEFT_CANCELLED, "the benchmark was cancelled");
}

static bool load_progress(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return go_on(user, NULL) == WEFT_OK;
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

static weft_status make_plan(void *user, size_t n_nodes, weft_plan **plan, weft_error *error) {
    const timed_case *t = user;
    weft_graph *graph = NULL;
    weft_status status = weft_check_build(t->c, &(weft_check_build_options){.n_nodes = n_nodes, .timed = true}, &graph, error);
    if (status == WEFT_OK) status = weft_plan_create(t->store, graph, plan, error);
    weft_graph_destroy(graph);
    return status;
}

static void fill(void *user, void *const *places) {
    const timed_case *t = user;
    for (size_t i = 0, k = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *input = &t->c->inputs[i];
        if (input->leaf == WEFT_LEAF_INPUT && input->tensor.type == WEFT_I32)
            memcpy(places[k++], input->data, (size_t)weft_tensor_bytes(&input->tensor));
    }
}

static weft_status case_goes_on(void *user, weft_error *error) {
    return go_on(((const timed_case *)user)->b, error);
}

static weft_status make_store(timed_case *t, size_t n_nodes, weft_bench_result *result, uint64_t *own_bytes, weft_error *error) {
    const weft_check_build_options one = {.n_nodes = 1, .timed = true}, all = {.n_nodes = n_nodes, .timed = true};
    const weft_store_options options = {.precision = t->c->precision,
                                        .unpruned = true,
                                        .n_slots = WEFT_CHECK_SLOTS,
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

static weft_status run_case(timed_case *t, weft_bench_result *result, weft_error *error) {
    weft_check_timing timing = {.make_plan = make_plan,
                                .fill = fill,
                                .go_on = case_goes_on,
                                .user = t,
                                .seconds = t->b->options.seconds,
                                .max_nodes = most_nodes(t->b, t->c)};
    uint64_t own_bytes = 0;
    weft_status status = make_store(t, timing.max_nodes, result, &own_bytes, error);
    if (status == WEFT_OK) status = weft_check_time(&timing, error);
    if (status != WEFT_OK) return status;
    result->us_median = timing.us_median;
    result->us_min = timing.us_min;
    result->us_max = timing.us_max;
    result->n_rounds = timing.n_rounds;
    result->n_nodes = (int32_t)timing.n_nodes;
    result->own_bytes = own_bytes * timing.n_nodes;
    return WEFT_OK;
}

static weft_status time_case(weft_check_run *run, weft_check_case *c, weft_error *error) {
    bench *b = run->user;
    timed_case t = {.b = b, .c = c};
    weft_error local = {.status = WEFT_OK};
    weft_bench_result result = {.op = c->op, .name = c->name};
    weft_status status = go_on(b, &local);
    if (status == WEFT_OK && c->too_large)
        status = weft_fail(&local, WEFT_UNSUPPORTED, "its tensors need more than %.0f MiB, the limit for a case",
                           (double)b->options.memory / 0x1p20);
    if (status == WEFT_OK && !weft_check_ready(c))
        status = weft_fail(&local, WEFT_OUT_OF_MEMORY, "no memory for the data of %s", c->name);
    if (status == WEFT_OK) status = run_case(&t, &result, &local);
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
    status = weft_check_seconds(&o->seconds, error);
    if (status != WEFT_OK) return status;
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
