/* Finds the op, layer, kernel and node that make a device's result wrong: the oracle computes some nodes, and the device the
 * others. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check/model/walk.h"
#include "check/op.h"

/* An op and a layer are named only if without them no more than this share of the error is left. */
#define OP_REMAINDER 0.5
#define LAYER_REMAINDER 0.1

/* The data of each value of the graph; NULL: a weight, or not computed. */
typedef struct data_table {
    void **data;
    bool *borrowed; /* from another table */
} data_table;

typedef struct bisection {
    weft_check_script script;
    weft_device *device;
    weft_graph *graph; /* of the first step, fused for the device */
    weft_check_index index;
    weft_node_support *kernels; /* of each node */
    data_table given, oracle, own, mixed;
    bool *swapped;  /* for each node */
    size_t chooser; /* the node that chooses tokens; n_nodes: none */
    weft_value end; /* the value that is compared */
    weft_status (*report)(void *user, const weft_check_swap *swap);
    void *user;
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    uint64_t done, total;
    weft_check_bisect_summary summary;
} bisection;

static weft_status no_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the values of a step");
}

/* ---- Tables ---- */

static bool make_table(bisection *b, data_table *table) {
    table->data = weft_allocate(b->script.runtime, (b->index.n_values + 1) * sizeof *table->data);
    table->borrowed = weft_allocate(b->script.runtime, (b->index.n_values + 1) * sizeof *table->borrowed);
    return table->data && table->borrowed;
}

static void clear_table(bisection *b, data_table *table) {
    for (size_t i = 0; table->data && table->borrowed && i < b->index.n_values; i++) {
        if (!table->borrowed[i]) weft_release(b->script.runtime, table->data[i]);
        table->data[i] = NULL;
        table->borrowed[i] = false;
    }
}

static void release_table(bisection *b, data_table *table) {
    clear_table(b, table);
    weft_release(b->script.runtime, table->data);
    weft_release(b->script.runtime, table->borrowed);
}

/* ---- One node ---- */

/* What a value is in a graph of one node. */
static weft_leaf leaf_kind(const bisection *b, weft_value value) {
    const weft_node *from = &b->index.nodes[b->index.producers[value]];
    if (from->op == WEFT_OP_NONE) return from->leaf;
    return weft_check_earlier_version(&b->index, value) == WEFT_NONE ? WEFT_LEAF_INPUT : WEFT_LEAF_STATE;
}

static weft_status add_input(const bisection *b, const data_table *values, weft_value value, size_t port, weft_check_case *c,
                             weft_error *error) {
    weft_tensor tensor;
    weft_leaf leaf = leaf_kind(b, value);
    weft_weight_source source = weft_model_source(b->script.model);
    weft_status status = weft_graph_tensor(b->graph, value, &tensor, error);
    if (status != WEFT_OK) return status;
    weft_check_input *input = weft_check_declare(c, port, leaf, &tensor);
    if (!weft_check_ready(c)) return no_memory(error);
    size_t bytes = (size_t)weft_tensor_bytes(&tensor);
    if (leaf == WEFT_LEAF_WEIGHT) return weft_graph_read_weight(b->graph, value, &source, input->data, bytes, error);
    memcpy(input->data, values->data[value] ? values->data[value] : b->given.data[value], bytes);
    return WEFT_OK;
}

static weft_status make_case(const bisection *b, const data_table *values, size_t index, weft_check_case *c, weft_error *error) {
    const weft_node *node = &b->index.nodes[index];
    weft_status status = WEFT_OK;
    *c = (weft_check_case){
        .runtime = b->script.runtime, .op = node->op, .precision = b->script.engine.precision, .node = node->name};
    snprintf(c->name, sizeof c->name, "%s", node->name);
    if (node->params_size > 0) weft_check_params(c, node->params, node->params_size);
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++)
        if (node->inputs[i] != WEFT_NONE) status = add_input(b, values, node->inputs[i], i, c, error);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK; i++) {
        weft_tensor tensor;
        int32_t state = weft_check_state_port(node->op, i);
        if (node->outputs[i] == WEFT_NONE) continue;
        status = weft_graph_tensor(b->graph, node->outputs[i], &tensor, error);
        if (status != WEFT_OK) break;
        if (state >= 0)
            weft_check_state_output(c, i, (size_t)state);
        else
            weft_check_declare_output(c, i, &tensor);
    }
    c->type = weft_check_weight_type(c);
    return status == WEFT_OK && !weft_check_ready(c) ? no_memory(error) : status;
}

