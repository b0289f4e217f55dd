/* Making tracks, running their steps and keeping what the steps began with. */
#include "check/model/track.h"

#include <stdio.h>
#include <string.h>

#include "weft/ops/step.h"

/* How long a wait lasts before `go_on` is asked again. */
#define WAIT_NS UINT64_C(50000000)

/* ---- Copies ---- */

static weft_status no_memory(const char *what, weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the %s of a step", what);
}

static void release_copies(weft_runtime *runtime, weft_check_copy **copies, size_t *n_copies) {
    for (size_t i = 0; i < *n_copies; i++) weft_release(runtime, (*copies)[i].data);
    weft_release(runtime, *copies);
    *copies = NULL;
    *n_copies = 0;
}

const weft_check_copy *weft_check_copy_find(const weft_check_copy *copies, size_t n_copies, const char *name) {
    for (size_t i = 0; i < n_copies; i++)
        if (strcmp(copies[i].name, name) == 0) return &copies[i];
    return NULL;
}

/* Allocates a copy of each leaf of a kind, in the graph's order. */
static weft_status make_copies(weft_runtime *runtime, const weft_graph *graph, weft_leaf leaf, weft_check_copy **copies,
                               size_t *n_copies, weft_error *error) {
    size_t n_nodes = weft_graph_node_count(graph);
    *copies = weft_allocate(runtime, (n_nodes + 1) * sizeof **copies);
    if (!*copies) return no_memory("leaves", error);
    for (size_t i = 0; i < n_nodes; i++) {
        weft_node node;
        weft_status status = weft_graph_node(graph, i, &node, error);
        if (status != WEFT_OK) return status;
        if (node.leaf != leaf) continue;
        weft_check_copy *copy = &(*copies)[*n_copies];
        status = weft_graph_tensor(graph, node.outputs[0], &copy->tensor, error);
        if (status != WEFT_OK) return status;
        snprintf(copy->name, sizeof copy->name, "%s", node.name);
        copy->data = weft_allocate(runtime, (size_t)weft_tensor_bytes(&copy->tensor));
        if (!copy->data) return no_memory(leaf == WEFT_LEAF_STATE ? "states" : "inputs", error);
        ++*n_copies;
    }
    return WEFT_OK;
}

/* ---- Making ---- */

static bool same_graph(const weft_check_step *a, const weft_check_step *b) {
    return a->n_rows == b->n_rows && a->n_heads == b->n_heads;
}

static weft_status make_store(const weft_check_script *script, weft_check_track *track, weft_error *error) {
    weft_graph *graphs[WEFT_CHECK_MAX_GRAPHS] = {NULL};
    size_t n_graphs = 0;
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i < script->n_steps && status == WEFT_OK; i++) {
        int32_t earlier = 0;
        while (earlier < i && !same_graph(&script->steps[earlier], &script->steps[i])) earlier++;
        if (earlier < i) continue;
        status = weft_check_script_graph(script, &script->steps[i], &graphs[n_graphs], error);
        if (status == WEFT_OK) n_graphs++;
    }
    if (status == WEFT_OK)
        status = weft_store_create(track->device, (const weft_graph *const *)graphs, n_graphs,
                                   &(weft_store_options){.precision = script->engine.precision, .keep = true, .n_slots = 1},
                                   &track->store, error);
    if (status == WEFT_OK)
        status = make_copies(track->runtime, graphs[0], WEFT_LEAF_STATE, &track->states, &track->n_states, error);
    for (size_t i = 0; i < n_graphs; i++) weft_graph_destroy(graphs[i]);
    return status;
}

/* Fills the cache with NaN, so that reading a place that was never written gives NaN. */
static weft_status spoil_states(weft_check_track *track, weft_error *error) {
    static const struct {
        weft_type type;
        uint32_t bits;
    } nans[] = {{WEFT_F32, UINT32_C(0x7fc00000)}, {WEFT_F16, UINT32_C(0x7e007e00)}};
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < track->n_states && status == WEFT_OK; i++) {
        weft_check_copy *state = &track->states[i];
        size_t bytes = (size_t)weft_tensor_bytes(&state->tensor), n_words = bytes / sizeof(uint32_t);
        for (size_t j = 0; j < sizeof nans / sizeof nans[0]; j++) {
            if (nans[j].type != state->tensor.type) continue;
            for (size_t k = 0; k < n_words; k++) ((uint32_t *)state->data)[k] = nans[j].bits;
            status = weft_store_write_state(track->store, state->name, 0, state->data, n_words * sizeof(uint32_t), error);
        }
    }
    return status;
}

weft_status weft_check_track_create(const weft_check_script *script, weft_device *device, weft_check_track *track,
                                    weft_error *error) {
    *track = (weft_check_track){.runtime = script->runtime, .device = device};
    weft_weight_source source = weft_model_source(script->model);
    weft_status status = make_store(script, track, error);
    if (status == WEFT_OK) status = weft_store_load(track->store, &source, error);
    return status == WEFT_OK ? spoil_states(track, error) : status;
}

static void release_step(weft_check_track *track) {
    weft_runtime *runtime = track->runtime;
    weft_plan_destroy(track->plan);
    release_copies(runtime, &track->inputs, &track->n_inputs);
    weft_check_index_release(&track->index);
    for (size_t i = 0; i < 2; i++) weft_release(runtime, track->results[i]);
    weft_release(runtime, track->limits);
    track->plan = NULL;
    track->limits = NULL;
    track->results[0] = track->results[1] = NULL;
}

