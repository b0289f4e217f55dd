#include "core/fusion.h"

#include <string.h>

#include "core/match.h"
#include "core/query.h"
#include "core/rebuild.h"

/* A pass over a graph. A fused node takes the place of its last part. Its outputs are used only after that place, so the order
 * stays valid for any number of fused nodes. */
typedef struct fusing {
    const weft_graph *graph;
    weft_device *device;
    weft_precision precision;
    weft_pattern pattern;
    size_t n_parts; /* the size of the matches that this search looks for */
    weft_lists users;
    bool *taken;            /* is part of a match */
    bool *keep;             /* is in the new graph: not a part, or the last one */
    weft_core_node **fused; /* what replaces it, or NULL */
    weft_status status;     /* of the search, which stops where it cannot go on */
} fusing;

static bool is_part(const weft_match *match, size_t node) {
    for (size_t i = 0; i < WEFT_MAX_PATTERN; i++)
        if (match->nodes[i] == (int32_t)node) return true;
    return false;
}

static bool is_result(const weft_graph *graph, weft_value value) {
    for (size_t i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == value) return true;
    return false;
}

static bool is_bound(const fusing *f, const weft_match *match, weft_symbol_role role, weft_value value) {
    for (size_t i = 0; i < f->pattern.n_symbols; i++)
        if (f->pattern.symbols[i].role == role && match->values[i] == value) return true;
    return false;
}

/* Checks that only the parts use the intermediates, and that the fused node's outputs are used only after its place. */
static bool outputs_fit(const fusing *f, const weft_match *match, const weft_core_node *part, size_t place) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        weft_value value = part->outputs[i];
        if (value == WEFT_NONE) continue;
        bool given = is_bound(f, match, WEFT_SYMBOL_OUTPUT, value);
        if (!given && (is_result(f->graph, value) || f->graph->values[value].state != WEFT_NONE)) return false;
        for (uint32_t j = f->users.first[value]; j < f->users.first[value + 1]; j++) {
            size_t user = f->users.items[j];
            if (given ? user <= place : !is_part(match, user)) return false;
        }
    }
    return true;
}

/* Checks that no part makes an input, and that no node before the fused node's place replaces a state version that it reads. */
static bool inputs_fit(const fusing *f, const weft_match *match, size_t place) {
    for (size_t i = 0; i < f->pattern.n_symbols; i++) {
        if (f->pattern.symbols[i].role != WEFT_SYMBOL_INPUT || match->values[i] < 0) continue;
        const weft_core_value *value = &f->graph->values[match->values[i]];
        if (is_part(match, (size_t)value->node)) return false;
        if (value->superseded == WEFT_NONE) continue;
        size_t writer = (size_t)f->graph->values[value->superseded].node;
        if (!is_part(match, writer) && writer <= place) return false;
    }
    return true;
}

/* The fused node, but for its parameters. */
static bool make_node(const fusing *f, const weft_match *match, size_t place, weft_core_node *node) {
    memset(node, 0, sizeof *node);
    node->op = f->pattern.op;
    memcpy(node->name, f->graph->nodes[place].name, sizeof node->name);
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) node->inputs[i] = WEFT_NONE;
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) node->outputs[i] = WEFT_NONE;
    for (size_t i = 0; i < f->pattern.n_symbols; i++) {
        const weft_symbol *symbol = &f->pattern.symbols[i];
        if (symbol->role == WEFT_SYMBOL_INNER) continue;
        if (match->values[i] < 0 && !symbol->optional) return false;
        weft_value *ports = symbol->role == WEFT_SYMBOL_INPUT ? node->inputs : node->outputs;
        ports[symbol->port] = match->values[i] < 0 ? WEFT_NONE : match->values[i];
    }
    return true;
}

/* Whether the op's rules allow the node and give the outputs that the parts gave. */
static bool rules_allow(const fusing *f, const weft_core_node *node) {
    const weft_op_row *row = weft_op_get(node->op);
    weft_op_tensors tensors = {0};
    weft_tensor outputs[WEFT_MAX_OUTPUTS] = {0};
    char name[WEFT_NAME_SIZE];
    bool optional;
    for (size_t i = 0; weft_op_port(row->inputs, i, name, sizeof name, &optional); i++) {
        if (node->inputs[i] == WEFT_NONE && !optional) return false;
        if (node->inputs[i] == WEFT_NONE) continue;
        tensors.inputs[i] = &f->graph->values[node->inputs[i]].tensor;
        tensors.leaves[i] = weft_graph_leaf(f->graph, node->inputs[i]);
    }
    if (row->rules->infer(&tensors, node->params, outputs, NULL) != WEFT_OK) return false;
    for (size_t i = 0; weft_op_port(row->outputs, i, name, sizeof name, &optional); i++) {
        if (weft_op_state_input(row, i) >= 0) continue;
        if ((node->outputs[i] == WEFT_NONE) != (outputs[i].shape[0] == 0)) return false;
        if (node->outputs[i] != WEFT_NONE &&
            memcmp(outputs[i].shape, f->graph->values[node->outputs[i]].tensor.shape, sizeof outputs[i].shape) != 0)
            return false;
    }
    return true;
}

static bool parameters_fit(const fusing *f, const weft_match *match, weft_core_node *node) {
    if (!f->pattern.fusion->merge) return true;
    const weft_core_node *found[WEFT_MAX_PATTERN];
    for (size_t i = 0; i < WEFT_MAX_PATTERN; i++) found[i] = match->nodes[i] < 0 ? NULL : &f->graph->nodes[match->nodes[i]];
    return f->pattern.fusion->merge(found, node->params);
}