/* Makes the oracle's values the case's result. */
static void take_oracle(weft_check_case *c) {
    weft_check_oracle(c);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && weft_check_ready(c); i++) {
        weft_check_output *output = &c->outputs[i];
        if (!output->present) continue;
        if (output->words) memcpy(output->result, output->words, (size_t)output->bytes);
        if (!output->oracle) continue;
        weft_check_input as_input = {.tensor = output->tensor, .data = output->result};
        if (output->state >= 0) memcpy(output->result, c->inputs[output->state].data, (size_t)output->bytes);
        for (int64_t j = 0; j < output->n_row * output->n_rows; j++)
            if (output->state < 0 || !isnan(output->oracle[j])) weft_check_set(&as_input, j, output->oracle[j]);
    }
}

static weft_status keep_results(bisection *b, const weft_node *node, const weft_check_case *c, data_table *into,
                                weft_error *error) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (!c->outputs[i].present) continue;
        void *data = weft_allocate(b->script.runtime, (size_t)c->outputs[i].bytes);
        if (!data) return no_memory(error);
        memcpy(data, c->outputs[i].result, (size_t)c->outputs[i].bytes);
        into->data[node->outputs[i]] = data;
    }
    return WEFT_OK;
}

/* Computes a node from the values of a table, to which its results are added. */
static weft_status run_node(bisection *b, size_t index, bool oracle, data_table *values, weft_error *error) {
    weft_check_case c;
    bool unstable;
    weft_status status = make_case(b, values, index, &c, error);
    if (status == WEFT_OK && oracle) take_oracle(&c);
    if (status == WEFT_OK && !oracle) status = weft_check_execute(&c, b->device, false, &unstable, error);
    if (status == WEFT_OK && !weft_check_ready(&c)) status = no_memory(error);
    if (status == WEFT_OK) status = keep_results(b, &b->index.nodes[index], &c, values, error);
    weft_check_free(&c);
    b->done++;
    if (status == WEFT_OK && b->progress && !b->progress(b->progress_user, b->done < b->total ? b->done : b->total, b->total))
        return weft_fail(error, WEFT_CANCELLED, "the search for the fault was ended");
    return status;
}

/* Whether the node that chooses tokens fails by itself, from the oracle's values. */
static weft_status judge_chooser(bisection *b, bool *failed, weft_error *error) {
    weft_check_case c;
    weft_check_result result = {0};
    bool unstable = false;
    *failed = false;
    if (b->chooser == b->index.n_nodes) return WEFT_OK;
    weft_status status = make_case(b, &b->oracle, b->chooser, &c, error);
    if (status == WEFT_OK) weft_check_oracle(&c);
    if (status == WEFT_OK && !weft_check_ready(&c)) status = no_memory(error);
    if (status == WEFT_OK) status = weft_check_execute(&c, b->device, false, &unstable, error);
    if (status == WEFT_OK) *failed = weft_check_judge(&c, &result) || unstable;
    weft_check_free(&c);
    return status;
}

/* ---- Whole runs ---- */

static bool is_run(const bisection *b, size_t index) {
    return b->index.nodes[index].op != WEFT_OP_NONE && index != b->chooser;
}

static weft_status run_all(bisection *b, bool oracle, data_table *values, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < b->index.n_nodes && status == WEFT_OK; i++)
        if (is_run(b, i)) status = run_node(b, i, oracle, values, error);
    return status;
}

/* Whether all inputs of a node are those of the device's own run. */
static bool is_unchanged(const bisection *b, const weft_node *node) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        weft_value value = node->inputs[i];
        if (value != WEFT_NONE && b->own.data[value] && !b->mixed.borrowed[value]) return false;
    }
    return true;
}

