#include "core/cost.h"

#include "core/expect.h"
#include "core/query.h"

void weft_graph_cost(const weft_graph *graph, const weft_core_node *node, uint64_t *operations, uint64_t *bytes) {
    weft_op_tensors tensors = {0};
    weft_tensor outputs[WEFT_MAX_OUTPUTS] = {0};
    *operations = *bytes = 0;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if (node->inputs[i] == WEFT_NONE) continue;
        tensors.inputs[i] = &graph->values[node->inputs[i]].tensor;
        tensors.leaves[i] = weft_graph_leaf(graph, node->inputs[i]);
        if (tensors.leaves[i] != WEFT_LEAF_STATE) *bytes = weft_sum(*bytes, weft_tensor_bytes(tensors.inputs[i]));
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (node->outputs[i] == WEFT_NONE) continue;
        outputs[i] = graph->values[node->outputs[i]].tensor;
        if (graph->values[node->outputs[i]].state == WEFT_NONE) *bytes = weft_sum(*bytes, weft_tensor_bytes(&outputs[i]));
    }
    const weft_op_rules *rules = weft_op_get(node->op)->rules;
    if (rules->cost) rules->cost(&tensors, node->params, outputs, operations, bytes);
}

weft_status weft_graph_node_cost(const weft_graph *graph, size_t index, uint64_t *operations, uint64_t *bytes, weft_error *error) {
    if (!graph || !operations || !bytes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a graph and places for operations and bytes are needed");
    if (index >= graph->n_nodes)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no node %zu: the graph has %zu", index, graph->n_nodes);
    *operations = *bytes = 0;
    if (graph->nodes[index].op != WEFT_OP_NONE) weft_graph_cost(graph, &graph->nodes[index], operations, bytes);
    return WEFT_OK;
}
