#include "core/arrange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/query.h"

weft_status weft_store_rewrite(const weft_store *store, const weft_graph *graph, weft_graph **rewritten, weft_error *error) {
    if (store->options.unpruned) return weft_graph_copy(graph, rewritten, error);
    if (store->options.unfused) return weft_graph_prune(graph, rewritten, error);
    return weft_graph_fuse(graph, store->device, store->options.precision, rewritten, error);
}

/* ---- Phases ---- */

/* The input that describes a node best: a weight, or else the first input. */
static void describe_input(const weft_phase *query, char *text, size_t size) {
    const weft_place *chosen = &query->inputs[0];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_place *input = &query->inputs[i];
        if (!input->present || input->leaf != WEFT_LEAF_WEIGHT) continue;
        if (chosen->leaf != WEFT_LEAF_WEIGHT || weft_tensor_bytes(&input->tensor) > weft_tensor_bytes(&chosen->tensor)) {
            chosen = input;
        }
    }
    const int64_t *shape = chosen->tensor.shape;
    snprintf(text, size, "%s [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "]", weft_type_get(chosen->tensor.type)->name,
             shape[0], shape[1], shape[2], shape[3]);
}

static weft_status unsupported(const weft_store *store, const weft_core_node *node, const weft_phase *query,
                               const weft_support *support, weft_error *error) {
    const weft_device_info *info = &store->device->info;
    char input[128];
    describe_input(query, input, sizeof input);
    const char *advice = strcmp(info->backend, "cpu") == 0 ? "another precision or weight type may work"
                                                           : "another precision or weight type, or the device \"cpu\", may work";
    return weft_fail(error, WEFT_UNSUPPORTED, "node %s (%s of %s, %s) cannot run on %s: %s; %s", node->name, weft_op_name(node->op),
                     input, query->precision == WEFT_EXACT ? "exact" : "fast", info->id[0] ? info->id : info->backend,
                     support->reason[0] ? support->reason : "no kernel for it", advice);
}

static weft_status check_leaves(const weft_store *store, const weft_graph *graph, weft_error *error) {
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const weft_core_node *node = &graph->nodes[i];
        if (node->leaf != WEFT_LEAF_WEIGHT && node->leaf != WEFT_LEAF_STATE) continue;
        const weft_resident *resident = weft_residents_find(&store->residents, node->name);
        if (!resident || resident->leaf != node->leaf) {
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "the store has no %s \"%s\": it was made for other graphs",
                             node->leaf == WEFT_LEAF_WEIGHT ? "weight" : "state", node->name);
        }
        if (!weft_tensor_same(&resident->tensor, &graph->values[node->outputs[0]].tensor)) {
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "\"%s\" has another type or shape than in the store", node->name);
        }
        if (!weft_slice_same(resident->slice, node->slice)) {
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "\"%s\" is another slice than in the store", node->name);
        }
    }
    return WEFT_OK;
}

static weft_status find_phases(const weft_store *store, weft_arrangement *arrangement, weft_error *error) {
    const weft_graph *graph = arrangement->graph;
    weft_status status = weft_kernels_choose(store->device, graph, store->options.precision, &store->residents, &store->forced,
                                             &arrangement->kernels, error);
    for (size_t i = 0; i < graph->n_nodes && status == WEFT_OK; i++) {
        const weft_core_node *node = &graph->nodes[i];
        if (node->op == WEFT_OP_NONE) continue;
        size_t phase = arrangement->n_phases++;
        arrangement->nodes[phase] = (uint32_t)i;
        arrangement->phases[i] = (uint32_t)phase;
        const weft_support *support = &arrangement->kernels.supports[i];
        if (support->supported) continue;
        weft_phase query;
        weft_kernels_phase(&arrangement->kernels, node, &query);
        status = unsupported(store, node, &query, support, error);
    }
    return status;
}

/* ---- Lives ---- */

static bool is_result(const weft_graph *graph, weft_value value) {
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == value) return true;
    }
    return false;
}

/* A value lives until its last user has run; a result until it is copied out after the last phase. */
static int32_t last_phase(const weft_arrangement *arrangement, weft_value value, int32_t first) {
    if (is_result(arrangement->graph, value)) return (int32_t)arrangement->n_phases;
    const weft_lists *users = &arrangement->users;
    uint32_t end = users->first[value + 1];
    if (users->first[value] == end) return first;
    return (int32_t)arrangement->phases[users->items[end - 1]];
}

static int32_t add_item(weft_arrangement *arrangement, uint64_t bytes, int32_t first, int32_t last) {
    arrangement->items[arrangement->n_items] =
        (weft_place_item){.bytes = bytes, .first = first, .last = last, .replaces = WEFT_NO_ITEM};
    return (int32_t)arrangement->n_items++;
}

static void add_value(weft_arrangement *arrangement, weft_value value, int32_t first) {
    const weft_tensor *tensor = &arrangement->graph->values[value].tensor;
    uint64_t bytes = weft_storage_bytes(tensor, &arrangement->kernels.storages[value]);
    arrangement->value_items[value] = add_item(arrangement, bytes, first, last_phase(arrangement, value, first));
}