static bool device_supports(const fusing *f, const weft_core_node *node) {
    weft_phase query;
    weft_support support;
    weft_query_make(f->graph, node, f->precision, &query);
    weft_query_ask(f->device, &query, &support);
    return support.supported;
}

static void release_node(weft_runtime *runtime, weft_core_node *node) {
    if (node) weft_release(runtime, node->params);
    weft_release(runtime, node);
}

/* Takes a match if everything about it fits. */
static bool accept(void *user, const weft_match *match) {
    fusing *f = user;
    weft_runtime *runtime = f->graph->runtime;
    size_t place = 0, n_parts = 0;
    for (size_t i = 0; i < WEFT_MAX_PATTERN; i++) {
        n_parts += match->nodes[i] >= 0;
        if (match->nodes[i] > (int32_t)place) place = (size_t)match->nodes[i];
    }
    if (n_parts != f->n_parts) return false;
    for (size_t i = 0; i < WEFT_MAX_PATTERN; i++)
        if (match->nodes[i] >= 0 && !outputs_fit(f, match, &f->graph->nodes[match->nodes[i]], place)) return false;
    weft_core_node made;
    if (!inputs_fit(f, match, place) || !make_node(f, match, place, &made)) return false;
    weft_core_node *node = weft_allocate(runtime, sizeof *node);
    made.params_size = weft_op_get(made.op)->rules->params_size;
    made.params = node && made.params_size ? weft_allocate(runtime, made.params_size) : NULL;
    if (!node || (made.params_size && !made.params)) {
        weft_release(runtime, node);
        f->status = WEFT_OUT_OF_MEMORY;
        return true;
    }
    *node = made;
    if (!parameters_fit(f, match, node) || !rules_allow(f, node) || !device_supports(f, node)) {
        release_node(runtime, node);
        return false;
    }
    for (size_t i = 0; i < WEFT_MAX_PATTERN; i++)
        if (match->nodes[i] >= 0) f->taken[match->nodes[i]] = true, f->keep[match->nodes[i]] = false;
    f->keep[place] = true;
    f->fused[place] = node;
    return true;
}

/* Whether a match of the pattern can have `n_parts` nodes: all required nodes and any number of the optional ones. */
static bool can_have(const weft_pattern *pattern, size_t n_parts) {
    size_t n_needed = 0;
    for (size_t i = 0; i < pattern->n_nodes; i++) n_needed += !pattern->fusion->nodes[i].optional;
    return n_needed <= n_parts && n_parts <= pattern->n_nodes;
}

/* Finds the largest matches first, so that a small pattern never takes a part of a large one. */
static weft_status find_all(fusing *f, weft_error *error) {
    for (size_t i = 0; i < f->graph->n_nodes; i++) f->keep[i] = true;
    for (f->n_parts = WEFT_MAX_PATTERN; f->n_parts > 0; f->n_parts--) {
        for (size_t op = 0; op < weft_op_count(); op++) {
            if (!weft_pattern_make((weft_op)op, &f->pattern) || !can_have(&f->pattern, f->n_parts)) continue;
            const weft_matcher matcher = {
                .graph = f->graph, .users = &f->users, .taken = f->taken, .pattern = &f->pattern, .accept = accept, .user = f};
            for (size_t i = 0; i < f->graph->n_nodes && f->status == WEFT_OK; i++) weft_match_at(&matcher, i);
        }
    }
    return f->status == WEFT_OK ? WEFT_OK : weft_fail(error, f->status, "no memory for a fused node");
}

static weft_status fuse(fusing *f, weft_graph **fused, weft_error *error) {
    weft_runtime *runtime = f->graph->runtime;
    size_t n = f->graph->n_nodes;
    weft_status status = weft_graph_users(f->graph, &f->users, error);
    if (status != WEFT_OK) return status;
    f->taken = weft_allocate(runtime, n * sizeof *f->taken);
    f->keep = weft_allocate(runtime, n * sizeof *f->keep);
    f->fused = weft_allocate(runtime, n * sizeof *f->fused);
    if (f->taken && f->keep && f->fused)
        status = find_all(f, error);
    else
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to fuse a graph of %zu nodes", n);
    if (status == WEFT_OK) status = weft_graph_rebuild(f->graph, f->keep, (const weft_core_node *const *)f->fused, fused, error);
    for (size_t i = 0; f->fused && i < n; i++) release_node(runtime, f->fused[i]);
    weft_release(runtime, f->fused);
    weft_release(runtime, f->keep);
    weft_release(runtime, f->taken);
    weft_lists_release(runtime, &f->users);
    return status;
}

weft_status weft_graph_fuse(const weft_graph *graph, weft_device *device, weft_precision precision, weft_graph **fused,
                            weft_error *error) {
    if (!graph || !device || !fused) return weft_fail(error, WEFT_INVALID_ARGUMENT, "fusing needs a graph and a device");
    /* Dead nodes go last. So a step without a head fuses its last layer like one with a head, and its keys have the same bits. */
    fusing f = {.graph = graph, .device = device, .precision = precision};
    weft_graph *whole;
    weft_status status = fuse(&f, &whole, error);
    if (status != WEFT_OK) return status;
    status = weft_graph_prune(whole, fused, error);
    weft_graph_destroy(whole);
    return status;
}