/* Runs the nodes that are swapped on the oracle, and those that depend on them on the device. */
static weft_status run_mixed(bisection *b, weft_error *error) {
    weft_status status = WEFT_OK;
    clear_table(b, &b->mixed);
    for (size_t i = 0; i < b->index.n_nodes && status == WEFT_OK; i++) {
        const weft_node *node = &b->index.nodes[i];
        if (!is_run(b, i)) continue;
        if (b->swapped[i] || !is_unchanged(b, node)) {
            status = run_node(b, i, b->swapped[i], &b->mixed, error);
            continue;
        }
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++) {
            if (node->outputs[j] == WEFT_NONE) continue;
            b->mixed.data[node->outputs[j]] = b->own.data[node->outputs[j]];
            b->mixed.borrowed[node->outputs[j]] = true;
        }
    }
    return status;
}

static weft_status distance(const bisection *b, const data_table *values, double *nmse, weft_error *error) {
    weft_tensor tensor;
    weft_status status = weft_graph_tensor(b->graph, b->end, &tensor, error);
    if (status != WEFT_OK) return status;
    const float *expected = b->oracle.data[b->end], *own = values->data[b->end];
    int64_t n_rows = weft_check_real_rows(&b->script.steps[0], tensor.shape[1] * tensor.shape[2] * tensor.shape[3]);
    double off = 0.0, power = 0.0;
    for (int64_t i = 0; i < n_rows * tensor.shape[0]; i++) {
        off += ((double)own[i] - (double)expected[i]) * ((double)own[i] - (double)expected[i]);
        power += (double)expected[i] * (double)expected[i];
    }
    *nmse = off == 0.0 ? 0.0 : isfinite(off / power) ? off / power : INFINITY;
    return WEFT_OK;
}

/* ---- Swaps ---- */

static bool belongs(const bisection *b, const weft_check_swap *swap, size_t index) {
    const weft_node *node = &b->index.nodes[index];
    int32_t layer = weft_check_layer_of(node->name);
    if (!is_run(b, index)) return false;
    switch (swap->kind) {
    case WEFT_CHECK_SWAP_OP:
        return node->op == swap->op;
    case WEFT_CHECK_SWAP_LAYER:
        return layer == swap->layer;
    case WEFT_CHECK_SWAP_KERNEL:
        return node->op == swap->op && b->kernels[index].number == swap->kernel;
    default:
        return strcmp(node->name, swap->name) == 0;
    }
}

/* The swap of this kind that node `index` belongs to. */
static weft_check_swap swap_of(const bisection *b, weft_check_swap_kind kind, size_t index) {
    const weft_node *node = &b->index.nodes[index];
    weft_check_swap swap = {
        .kind = kind, .op = node->op, .layer = weft_check_layer_of(node->name), .kernel = b->kernels[index].number};
    swap.name = kind == WEFT_CHECK_SWAP_OP       ? weft_op_name(node->op)
                : kind == WEFT_CHECK_SWAP_LAYER  ? "layer"
                : kind == WEFT_CHECK_SWAP_KERNEL ? b->kernels[index].kernel
                                                 : node->name;
    if (kind == WEFT_CHECK_SWAP_LAYER) swap.op = WEFT_OP_NONE;
    return swap;
}

static weft_status run_swap(bisection *b, weft_check_swap *swap, weft_error *error) {
    for (size_t i = 0; i < b->index.n_nodes; i++) {
        b->swapped[i] = belongs(b, swap, i);
        swap->n_nodes += b->swapped[i] ? 1 : 0;
    }
    weft_status status = run_mixed(b, error);
    if (status == WEFT_OK) status = distance(b, &b->mixed, &swap->nmse, error);
    if (status == WEFT_OK && b->report) {
        status = b->report(b->user, swap);
        if (status != WEFT_OK) weft_fail(error, status, "the search for the fault was ended");
    }
    return status;
}

static bool is_first(const bisection *b, const weft_check_swap *swap, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (belongs(b, swap, i)) return false;
    return true;
}

