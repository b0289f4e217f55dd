/* Runs a case as a graph of one node, or of the fused node's parts, through the same stores and plans as any model. */
#include <math.h>
#include <string.h>

#include "check/build.h"

typedef struct execution {
    weft_check_case *c;
    weft_check_build_options build;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
} execution;

static void fill_inputs(const weft_check_case *c, void *const *places, bool poison) {
    for (size_t i = 0, k = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *input = &c->inputs[i];
        if (input->leaf != WEFT_LEAF_INPUT) continue;
        float *reals = places[k++];
        memcpy(reals, input->data, (size_t)weft_tensor_bytes(&input->tensor));
        for (int64_t j = 0; poison && input->tensor.type == WEFT_F32 && j < input->n_elements; j++) reals[j] = NAN;
    }
}

/* Copies the results. `unstable` (may be NULL) is set if they differ from the previous ones. */
static weft_status take(execution *run, const void *const *results, bool *unstable, weft_error *error) {
    weft_check_case *c = run->c;
    for (size_t i = 0, k = 0; i < WEFT_MAX_OUTPUTS; i++) {
        weft_check_output *output = &c->outputs[i];
        if (!output->present) continue;
        void *into = output->result, *scratch = NULL;
        if (output->state >= 0) {
            char name[WEFT_NAME_SIZE];
            weft_check_input_name((size_t)output->state, 0, name);
            scratch = weft_allocate(c->runtime, (size_t)output->bytes);
            if (!scratch) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the state of %s", c->name);
            weft_status status = weft_store_read_state(run->store, name, 0, scratch, (size_t)output->bytes, error);
            if (status != WEFT_OK) {
                weft_release(c->runtime, scratch);
                return status;
            }
        }
        const void *from = scratch ? scratch : results[k++];
        if (unstable && memcmp(into, from, (size_t)output->bytes) != 0) *unstable = true;
        memcpy(into, from, (size_t)output->bytes);
        weft_release(c->runtime, scratch);
    }
    return WEFT_OK;
}

static weft_status step(execution *run, bool poison, bool *unstable, weft_error *error) {
    void *places[WEFT_MAX_INPUTS] = {NULL};
    const void *results[WEFT_MAX_OUTPUTS] = {NULL};
    weft_ticket ticket;
    weft_status status = weft_check_write_states(run->c, &run->build, run->store, error);
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

static weft_status prepare(execution *run, weft_device *device, weft_error *error) {
    weft_status status = weft_check_build(run->c, &run->build, &run->graph, error);
    if (status == WEFT_OK) status = weft_check_ask(run->c, run->graph, device, error);
    const weft_graph *graphs[] = {run->graph};
    if (status == WEFT_OK)
        status = weft_store_create(device, graphs, 1,
                                   &(weft_store_options){.precision = run->c->precision, .unfused = run->build.parts, .n_slots = 1},
                                   &run->store, error);
    if (status == WEFT_OK)
        status = weft_store_load(run->store, &(weft_weight_source){.read = weft_check_read_weight, .user = run->c}, error);
    if (status == WEFT_OK) status = weft_plan_create(run->store, run->graph, &run->plan, error);
    return status;
}

weft_status weft_check_execute(weft_check_case *c, weft_device *device, bool parts, bool *unstable, weft_error *error) {
    execution run = {.c = c, .build = {.n_nodes = 1, .parts = parts}};
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
