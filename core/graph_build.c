#include "core/graph_build.h"

#include <string.h>

/* Grows an array to hold `needed` items, by doubling. */
static bool grow(weft_runtime *runtime, void **items, size_t *capacity, size_t needed, size_t item_size) {
    if (needed <= *capacity) return true;
    size_t larger = *capacity ? *capacity : 16;
    while (larger < needed) larger *= 2;
    void *moved = weft_reallocate(runtime, *items, *capacity * item_size, larger * item_size);
    if (!moved) return false;
    *items = moved;
    *capacity = larger;
    return true;
}

weft_status weft_graph_reserve(weft_graph *graph, size_t n_values, weft_error *error) {
    if (graph->n_nodes >= WEFT_MAX_NODES)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the graph is full: it can have at most %d nodes", WEFT_MAX_NODES);
    void *nodes = graph->nodes, *values = graph->values;
    bool enough = grow(graph->runtime, &nodes, &graph->node_capacity, graph->n_nodes + 1, sizeof *graph->nodes);
    graph->nodes = nodes;
    enough = enough && grow(graph->runtime, &values, &graph->value_capacity, graph->n_values + n_values, sizeof *graph->values);
    graph->values = values;
    return enough ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for node %zu of a graph", graph->n_nodes);
}

weft_core_node *weft_graph_push_node(weft_graph *graph, weft_op op, const char *name) {
    weft_core_node *node = &graph->nodes[graph->n_nodes++];
    memset(node, 0, sizeof *node);
    node->op = op;
    if (name) memcpy(node->name, name, strlen(name));
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) node->inputs[i] = WEFT_NONE;
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) node->outputs[i] = WEFT_NONE;
    return node;
}

weft_value weft_graph_push_value(weft_graph *graph, int32_t output, const weft_tensor *tensor) {
    weft_value value = (weft_value)graph->n_values++;
    graph->values[value] = (weft_core_value){
        .node = (int32_t)graph->n_nodes - 1, .output = output, .tensor = *tensor, .state = WEFT_NONE, .superseded = WEFT_NONE};
    graph->nodes[graph->n_nodes - 1].outputs[output] = value;
    return value;
}
