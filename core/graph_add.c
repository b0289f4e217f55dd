/* weft_graph_add: every rule of a node is checked before anything changes. */
#include <string.h>

#include "core/expect.h"
#include "core/graph_build.h"
#include "core/query.h"
#include "weft/ops/params.h"

static weft_status check_params(const weft_op_row *row, const void *params, size_t params_size, weft_error *error) {
    if (params_size != row->rules->params_size)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %zu bytes of parameters given, but its block has %zu", row->name,
                         params_size, row->rules->params_size);
    if (params_size > 0 && !params) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: the parameters are missing", row->name);
    return WEFT_OK;
}

/* Collects the inputs' tensors. Nothing may read a state version that has been superseded. */
static weft_status check_inputs(const weft_graph *graph, const weft_op_row *row, const weft_value *inputs, weft_op_tensors *tensors,
                                weft_error *error) {
    char name[WEFT_NAME_SIZE];
    bool optional;
    for (size_t i = 0; weft_op_port(row->inputs, i, name, sizeof name, &optional); i++) {
        if (inputs[i] == WEFT_NONE && optional) continue;
        if (inputs[i] == WEFT_NONE) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: input %s is missing", row->name, name);
        weft_error local;
        if (weft_graph_check_value(graph, inputs[i], &local) != WEFT_OK)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: input %s: %s", row->name, name, local.message);
        const weft_core_value *value = &graph->values[inputs[i]];
        if (value->superseded != WEFT_NONE)
            return weft_fail(error, WEFT_INVALID_ARGUMENT,
                             "%s: input %s is an old version of state %s (value %d): value %d replaced it", row->name, name,
                             graph->nodes[graph->values[value->state].node].name, inputs[i], value->superseded);
        tensors->inputs[i] = &value->tensor;
        tensors->leaves[i] = weft_graph_leaf(graph, inputs[i]);
    }
    return WEFT_OK;
}

/* A node that writes a state may have it as only one input: a second input would read undefined values. */
static weft_status check_written(const weft_op_row *row, const weft_value *inputs, const weft_op_tensors *tensors,
                                 weft_tensor *outputs, weft_error *error) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        int written = weft_op_state_input(row, i);
        if (written < 0) continue;
        for (size_t j = 0; j < WEFT_MAX_INPUTS; j++)
            if (tensors->inputs[j] && (int)j != written && inputs[j] == inputs[written])
                return weft_fail(error, WEFT_INVALID_ARGUMENT,
                                 "%s: value %d is both the state that the op writes and another input", row->name, inputs[j]);
        outputs[i] = *tensors->inputs[written];
    }
    return WEFT_OK;
}

static weft_status check_node(const weft_graph *graph, const weft_op_row *row, const weft_value *inputs, const void *params,
                              size_t params_size, weft_tensor *outputs, weft_error *error) {
    weft_op_tensors tensors = {0};
    weft_status status = check_params(row, params, params_size, error);
    if (status == WEFT_OK) status = check_inputs(graph, row, inputs, &tensors, error);
    if (status == WEFT_OK) status = row->rules->infer(&tensors, params, outputs, error);
    if (status == WEFT_OK) status = check_written(row, inputs, &tensors, outputs, error);
    for (size_t i = 0; status == WEFT_OK && i < WEFT_MAX_OUTPUTS; i++) {
        char text[128];
        if (outputs[i].shape[0] != 0 && weft_tensor_bytes(&outputs[i]) == 0)
            status = weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: the result %s is too large", row->name,
                               weft_tensor_text(&outputs[i], text, sizeof text));
    }
    return status;
}

/* The new values; a state output supersedes its input. */
static void push_outputs(weft_graph *graph, const weft_op_row *row, const weft_tensor *tensors, weft_value *outputs) {
    const weft_core_node *node = &graph->nodes[graph->n_nodes - 1];
    size_t n_outputs = weft_op_output_count(node->op);
    for (size_t i = 0; i < n_outputs; i++) {
        outputs[i] = WEFT_NONE;
        if (tensors[i].shape[0] == 0) continue;
        outputs[i] = weft_graph_push_value(graph, (int32_t)i, &tensors[i]);
        int written = weft_op_state_input(row, i);
        if (written < 0) continue;
        graph->values[outputs[i]].state = graph->values[node->inputs[written]].state;
        graph->values[node->inputs[written]].superseded = outputs[i];
    }
}

weft_status weft_graph_add(weft_graph *graph, weft_op op, const char *name, const weft_value *inputs, const void *params,
                           size_t params_size, weft_value *outputs, weft_error *error) {
    const weft_op_row *row = weft_op_get(op);
    if (!row) return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no op %d", (int)op);
    static const weft_any_params zeros;
    if (!params && params_size == 0) {
        params = &zeros;
        params_size = row->rules->params_size;
    }
    if (!name) name = "";
    if (strlen(name) >= WEFT_NAME_SIZE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "node %s: a name has up to %d bytes", name, WEFT_NAME_SIZE - 1);
    if (!graph || !inputs || !outputs)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: a node needs a graph, a list of inputs and one for its outputs",
                         row->name);
    weft_tensor tensors[WEFT_MAX_OUTPUTS] = {0};
    weft_error local;
    weft_status status = check_node(graph, row, inputs, params, params_size, tensors, &local);
    if (status != WEFT_OK) return weft_fail(error, status, "%s%s%s", name, *name ? ": " : "", local.message);
    status = weft_graph_reserve(graph, WEFT_MAX_OUTPUTS, error);
    if (status != WEFT_OK) return status;
    void *copy = NULL;
    if (params_size > 0) {
        copy = weft_allocate(graph->runtime, params_size);
        if (!copy) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for node %zu of a graph", graph->n_nodes);
        memcpy(copy, params, params_size);
    }
    weft_core_node *node = weft_graph_push_node(graph, op, name);
    node->params = copy;
    node->params_size = params_size;
    memcpy(node->inputs, inputs, weft_op_input_count(op) * sizeof *inputs);
    push_outputs(graph, row, tensors, outputs);
    return WEFT_OK;
}
