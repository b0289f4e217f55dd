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
    support->reason[sizeof support->reason - 1] = 0; /* a plug-in's text may lack its end */
    if (!support->name) support->name = "";
}

/* The number of columns an op works on is that of its first output. */
weft_use weft_query_use(const weft_graph *graph, const weft_core_node *node, size_t index, weft_precision precision) {
    weft_value output = node->outputs[0];
    return (weft_use){.op = node->op,
                      .input = (uint32_t)index,
                      .n_columns = output == WEFT_NONE ? 1 : graph->values[output].tensor.shape[1],
                      .precision = precision};
}

void weft_query_layout(weft_device *device, const weft_graph *graph, weft_value weight, weft_precision precision,
                       weft_layout *layout) {
    weft_use uses[32]; /* a graph's ops are fewer */
    size_t n_uses = 0;
    *layout = (weft_layout){0};
    if (!device->backend->weight_layout) return;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        for (size_t input = 0; input < WEFT_MAX_INPUTS; input++) {
            if (graph->nodes[i].inputs[input] != weight || graph->nodes[i].op == WEFT_OP_NONE) continue;
            weft_use use = weft_query_use(graph, &graph->nodes[i], input, precision);
            size_t same = 0;
            while (same < n_uses && (uses[same].op != use.op || uses[same].input != use.input)) same++;
            if (same == n_uses && n_uses < sizeof uses / sizeof *uses) uses[n_uses++] = use;
        }
    }
    if (n_uses == 0) return;
    weft_os_mutex_lock(&device->mutex);
    device->backend->weight_layout(device->handle, &graph->values[weight].tensor, uses, n_uses, layout);
    weft_os_mutex_unlock(&device->mutex);
}
