#include "check/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/parts.h"

void weft_check_input_name(size_t port, size_t node, char name[WEFT_NAME_SIZE]) {
    snprintf(name, WEFT_NAME_SIZE, "input%zu.%zu", port, node);
}

/* ---- The graph ---- */

typedef struct building {
    const weft_check_case *c;
    const weft_check_build_options *options;
    weft_graph *graph;
    weft_value
        shared[WEFT_MAX_INPUTS]; /* inputs that all nodes have in common: step inputs, and the newest version of an I32 state */
} building;

static bool is_shared(const weft_check_input *input) {
    return input->leaf == WEFT_LEAF_INPUT || (input->leaf == WEFT_LEAF_STATE && input->tensor.type == WEFT_I32);
}

static bool is_loaded(const weft_check_input *input, bool timed) {
    return timed && input->leaf == WEFT_LEAF_INPUT && input->tensor.type == WEFT_F32;
}

/* A step input as a weight. The nodes get a copy of it, since in a model an activation is another node's result. */
static weft_status add_loaded(building *b, const char *name, const weft_tensor *tensor, weft_value *value, weft_error *error) {
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = WEFT_NONE;
    weft_status status = weft_graph_weight(b->graph, name, tensor, &inputs[0], error);
    if (status == WEFT_OK) status = weft_graph_add(b->graph, WEFT_OP_COPY, name, inputs, NULL, 0, outputs, error);
    if (status == WEFT_OK) *value = outputs[0];
    return status;
}

static weft_status add_leaf(building *b, size_t port, size_t node, weft_value *value, weft_error *error) {
    const weft_check_input *input = &b->c->inputs[port];
    char name[WEFT_NAME_SIZE];
    weft_check_input_name(port, node, name);
    if (is_loaded(input, b->options->timed)) return add_loaded(b, name, &input->tensor, value, error);
    switch (input->leaf) {
    case WEFT_LEAF_WEIGHT:
        return weft_graph_weight(b->graph, name, &input->tensor, value, error);
    case WEFT_LEAF_INPUT:
        return weft_graph_input(b->graph, name, &input->tensor, value, error);
    case WEFT_LEAF_STATE:
        return weft_graph_state(b->graph, name, &input->tensor, value, error);
    default:
        *value = WEFT_NONE;
        return WEFT_OK;
    }
}

static weft_status add_node(building *b, size_t node, weft_value *outputs, weft_error *error) {
    const weft_check_case *c = b->c;
    weft_value inputs[WEFT_MAX_INPUTS];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++) {
        bool shared = is_shared(&c->inputs[i]);
        if (shared && node > 0)
            inputs[i] = b->shared[i];
        else
            status = add_leaf(b, i, node, &inputs[i], error);
        if (shared && node == 0 && status == WEFT_OK) b->shared[i] = inputs[i];
    }
    if (status == WEFT_OK && b->options->parts)
        status = weft_check_add_parts(c, b->graph, inputs, outputs, error);
    else if (status == WEFT_OK)
        status = weft_graph_add(b->graph, c->op, c->node ? c->node : "node", inputs, c->params_size == 0 ? NULL : c->params,
                                c->params_size, outputs, error);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK; i++)
        if (c->outputs[i].present && c->outputs[i].state >= 0) b->shared[c->outputs[i].state] = outputs[i];
    return status;
}

static weft_status build(building *b, weft_error *error) {
    const weft_check_case *c = b->c;
    weft_value outputs[WEFT_MAX_OUTPUTS];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < b->options->n_nodes && status == WEFT_OK; i++) status = add_node(b, i, outputs, error);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK && !b->options->timed; i++)
        if (c->outputs[i].present && c->outputs[i].state < 0) status = weft_graph_output(b->graph, outputs[i], error);
    return status;
}

weft_status weft_check_build(const weft_check_case *c, const weft_check_build_options *options, weft_graph **graph,
                             weft_error *error) {
    building b = {.c = c, .options = options};
    weft_status status = weft_graph_create(c->runtime, &b.graph, error);
    if (status != WEFT_OK) return status;
    status = build(&b, error);
    if (status == WEFT_OK)
        *graph = b.graph;
    else
        weft_graph_destroy(b.graph);
    return status;
}

weft_status weft_check_ask(weft_check_case *c, const weft_graph *graph, weft_device *device, weft_error *error) {
    size_t n_nodes = weft_graph_node_count(graph);
    for (size_t i = 0; i < n_nodes; i++) {
        weft_node_support support;
        weft_node node;
        weft_status status = weft_graph_node(graph, i, &node, error);
        if (status != WEFT_OK) return status;
        if (node.op == WEFT_OP_NONE) continue;
        status = weft_graph_support(graph, i, device, c->precision, &support, error);
        if (status != WEFT_OK) return status;
        c->kernel = support.kernel;
        if (!support.supported) return weft_fail(error, WEFT_UNSUPPORTED, "%s", support.reason);
    }
    return WEFT_OK;
}

/* ---- Weights and states ---- */

weft_status weft_check_read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const weft_check_case *c = user;
    size_t port = strtoul(name + strcspn(name, "0123456789"), NULL, 10);
    if (port >= WEFT_MAX_INPUTS || c->inputs[port].leaf == WEFT_LEAF_NOT)
        return weft_fail(error, WEFT_NOT_FOUND, "the case has no weight %s", name);
    uint64_t bytes = weft_tensor_bytes(&c->inputs[port].tensor);
    if (offset > bytes || size > bytes - offset)
        return weft_fail(error, WEFT_IO, "%s: a read reaches past the end of the data", name);
    memcpy(into, (const char *)c->inputs[port].data + offset, size);
    return WEFT_OK;
}

weft_status weft_check_write_states(const weft_check_case *c, const weft_check_build_options *options, weft_store *store,
                                    weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *input = &c->inputs[i];
        size_t n_states = is_shared(input) ? 1 : options->n_nodes;
        for (size_t node = 0; input->leaf == WEFT_LEAF_STATE && node < n_states && status == WEFT_OK; node++) {
            char name[WEFT_NAME_SIZE];
            weft_check_input_name(i, node, name);
            status = weft_store_write_state(store, name, 0, input->data, (size_t)weft_tensor_bytes(&input->tensor), error);
        }
    }
    return status;
}
