#include "core/query.h"

#include <string.h>

weft_leaf weft_graph_leaf(const weft_graph *graph, weft_value value) {
    const weft_core_value *v = &graph->values[value];
    return v->state != WEFT_NONE ? WEFT_LEAF_STATE : graph->nodes[v->node].leaf;
}

static void describe(const weft_graph *graph, const weft_value *values, size_t count, weft_query_tensor *tensors) {
    for (size_t i = 0; i < count; i++) {
        if (values[i] == WEFT_NONE) continue;
        tensors[i].present = true;
        tensors[i].tensor = graph->values[values[i]].tensor;
        tensors[i].leaf = weft_graph_leaf(graph, values[i]);
    }
}

void weft_query_make(const weft_graph *graph, const weft_core_node *node, weft_precision precision, weft_query *query) {
    memset(query, 0, sizeof *query);
    query->op = node->op;
    query->precision = precision;
    query->params = node->params;
    query->params_size = node->params_size;
    describe(graph, node->inputs, WEFT_MAX_INPUTS, query->inputs);
    describe(graph, node->outputs, WEFT_MAX_OUTPUTS, query->outputs);
}

void weft_query_ask(weft_device *device, const weft_query *query, weft_support *support) {
    memset(support, 0, sizeof *support);
    weft_os_mutex_lock(&device->mutex);
    device->backend->supports(device->handle, query, support);
    weft_os_mutex_unlock(&device->mutex);
}
