#include "core/order.h"

#include <string.h>

#include "core/op.h"
#include "core/rebuild.h"

void weft_lists_release(weft_runtime *runtime, weft_lists *lists) {
    weft_release(runtime, lists->first);
    weft_release(runtime, lists->items);
    *lists = (weft_lists){0};
}

/* Builds lists in two passes over the same pairs (list, item): the first counts, the second fills. While filling, `first` is
 * shifted by one entry, so that it is correct at the end. */
static bool allocate_counts(const weft_graph *graph, size_t n_lists, weft_lists *lists) {
    *lists = (weft_lists){0};
    lists->first = weft_allocate(graph->runtime, (n_lists + 2) * sizeof *lists->first);
    return lists->first != NULL;
}

static bool allocate_items(const weft_graph *graph, size_t n_lists, weft_lists *lists) {
    for (size_t i = 0; i < n_lists; i++) lists->first[i + 2] += lists->first[i + 1];
    lists->items = weft_allocate(graph->runtime, lists->first[n_lists + 1] * sizeof *lists->items);
    return lists->items != NULL;
}

static void put(weft_lists *lists, size_t list, size_t item) {
    if (lists->items)
        lists->items[lists->first[list + 1]++] = (uint32_t)item;
    else
        lists->first[list + 2]++;
}

static weft_status no_memory(const weft_graph *graph, weft_lists *lists, weft_error *error) {
    weft_lists_release(graph->runtime, lists);
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the order of %zu nodes", graph->n_nodes);
}

static void put_users(const weft_graph *graph, weft_lists *users) {
    for (size_t i = 0; i < graph->n_nodes; i++)
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++)
            if (graph->nodes[i].inputs[j] != WEFT_NONE) put(users, (size_t)graph->nodes[i].inputs[j], i);
}

weft_status weft_graph_users(const weft_graph *graph, weft_lists *users, weft_error *error) {
    weft_lists made;
    if (!allocate_counts(graph, graph->n_values, &made)) return no_memory(graph, &made, error);
    put_users(graph, &made);
    if (!allocate_items(graph, graph->n_values, &made)) return no_memory(graph, &made, error);
    put_users(graph, &made);
    *users = made;
    return WEFT_OK;
}

/* `seen[n]` is 1 plus the last node that was recorded as coming after n. */
static void put_after(const weft_graph *graph, weft_lists *dependencies, uint32_t *seen, size_t node, size_t earlier) {
    if (graph->nodes[earlier].op == WEFT_OP_NONE || earlier == node || seen[earlier] == node + 1) return;
    seen[earlier] = (uint32_t)node + 1;
    put(dependencies, node, earlier);
}

static void put_dependencies(const weft_graph *graph, const weft_lists *users, uint32_t *seen, weft_lists *dependencies) {
    memset(seen, 0, graph->n_nodes * sizeof *seen);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const weft_core_node *node = &graph->nodes[i];
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++) {
            if (node->inputs[j] == WEFT_NONE) continue;
            const weft_core_value *value = &graph->values[node->inputs[j]];
            put_after(graph, dependencies, seen, i, (size_t)value->node);
            bool written = value->superseded != WEFT_NONE && graph->values[value->superseded].node == (int32_t)i;
            if (!written) continue;
            for (uint32_t k = users->first[node->inputs[j]]; k < users->first[node->inputs[j] + 1]; k++)
                put_after(graph, dependencies, seen, i, users->items[k]);
        }
    }
}

weft_status weft_graph_dependencies(const weft_graph *graph, weft_lists *dependencies, weft_error *error) {
    weft_lists users, made;
    weft_status status = weft_graph_users(graph, &users, error);
    if (status != WEFT_OK) return status;
    bool counted = allocate_counts(graph, graph->n_nodes, &made);
    uint32_t *seen = counted ? weft_allocate(graph->runtime, graph->n_nodes * sizeof *seen) : NULL;
    if (seen) {
        put_dependencies(graph, &users, seen, &made);
        if (allocate_items(graph, graph->n_nodes, &made)) put_dependencies(graph, &users, seen, &made);
    }
    weft_release(graph->runtime, seen);
    weft_lists_release(graph->runtime, &users);
    if (!made.items) return no_memory(graph, &made, error);
    *dependencies = made;
    return WEFT_OK;
}

/* A result, or a state version that nothing replaces. */
static bool is_root(const weft_graph *graph, const weft_core_node *node) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (node->outputs[i] == WEFT_NONE) continue;
        const weft_core_value *value = &graph->values[node->outputs[i]];
        if (value->state != WEFT_NONE && value->superseded == WEFT_NONE) return true;
        for (size_t j = 0; j < graph->n_outputs; j++)
            if (graph->outputs[j] == node->outputs[i]) return true;
    }
    return false;
}

void weft_graph_mark_live(const weft_graph *graph, bool *live) {
    memset(live, 0, graph->n_nodes * sizeof *live);
    for (size_t i = graph->n_nodes; i-- > 0;) {
        const weft_core_node *node = &graph->nodes[i];
        if (node->leaf == WEFT_LEAF_INPUT || node->leaf == WEFT_LEAF_STATE || is_root(graph, node)) live[i] = true;
        for (size_t j = 0; live[i] && j < WEFT_MAX_INPUTS; j++)
            if (node->inputs[j] != WEFT_NONE) live[graph->values[node->inputs[j]].node] = true;
    }
}

static void mark_all(const weft_graph *graph, bool *live) {
    for (size_t i = 0; i < graph->n_nodes; i++) live[i] = true;
}

static weft_status copy_marked(const weft_graph *graph, void (*mark)(const weft_graph *graph, bool *live), weft_graph **copy,
                               weft_error *error) {
    bool *live = weft_allocate(graph->runtime, graph->n_nodes * sizeof *live);
    if (!live) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the order of %zu nodes", graph->n_nodes);
    mark(graph, live);
    weft_status status = weft_graph_rebuild(graph, live, NULL, copy, error);
    weft_release(graph->runtime, live);
    return status;
}

weft_status weft_graph_prune(const weft_graph *graph, weft_graph **pruned, weft_error *error) {
    return copy_marked(graph, weft_graph_mark_live, pruned, error);
}

weft_status weft_graph_copy(const weft_graph *graph, weft_graph **copy, weft_error *error) {
    return copy_marked(graph, mark_all, copy, error);
}
