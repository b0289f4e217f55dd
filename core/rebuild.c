#include "core/rebuild.h"

static weft_value mapped(const weft_value *map, weft_value value) {
    return value == WEFT_NONE ? WEFT_NONE : map[value];
}

static weft_status copy_leaf(const weft_graph *from, const weft_core_node *node, weft_graph *to, weft_value *map,
                             weft_error *error) {
    weft_value value = node->outputs[0];
    const weft_tensor *tensor = &from->values[value].tensor;
    switch (node->leaf) {
    case WEFT_LEAF_WEIGHT:
        return node->slice ? weft_graph_weight_slice(to, node->name, tensor, node->slice, &map[value], error)
                           : weft_graph_weight(to, node->name, tensor, &map[value], error);
    case WEFT_LEAF_INPUT:
        return weft_graph_input(to, node->name, tensor, &map[value], error);
    default:
        return weft_graph_state(to, node->name, tensor, &map[value], error);
    }
}

static weft_status copy_node(const weft_core_node *node, weft_graph *to, weft_value *map, weft_error *error) {
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = mapped(map, node->inputs[i]);
    weft_status status = weft_graph_add(to, node->op, node->name, inputs, node->params, node->params_size, outputs, error);
    for (size_t i = 0; status == WEFT_OK && i < WEFT_MAX_OUTPUTS; i++)
        if (node->outputs[i] != WEFT_NONE) map[node->outputs[i]] = outputs[i];
    return status;
}

static weft_status copy_all(const weft_graph *from, const bool *keep, const weft_core_node *const *replacements, weft_graph *to,
                            weft_value *map, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < from->n_nodes && status == WEFT_OK; i++) {
        if (!keep[i]) continue;
        const weft_core_node *node = replacements && replacements[i] ? replacements[i] : &from->nodes[i];
        status = node->op == WEFT_OP_NONE ? copy_leaf(from, node, to, map, error) : copy_node(node, to, map, error);
    }
    for (size_t i = 0; i < from->n_outputs && status == WEFT_OK; i++)
        status = weft_graph_output(to, mapped(map, from->outputs[i]), error);
    return status;
}

weft_status weft_graph_rebuild(const weft_graph *from, const bool *keep, const weft_core_node *const *replacements,
                               weft_graph **rebuilt, weft_error *error) {
    weft_graph *to;
    weft_status status = weft_graph_create(from->runtime, &to, error);
    if (status != WEFT_OK) return status;
    weft_value *map = weft_allocate(from->runtime, from->n_values * sizeof *map);
    if (!map) {
        weft_graph_destroy(to);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to copy a graph of %zu values", from->n_values);
    }
    for (size_t i = 0; i < from->n_values; i++) map[i] = WEFT_NONE;
    status = copy_all(from, keep, replacements, to, map, error);
    weft_release(from->runtime, map);
    if (status == WEFT_OK)
        *rebuilt = to;
    else
        weft_graph_destroy(to);
    return status;
}
