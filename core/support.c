#include <stdio.h>

#include "core/query.h"

weft_runtime *weft_device_runtime(const weft_device *device) {
    return device ? device->runtime : NULL;
}

weft_status weft_graph_support(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                               weft_node_support *support, weft_error *error) {
    if (!graph || !device || !support) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph, a device and a place are needed");
    if (index >= graph->n_nodes || graph->nodes[index].op == WEFT_OP_NONE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "node %zu is not an operation of this graph", index);
    weft_query query;
    weft_support answer;
    weft_query_make(graph, &graph->nodes[index], precision, &query);
    weft_query_ask(device, &query, &answer);
    *support = (weft_node_support){.supported = answer.supported, .kernel = answer.name ? answer.name : ""};
    snprintf(support->reason, sizeof support->reason, "%.*s", (int)sizeof answer.reason - 1, answer.reason);
    return WEFT_OK;
}