void weft_check_track_release(weft_check_track *track) {
    release_step(track);
    release_copies(track->runtime, &track->states, &track->n_states);
    weft_store_destroy(track->store);
    track->store = NULL;
}

/* ---- Plans ---- */

static weft_status sum_limits(weft_precision precision, weft_check_track *track, weft_error *error) {
    double sum = 0.0;
    track->limits = weft_allocate(track->runtime, track->index.n_nodes * sizeof *track->limits);
    if (!track->limits) return no_memory("limits", error);
    for (size_t i = 0; i < track->index.n_nodes; i++) {
        weft_type type;
        weft_status status = weft_check_matrix_type(track->graph, &track->index.nodes[i], &type, error);
        if (status != WEFT_OK) return status;
        if (track->index.nodes[i].op != WEFT_OP_NONE) sum += weft_check_limits_of(track->index.nodes[i].op, type, precision).nmse;
        track->limits[i] = sum;
    }
    return WEFT_OK;
}

static weft_status make_results(const weft_check_script *script, const weft_check_step *step, weft_check_track *track,
                                weft_error *error) {
    size_t n_heads = (size_t)step->n_heads, pair = 2 * sizeof(int32_t);
    track->result_bytes[0] = n_heads * pair;
    track->result_bytes[1] = n_heads * pair * (size_t)script->engine.max_top;
    for (size_t i = 0; i < 2 && n_heads > 0; i++) {
        track->results[i] = weft_allocate(track->runtime, track->result_bytes[i]);
        if (!track->results[i]) return no_memory("results", error);
    }
    return WEFT_OK;
}

static weft_status make_plan(const weft_check_script *script, const weft_check_step *step, weft_check_track *track,
                             weft_error *error) {
    weft_graph *graph = NULL;
    release_step(track);
    weft_status status = weft_check_script_graph(script, step, &graph, error);
    if (status == WEFT_OK) status = weft_plan_create(track->store, graph, &track->plan, error);
    weft_graph_destroy(graph);
    if (status != WEFT_OK) return status;
    track->graph = weft_plan_graph(track->plan);
    status = weft_check_index_create(track->runtime, track->graph, &track->index, error);
    if (status == WEFT_OK) status = sum_limits(script->engine.precision, track, error);
    if (status == WEFT_OK)
        status = make_copies(track->runtime, track->graph, WEFT_LEAF_INPUT, &track->inputs, &track->n_inputs, error);
    return status == WEFT_OK ? make_results(script, step, track, error) : status;
}

/* ---- Steps ---- */

static weft_status wait_for(weft_check_track *track, weft_ticket ticket, bool (*go_on)(void *user), void *user,
                            const void **results, weft_error *error) {
    bool cancelled = false;
    for (;;) {
        weft_status status = weft_plan_wait(track->plan, ticket, cancelled ? UINT64_MAX : WAIT_NS, results, error);
        if (status != WEFT_TIMEOUT) return status;
        if (go_on(user)) continue;
        weft_store_cancel(track->store);
        cancelled = true;
    }
}

weft_status weft_check_track_submit(weft_check_track *track, bool (*go_on)(void *user), void *user, weft_error *error) {
    void *places[WEFT_MAX_INPUTS];
    const void *results[WEFT_MAX_OUTPUTS] = {NULL};
    weft_ticket ticket;
    weft_status status = weft_plan_begin(track->plan, &ticket, places, error);
    if (status != WEFT_OK) return status;
    for (size_t i = 0; i < track->n_inputs; i++)
        memcpy(places[i], track->inputs[i].data, (size_t)weft_tensor_bytes(&track->inputs[i].tensor));
    status = weft_plan_submit(track->plan, ticket, error);
    if (status != WEFT_OK) return status;
    status = wait_for(track, ticket, go_on, user, results, error);
    for (size_t i = 0; i < 2 && status == WEFT_OK; i++)
        if (track->results[i]) memcpy(track->results[i], results[i], track->result_bytes[i]);
    weft_plan_release(track->plan, ticket);
    return status;
}

weft_status weft_check_track_plan(weft_check_track *track, const weft_check_script *script, const weft_check_step *step,
                                  weft_error *error) {
    weft_status status = WEFT_OK;
    if (!track->plan || !same_graph(&track->step, step)) status = make_plan(script, step, track, error);
    track->step = *step;
    return status;
}

weft_status weft_check_track_run(weft_check_track *track, const weft_check_script *script, const weft_check_step *step,
                                 bool (*go_on)(void *user), void *user, weft_error *error) {
    /* A device that chose the same token as the first device continues with its own last token. */
    bool follows = step->first >= script->n_prompt && track->results[0] && track->results[0][0] == script->tokens[step->first];
    weft_status status = weft_check_track_plan(track, script, step, error);
    for (size_t i = 0; i < track->n_states && status == WEFT_OK; i++) {
        weft_check_copy *state = &track->states[i];
        status = weft_store_read_state(track->store, state->name, 0, state->data, (size_t)weft_tensor_bytes(&state->tensor), error);
    }
    for (size_t i = 0; i < track->n_inputs && status == WEFT_OK; i++) {
        weft_check_copy *input = &track->inputs[i];
        weft_check_script_fill(script, step, input->name, &input->tensor, follows, input->data);
    }
    return status == WEFT_OK ? weft_check_track_submit(track, go_on, user, error) : status;
}

int32_t weft_check_track_find(const weft_check_track *track, const char *name, weft_op op) {
    for (size_t i = 0; i < track->index.n_nodes; i++)
        if (track->index.nodes[i].op == op && op != WEFT_OP_NONE && strcmp(track->index.nodes[i].name, name) == 0)
            return (int32_t)i;
    return -1;
}