/* Runs each swap of a kind; of nodes only those of the op and layer in `within`. `best` receives the one that leaves least. */
static weft_status run_kind(bisection *b, weft_check_swap_kind kind, const weft_check_bisect_summary *within, weft_check_swap *best,
                            weft_error *error) {
    weft_status status = WEFT_OK;
    best->nmse = INFINITY;
    best->name = "";
    for (size_t i = 0; i < b->index.n_nodes && status == WEFT_OK; i++) {
        weft_check_swap swap = swap_of(b, kind, i);
        if (!is_run(b, i) || !is_first(b, &swap, i)) continue;
        if (within && (swap.op != within->op || swap.layer != within->layer)) continue;
        status = run_swap(b, &swap, error);
        if (status == WEFT_OK && (swap.nmse < best->nmse || !best->name[0])) *best = swap;
    }
    return status;
}

static size_t count_swaps(const bisection *b) {
    size_t count = 0;
    for (size_t i = 0; i < b->index.n_nodes; i++)
        for (int kind = WEFT_CHECK_SWAP_OP; kind <= WEFT_CHECK_SWAP_KERNEL; kind++) {
            weft_check_swap swap = swap_of(b, (weft_check_swap_kind)kind, i);
            count += is_run(b, i) && is_first(b, &swap, i) ? 1 : 0;
        }
    return count;
}

static void name_chooser(bisection *b) {
    weft_check_bisect_summary *summary = &b->summary;
    const weft_node *node = &b->index.nodes[b->chooser];
    summary->op = node->op;
    summary->layer = -1;
    summary->kernel = b->kernels[b->chooser].number;
    snprintf(summary->kernel_name, sizeof summary->kernel_name, "%s", b->kernels[b->chooser].kernel);
    snprintf(summary->node, sizeof summary->node, "%s", node->name);
}

static weft_status find_fault(bisection *b, weft_error *error) {
    weft_check_bisect_summary *summary = &b->summary;
    weft_check_swap op = {0}, layer = {0}, kernel = {0}, node = {0};
    bool chooser_failed = false;
    weft_status status = run_all(b, true, &b->oracle, error);
    if (status == WEFT_OK) status = run_all(b, false, &b->own, error);
    if (status == WEFT_OK) status = distance(b, &b->own, &summary->nmse, error);
    if (status == WEFT_OK) status = judge_chooser(b, &chooser_failed, error);
    if (status == WEFT_OK) status = run_kind(b, WEFT_CHECK_SWAP_OP, NULL, &op, error);
    if (status == WEFT_OK) status = run_kind(b, WEFT_CHECK_SWAP_LAYER, NULL, &layer, error);
    if (status == WEFT_OK) status = run_kind(b, WEFT_CHECK_SWAP_KERNEL, NULL, &kernel, error);
    bool over = !(summary->nmse <= summary->nmse_limit);
    summary->layer = -2;
    summary->failed = over || chooser_failed;
    if (status != WEFT_OK || !summary->failed) return status;
    if (!over) {
        name_chooser(b);
        return WEFT_OK;
    }
    if (!(op.nmse <= OP_REMAINDER * summary->nmse)) return WEFT_OK;
    summary->op = op.op;
    summary->kernel = kernel.kernel;
    snprintf(summary->kernel_name, sizeof summary->kernel_name, "%s", kernel.name);
    if (!(layer.nmse <= LAYER_REMAINDER * summary->nmse)) return WEFT_OK;
    summary->layer = layer.layer;
    status = run_kind(b, WEFT_CHECK_SWAP_NODE, summary, &node, error);
    snprintf(summary->node, sizeof summary->node, "%s", node.name);
    return status;
}

/* ---- Preparing ---- */

/* Step inputs, and states as they are before the first step: caches are NaN, so that reading what was not written shows. */
static weft_status fill_leaf(bisection *b, const weft_node *node, weft_error *error) {
    weft_value value = node->outputs[0];
    weft_tensor tensor;
    weft_status status = weft_graph_tensor(b->graph, value, &tensor, error);
    if (status != WEFT_OK || node->leaf == WEFT_LEAF_WEIGHT) return status;
    size_t bytes = (size_t)weft_tensor_bytes(&tensor);
    void *data = b->given.data[value] = weft_allocate(b->script.runtime, bytes);
    if (!data) return no_memory(error);
    if (node->leaf == WEFT_LEAF_INPUT)
        weft_check_script_fill(&b->script, &b->script.steps[0], node->name, &tensor, false, data);
    else if (tensor.type != WEFT_I32) {
        weft_check_input as_input = {.tensor = tensor, .data = data};
        int64_t n = tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
        for (int64_t i = 0; i < n; i++) weft_check_set(&as_input, i, (double)NAN);
    }
    return WEFT_OK;
}

