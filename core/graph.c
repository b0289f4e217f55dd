#include "core/graph.h"

#include <string.h>

weft_status weft_graph_create(weft_runtime *runtime, weft_graph **graph, weft_error *error) {
    if (!runtime || !graph) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph needs a runtime and a place for the handle");
    weft_graph *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a graph");
    made->runtime = runtime;
    *graph = made;
    return WEFT_OK;
}

void weft_graph_destroy(weft_graph *graph) {
    if (!graph) return;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        weft_release(graph->runtime, graph->nodes[i].params);
        weft_release(graph->runtime, graph->nodes[i].slice);
    }
    weft_release(graph->runtime, graph->nodes);
    weft_release(graph->runtime, graph->values);
    weft_release(graph->runtime, graph->leaf_slots);
    weft_release(graph->runtime, graph);
}

weft_status weft_graph_check_value(const weft_graph *graph, weft_value value, weft_error *error) {
    if (!graph) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph is needed");
    if (value >= 0 && (size_t)value < graph->n_values) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no value %d: the graph has %zu", value, graph->n_values);
}

weft_status weft_graph_output(weft_graph *graph, weft_value value, weft_error *error) {
    weft_status status = weft_graph_check_value(graph, value, error);
    if (status != WEFT_OK) return status;
    const weft_core_value *v = &graph->values[value];
    const weft_core_node *node = &graph->nodes[v->node];
    if (node->op == WEFT_OP_NONE || v->state != WEFT_NONE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "value %d (%s) cannot be a result: it is a leaf or a state, copy it first",
                         value, node->name);
    if (graph->n_outputs == WEFT_MAX_GRAPH_OUTPUTS)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the graph is full: it can have at most %d results", WEFT_MAX_GRAPH_OUTPUTS);
    graph->outputs[graph->n_outputs++] = value;
    return WEFT_OK;
}

weft_status weft_graph_tensor(const weft_graph *graph, weft_value value, weft_tensor *tensor, weft_error *error) {
    if (!tensor) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a place for the tensor is needed");
    weft_status status = weft_graph_check_value(graph, value, error);
    if (status == WEFT_OK) *tensor = graph->values[value].tensor;
    return status;
}

size_t weft_graph_node_count(const weft_graph *graph) {
    return graph ? graph->n_nodes : 0;
}

weft_status weft_graph_node(const weft_graph *graph, size_t index, weft_node *node, weft_error *error) {
    if (!graph || !node) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph and a place for the node are needed");
    if (index >= graph->n_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no node %zu: the graph has %zu", index, graph->n_nodes);
    const weft_core_node *from = &graph->nodes[index];
    *node = (weft_node){.op = from->op,
                        .leaf = from->leaf,
                        .name = from->name,
                        .params = from->params,
                        .params_size = from->params_size,
                        .slice = from->slice};
    memcpy(node->inputs, from->inputs, sizeof node->inputs);
    memcpy(node->outputs, from->outputs, sizeof node->outputs);
    return WEFT_OK;
}