/* Output 0 reuses the memory of the first input that has the same storage and size and has its last use here. */
static void replace_input(weft_arrangement *arrangement, const weft_core_node *node, int32_t phase) {
    if (node->outputs[0] == WEFT_NONE || arrangement->value_items[node->outputs[0]] == WEFT_NO_ITEM) return;
    weft_place_item *output = &arrangement->items[arrangement->value_items[node->outputs[0]]];
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        weft_value input = node->inputs[i];
        if (input == WEFT_NONE || arrangement->value_items[input] == WEFT_NO_ITEM) continue;
        const weft_place_item *item = &arrangement->items[arrangement->value_items[input]];
        const weft_storage *storages = arrangement->kernels.storages;
        if (storages[input].type != storages[node->outputs[0]].type || storages[input].companion.kind ||
            item->bytes != output->bytes || item->last != phase) {
            continue;
        }
        output->replaces = arrangement->value_items[input];
        return;
    }
}

static void find_lives(weft_arrangement *arrangement) {
    const weft_graph *graph = arrangement->graph;
    for (size_t i = 0; i < graph->n_values; i++) arrangement->value_items[i] = WEFT_NO_ITEM;
    for (size_t i = 0; i < graph->n_nodes; i++) { /* step inputs are copied in before the first phase */
        if (graph->nodes[i].leaf == WEFT_LEAF_INPUT) add_value(arrangement, graph->nodes[i].outputs[0], 0);
    }
    for (size_t phase = 0; phase < arrangement->n_phases; phase++) {
        const weft_core_node *node = &graph->nodes[arrangement->nodes[phase]];
        for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
            weft_value output = node->outputs[i];
            if (output == WEFT_NONE || graph->values[output].state != WEFT_NONE) continue;
            add_value(arrangement, output, (int32_t)phase);
        }
        const weft_support *support = &arrangement->kernels.supports[arrangement->nodes[phase]];
        if (support->in_place) replace_input(arrangement, node, (int32_t)phase);
        arrangement->scratch_items[phase] =
            support->scratch_bytes ? add_item(arrangement, support->scratch_bytes, (int32_t)phase, (int32_t)phase) : WEFT_NO_ITEM;
    }
}

/* ---- Rings ---- */

static weft_status add_to_slot(uint64_t *sum, uint64_t bytes, weft_error *error) {
    if (bytes > INT64_MAX / 2 || *sum > INT64_MAX / 2) {
        return weft_fail(error, WEFT_UNSUPPORTED, "the step inputs or results of a step are larger than can be addressed");
    }
    *sum += weft_aligned(bytes);
    return WEFT_OK;
}

static weft_status measure_rings(weft_arrangement *arrangement, weft_error *error) {
    const weft_graph *graph = arrangement->graph;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < graph->n_nodes && status == WEFT_OK; i++) {
        if (graph->nodes[i].leaf != WEFT_LEAF_INPUT) continue;
        status = add_to_slot(&arrangement->step_bytes, weft_tensor_bytes(&graph->values[graph->nodes[i].outputs[0]].tensor), error);
    }
    for (size_t i = 0; i < graph->n_outputs && status == WEFT_OK; i++) {
        uint64_t bytes = weft_tensor_bytes(&graph->values[graph->outputs[i]].tensor);
        status = add_to_slot(&arrangement->result_bytes, bytes, error);
    }
    return status;
}

/* ---- The whole arrangement ---- */

static bool allocate(weft_runtime *runtime, weft_arrangement *arrangement) {
    const weft_graph *graph = arrangement->graph;
    size_t n_nodes = graph->n_nodes + 1; /* one more, so that no allocation is empty */
    arrangement->nodes = weft_allocate(runtime, n_nodes * sizeof *arrangement->nodes);
    arrangement->phases = weft_allocate(runtime, n_nodes * sizeof *arrangement->phases);
    arrangement->scratch_items = weft_allocate(runtime, n_nodes * sizeof *arrangement->scratch_items);
    arrangement->value_items = weft_allocate(runtime, (graph->n_values + 1) * sizeof *arrangement->value_items);
    arrangement->items = weft_allocate(runtime, (graph->n_values + n_nodes) * sizeof *arrangement->items);
    return arrangement->nodes && arrangement->phases && arrangement->scratch_items && arrangement->value_items &&
           arrangement->items;
}

weft_status weft_arrange(const weft_store *store, const weft_graph *graph, weft_arrangement *arrangement, weft_error *error) {
    weft_runtime *runtime = store->device->runtime;
    *arrangement = (weft_arrangement){.graph = graph, .kernels = {.runtime = runtime}};
    weft_status status = WEFT_OK;
    if (!allocate(runtime, arrangement)) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to arrange a graph");
    if (status == WEFT_OK) status = weft_graph_users(graph, &arrangement->users, error);
    if (status == WEFT_OK) status = check_leaves(store, graph, error);
    if (status == WEFT_OK) status = find_phases(store, arrangement, error);
    if (status == WEFT_OK) {
        find_lives(arrangement);
        status = weft_place_items(runtime, arrangement->items, arrangement->n_items, store->options.keep, &arrangement->arena_bytes,
                                  error);
    }
    if (status == WEFT_OK) status = measure_rings(arrangement, error);
    if (status != WEFT_OK) weft_arrangement_release(runtime, arrangement);
    return status;
}

void weft_arrangement_release(weft_runtime *runtime, weft_arrangement *arrangement) {
    weft_release(runtime, arrangement->nodes);
    weft_release(runtime, arrangement->phases);
    weft_kernels_release(&arrangement->kernels);
    weft_release(runtime, arrangement->scratch_items);
    weft_release(runtime, arrangement->value_items);
    weft_release(runtime, arrangement->items);
    weft_lists_release(runtime, &arrangement->users);
    *arrangement = (weft_arrangement){.kernels = {.runtime = runtime}};
}