/* The limits, the kernels, and the value that is compared: the chooser's input, or the last result. */
static weft_status examine_nodes(bisection *b, weft_error *error) {
    weft_status status = WEFT_OK;
    b->chooser = b->index.n_nodes;
    for (size_t i = 0; i < b->index.n_nodes && status == WEFT_OK; i++) {
        const weft_node *node = &b->index.nodes[i];
        weft_type type;
        if (node->op == WEFT_OP_NONE) {
            status = fill_leaf(b, node, error);
            continue;
        }
        status = weft_graph_support(b->graph, i, b->device, b->script.engine.precision, &b->kernels[i], error);
        if (status == WEFT_OK && !b->kernels[i].supported)
            status = weft_fail(error, WEFT_UNSUPPORTED, "%s: %s", node->name, b->kernels[i].reason);
        if (status == WEFT_OK) status = weft_check_matrix_type(b->graph, node, &type, error);
        if (status != WEFT_OK) break;
        if (weft_check_op_get(node->op)->chooses) {
            b->chooser = i;
            b->end = node->inputs[0];
            break;
        }
        b->summary.nmse_limit += weft_check_limits_of(node->op, type, b->script.engine.precision).nmse;
        if (weft_check_state_port(node->op, 0) < 0) b->end = node->outputs[0];
    }
    return status;
}

static weft_status prepare(bisection *b, weft_error *error) {
    weft_graph *graph = NULL;
    weft_runtime *runtime = b->script.runtime;
    weft_status status = weft_check_script_graph(&b->script, &b->script.steps[0], &graph, error);
    if (status == WEFT_OK) status = weft_graph_fuse(graph, b->device, b->script.engine.precision, &b->graph, error);
    weft_graph_destroy(graph);
    if (status == WEFT_OK) status = weft_check_index_create(runtime, b->graph, &b->index, error);
    if (status != WEFT_OK) return status;
    b->kernels = weft_allocate(runtime, b->index.n_nodes * sizeof *b->kernels);
    b->swapped = weft_allocate(runtime, b->index.n_nodes * sizeof *b->swapped);
    bool made = b->kernels && b->swapped && make_table(b, &b->given) && make_table(b, &b->oracle) && make_table(b, &b->own) &&
                make_table(b, &b->mixed);
    if (!made) return no_memory(error);
    status = examine_nodes(b, error);
    b->total = (uint64_t)b->index.n_nodes * (2 + count_swaps(b) / 2);
    return status;
}

static void release(bisection *b) {
    data_table *tables[] = {&b->mixed, &b->own, &b->oracle, &b->given};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) release_table(b, tables[i]);
    weft_release(b->script.runtime, b->kernels);
    weft_release(b->script.runtime, b->swapped);
    weft_check_index_release(&b->index);
    weft_graph_destroy(b->graph);
    weft_check_script_release(&b->script);
}

weft_status weft_check_bisect(weft_model *model, weft_device *device, const weft_check_model_options *options,
                              weft_status (*report)(void *user, const weft_check_swap *swap), void *user,
                              weft_check_bisect_summary *summary, weft_error *error) {
    const weft_check_model_options none = {.precision = WEFT_FAST};
    if (!options) options = &none;
    if (!model || !device || weft_device_runtime(device) != weft_model_runtime(model))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model and a device of its runtime are needed");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    bisection b = {
        .device = device, .report = report, .user = user, .progress = options->progress, .progress_user = options->progress_user};
    status = weft_check_script_create(model, weft_model_runtime(model), options, &b.script, error);
    if (status != WEFT_OK) return status;
    status = prepare(&b, error);
    if (status == WEFT_OK) status = find_fault(&b, error);
    release(&b);
    if (status == WEFT_OK && summary) *summary = b.summary;
    return status;
}
