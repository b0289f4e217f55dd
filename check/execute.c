/* Runs a case as a graph of one node, or of the parts of a fused one, through the same stores and plans as any model. */
#include "check/case.h"
#include "check/parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct execution {
    weft_check_case *c;
    bool parts;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
} execution;

static void input_name(size_t port, char *name, size_t size) {
    snprintf(name, size, "input%zu", port);
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    const weft_check_case *c = user;
    char own[WEFT_NAME_SIZE];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        input_name(i, own, sizeof own);
        if (c->inputs[i].leaf != WEFT_LEAF_WEIGHT || strcmp(own, name) != 0) continue;
        uint64_t bytes = weft_tensor_bytes(&c->inputs[i].tensor);
        if (offset > bytes || size > bytes - offset) return weft_fail(error, WEFT_IO, "%s: asked for bytes past its end", name);
        memcpy(into, (const char *)c->inputs[i].data + offset, size);
        return WEFT_OK;
    }
    return weft_fail(error, WEFT_NOT_FOUND, "the case has no weight %s", name);
}

static weft_status add_leaf(weft_graph *graph, const weft_check_input *input, size_t port, weft_value *value, weft_error *error) {
    char name[WEFT_NAME_SIZE];
    input_name(port, name, sizeof name);
    switch (input->leaf) {
    case WEFT_LEAF_WEIGHT:
        return weft_graph_weight(graph, name, &input->tensor, value, error);
    case WEFT_LEAF_INPUT:
        return weft_graph_input(graph, name, &input->tensor, value, error);
    case WEFT_LEAF_STATE:
        return weft_graph_state(graph, name, &input->tensor, value, error);
    default:
        *value = WEFT_NONE;
        return WEFT_OK;
    }
}

static weft_status build(execution *run, weft_error *error) {
    weft_check_case *c = run->c;
    weft_value inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    weft_status status = weft_graph_create(c->runtime, &run->graph, error);
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++)
        status = add_leaf(run->graph, &c->inputs[i], i, &inputs[i], error);
    if (status == WEFT_OK && run->parts)
        status = weft_check_add_parts(c, run->graph, inputs, outputs, error);
    else if (status == WEFT_OK)
        status = weft_graph_add(run->graph, c->op, c->node == NULL ? "node" : c->node, inputs,
                                c->params_size == 0 ? NULL : c->params, c->params_size, outputs, error);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK; i++)
        if (c->outputs[i].present && c->outputs[i].state < 0) status = weft_graph_output(run->graph, outputs[i], error);
    return status;
}

static weft_status write_states(execution *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < WEFT_MAX_INPUTS && status == WEFT_OK; i++) {
        const weft_check_input *input = &run->c->inputs[i];
        char name[WEFT_NAME_SIZE];
        input_name(i, name, sizeof name);
        if (input->leaf == WEFT_LEAF_STATE)
            status = weft_store_write_state(run->store, name, 0, input->data, (size_t)weft_tensor_bytes(&input->tensor), error);
    }
    return status;
}

static void fill_inputs(const weft_check_case *c, void *const *places, bool poison) {
    for (size_t i = 0, k = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *input = &c->inputs[i];
        if (input->leaf != WEFT_LEAF_INPUT) continue;
        float *reals = places[k++];
        memcpy(reals, input->data, (size_t)weft_tensor_bytes(&input->tensor));
        for (int64_t j = 0; poison && input->tensor.type == WEFT_F32 && j < input->n_elements; j++) reals[j] = NAN;
    }
}

/* Copies results out; `unstable` (may be NULL) tells whether they differ from what was there. */
static weft_status take(execution *run, const void *const *results, bool *unstable, weft_error *error) {
    weft_check_case *c = run->c;
    for (size_t i = 0, k = 0; i < WEFT_MAX_OUTPUTS; i++) {
        weft_check_output *output = &c->outputs[i];
        if (!output->present) continue;
        void *into = output->result, *scratch = NULL;
        if (output->state >= 0) {
            char name[WEFT_NAME_SIZE];
            input_name((size_t)output->state, name, sizeof name);
            scratch = weft_allocate(c->runtime, (size_t)output->bytes);
            if (scratch == NULL) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the state of %s", c->name);
            weft_status status = weft_store_read_state(run->store, name, 0, scratch, (size_t)output->bytes, error);
            if (status != WEFT_OK) {
                weft_release(c->runtime, scratch);
                return status;
            }
        }
        const void *from = scratch != NULL ? scratch : results[k++];
        if (unstable != NULL && memcmp(into, from, (size_t)output->bytes) != 0) *unstable = true;
        memcpy(into, from, (size_t)output->bytes);
        weft_release(c->runtime, scratch);
    }
    return WEFT_OK;
}

static weft_status step(execution *run, bool poison, bool *unstable, weft_error *error) {
    void *places[WEFT_MAX_INPUTS] = {NULL};
    const void *results[WEFT_MAX_OUTPUTS] = {NULL};
    weft_ticket ticket;
    weft_status status = write_states(run, error);
    if (status == WEFT_OK) status = weft_plan_begin(run->plan, &ticket, places, error);
    if (status != WEFT_OK) return status;
    fill_inputs(run->c, places, poison);
    status = weft_plan_submit(run->plan, ticket, error);
    if (status != WEFT_OK) return status;
    status = weft_plan_wait(run->plan, ticket, UINT64_MAX, results, error);
    if (status == WEFT_OK) status = take(run, results, unstable, error);
    weft_plan_release(run->plan, ticket);
    return status;
}

/* Leaves come first. The kernel that is named is that of the last node, which stands for the others where there are parts. */
static weft_status ask(execution *run, weft_device *device, weft_error *error) {
    size_t n_nodes = weft_graph_node_count(run->graph);
    for (size_t i = 0; i < n_nodes; i++) {
        weft_node_support support;
        weft_node node;
        weft_status status = weft_graph_node(run->graph, i, &node, error);
        if (status != WEFT_OK) return status;
        if (node.op == WEFT_OP_NONE) continue;
        status = weft_graph_support(run->graph, i, device, run->c->precision, &support, error);
        if (status != WEFT_OK) return status;
        run->c->kernel = support.kernel;
        if (!support.supported) return weft_fail(error, WEFT_UNSUPPORTED, "%s", support.reason);
    }
    return WEFT_OK;
}

static weft_status prepare(execution *run, weft_device *device, weft_error *error) {
    weft_status status = build(run, error);
    if (status == WEFT_OK) status = ask(run, device, error);
    const weft_graph *graphs[] = {run->graph};
    if (status == WEFT_OK)
        status = weft_store_create(device, graphs, 1,
                                   &(weft_store_options){.precision = run->c->precision, .unfused = run->parts, .n_slots = 1},
                                   &run->store, error);
    if (status == WEFT_OK) status = weft_store_load(run->store, &(weft_weight_source){.read = read_weight, .user = run->c}, error);
    if (status == WEFT_OK) status = weft_plan_create(run->store, run->graph, &run->plan, error);
    return status;
}

weft_status weft_check_execute(weft_check_case *c, weft_device *device, bool parts, bool *unstable, weft_error *error) {
    execution run = {.c = c, .parts = parts};
    *unstable = false;
    weft_status status = prepare(&run, device, error);
    if (status == WEFT_OK) status = step(&run, true, NULL, error);
    if (status == WEFT_OK) status = step(&run, false, NULL, error);
    if (status == WEFT_OK) status = step(&run, false, unstable, error);
    weft_plan_destroy(run.plan);
    weft_store_destroy(run.store);
    weft_graph_destroy(run.graph);
    return status;
}
