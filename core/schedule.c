/* From an arrangement to the schedule that a backend records. */
#include <stdlib.h>
#include <string.h>

#include "core/expect.h"
#include "core/plan.h"
#include "core/query.h"

/* ---- Places ---- */

static void find_places(weft_plan *plan, const weft_arrangement *arrangement) {
    const weft_graph *graph = arrangement->graph;
    for (size_t i = 0; i < graph->n_values; i++) {
        weft_value_place *place = &plan->places[i];
        if (arrangement->value_items[i] != WEFT_NO_ITEM) {
            *place = (weft_value_place){.buffer = plan->store->arena,
                                        .offset = arrangement->items[arrangement->value_items[i]].offset,
                                        .storage = arrangement->kernels.storages[i]};
            continue;
        }
        const weft_resident *resident = weft_residents_of(&plan->store->residents, graph, (weft_value)i);
        *place = (weft_value_place){.buffer = resident->buffer,
                                    .offset = resident->offset,
                                    .layout = resident->layout.id,
                                    .storage = arrangement->kernels.storages[i]};
    }
}

static void set_memory(const weft_plan *plan, weft_place *place, size_t buffer, uint64_t offset) {
    const weft_store_buffer *memory = &plan->store->buffers[buffer];
    place->buffer = memory->handle;
    place->offset = offset;
    place->address = memory->address ? memory->address + offset : 0;
}

static void set_places(const weft_plan *plan, const weft_value *values, size_t n, weft_place *places) {
    for (size_t i = 0; i < n; i++) {
        if (values[i] == WEFT_NONE) continue;
        weft_place *place = &places[i];
        set_memory(plan, place, plan->places[values[i]].buffer, plan->places[values[i]].offset);
        if (place->storage.companion.kind && place->address)
            place->companion = place->address + weft_storage_companion_offset(&place->tensor, &place->storage);
    }
}

static void fill_phases(const weft_plan *plan, const weft_arrangement *arrangement, weft_phase *phases) {
    for (size_t i = 0; i < arrangement->n_phases; i++) {
        const weft_core_node *node = &plan->graph->nodes[arrangement->nodes[i]];
        const weft_support *support = &arrangement->kernels.supports[arrangement->nodes[i]];
        weft_phase *phase = &phases[i];
        weft_kernels_phase(&arrangement->kernels, node, phase);
        phase->kernel = support->kernel;
        phase->name = support->name;
        set_places(plan, node->inputs, WEFT_MAX_INPUTS, phase->inputs);
        set_places(plan, node->outputs, WEFT_MAX_OUTPUTS, phase->outputs);
        if (arrangement->scratch_items[i] == WEFT_NO_ITEM) continue;
        phase->scratch.present = true;
        set_memory(plan, &phase->scratch, plan->store->arena, arrangement->items[arrangement->scratch_items[i]].offset);
    }
}

/* ---- Copies ---- */

static weft_ring_copy copy_of(const weft_plan *plan, weft_value value, uint64_t ring_offset) {
    const weft_value_place *place = &plan->places[value];
    return (weft_ring_copy){.buffer = plan->store->buffers[place->buffer].handle,
                            .offset = place->offset,
                            .ring_offset = ring_offset,
                            .bytes = weft_tensor_bytes(&plan->graph->values[value].tensor)};
}

static void fill_copies(weft_plan *plan, weft_built_schedule *built) {
    const weft_graph *graph = plan->graph;
    weft_ring_copy *copy = built->copies;
    uint64_t ring_offset = 0;
    plan->n_inputs = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].leaf != WEFT_LEAF_INPUT) continue;
        *copy = copy_of(plan, graph->nodes[i].outputs[0], ring_offset);
        plan->input_offsets[plan->n_inputs++] = ring_offset;
        ring_offset += weft_aligned(copy++->bytes);
    }
    plan->step_bytes = ring_offset;
    ring_offset = 0;
    for (size_t i = 0; i < graph->n_outputs; i++) {
        *copy = copy_of(plan, graph->outputs[i], ring_offset);
        plan->result_offsets[i] = ring_offset;
        ring_offset += weft_aligned(copy++->bytes);
    }
}

/* ---- Order ---- */

/* Pairs (phase, an earlier phase it comes after) in one word each, so that sorting them makes the lists. */
typedef struct pairs {
    weft_runtime *runtime;
    uint64_t *words;
    size_t n, capacity;
} pairs;

static bool add_pair(pairs *list, uint32_t phase, uint32_t before) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 256;
        uint64_t *grown = weft_reallocate(list->runtime, list->words, list->capacity * sizeof *grown, capacity * sizeof *grown);
        if (!grown) return false;
        list->words = grown;
        list->capacity = capacity;
    }
    list->words[list->n++] = (uint64_t)phase << 32 | before;
    return true;
}

static bool add_dependencies(pairs *list, const weft_arrangement *arrangement, const weft_lists *dependencies) {
    for (size_t phase = 0; phase < arrangement->n_phases; phase++) {
        uint32_t node = arrangement->nodes[phase];
        for (uint32_t i = dependencies->first[node]; i < dependencies->first[node + 1]; i++) {
            if (!add_pair(list, (uint32_t)phase, arrangement->phases[dependencies->items[i]])) return false;
        }
    }
    return true;
}

/* Orders the first phase that writes an item after all phases that use the value which had this memory before. */
static bool add_reuse(pairs *list, const weft_arrangement *arrangement, const int32_t *item_values, size_t before, size_t item) {
    uint32_t phase = (uint32_t)arrangement->items[item].first;
    uint32_t writer = (uint32_t)arrangement->items[before].first;
    weft_value value = item_values[before];
    bool is_input = value != WEFT_NONE && arrangement->graph->nodes[arrangement->graph->values[value].node].op == WEFT_OP_NONE;
    if (!is_input && writer != phase && !add_pair(list, phase, writer)) return false;
    if (value == WEFT_NONE) return true; /* scratch: the phase itself is its only user */
    const weft_lists *users = &arrangement->users;
    for (uint32_t i = users->first[value]; i < users->first[value + 1]; i++) {
        uint32_t user = arrangement->phases[users->items[i]];
        if (user != phase && !add_pair(list, phase, user)) return false;
    }
    return true;
}

/* A backend may run phases at the same time if the graph does not order them, so phases that share memory need an order too. Items
 * are visited in the order of their first phases. Once later items have taken over all memory of an item, it is skipped. */
static bool add_all_reuse(pairs *list, const weft_arrangement *arrangement, int32_t *item_values, uint32_t *active) {
    const weft_place_item *items = arrangement->items;
    size_t n_active = 0;
    for (size_t i = 0; i < arrangement->n_items; i++) item_values[i] = WEFT_NONE;
    for (size_t i = 0; i < arrangement->graph->n_values; i++) {
        if (arrangement->value_items[i] != WEFT_NO_ITEM) item_values[arrangement->value_items[i]] = (int32_t)i;
    }
    for (size_t i = 0; i < arrangement->n_items; i++) {
        uint64_t begin = items[i].offset, end = begin + items[i].bytes;
        size_t kept = 0;
        for (size_t j = 0; j < n_active; j++) {
            const weft_place_item *other = &items[active[j]];
            bool meet = other->offset < end && begin < other->offset + other->bytes;
            if (meet && !add_reuse(list, arrangement, item_values, active[j], i)) return false;
            if (meet && begin <= other->offset && other->offset + other->bytes <= end) continue;
            active[kept++] = active[j];
        }
        active[kept++] = (uint32_t)i;
        n_active = kept;
    }
    return true;
}

static int by_word(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Writes a phase's list from its pairs, `n` of them, and returns how many it kept. `chains[p]` is where the chain of phases that
 * ends with p begins: each phase of a chain comes after the one before. A pair is left out where a later phase of the list ends a
 * chain that the earlier one is in. So most lists have one item. */
static uint32_t put_list(const uint64_t *words, size_t n, uint32_t *chains, uint32_t phase, uint32_t *items) {
    uint32_t reached = UINT32_MAX, kept = 0;
    chains[phase] = phase;
    for (size_t i = n; i-- > 0;) {
        uint32_t before = (uint32_t)words[i];
        if (before >= reached) continue;
        if (chains[before] < reached) reached = chains[before];
        if (before + 1 == phase) chains[phase] = chains[before];
        items[kept++] = before;
    }
    for (uint32_t i = 0; i < kept / 2; i++) {
        uint32_t other = items[kept - 1 - i];
        items[kept - 1 - i] = items[i];
        items[i] = other;
    }
    return kept;
}

/* Sorts the pairs and makes a list a phase of them. */
static bool make_lists(pairs *list, size_t n_phases, weft_lists *after) {
    if (list->n > 0) qsort(list->words, list->n, sizeof *list->words, by_word);
    after->first = weft_allocate(list->runtime, (n_phases + 1) * sizeof *after->first);
    after->items = weft_allocate(list->runtime, (list->n + 1) * sizeof *after->items);
    uint32_t *chains = weft_allocate(list->runtime, (n_phases + 1) * sizeof *chains);
    uint32_t n = 0;
    size_t at = 0;
    for (size_t phase = 0; after->first && after->items && chains && phase < n_phases; phase++) {
        size_t first = at;
        while (at < list->n && list->words[at] >> 32 == phase) at++;
        after->first[phase] = n;
        n += put_list(list->words + first, at - first, chains, (uint32_t)phase, after->items + n);
    }
    bool made = after->first && after->items && chains;
    if (made) after->first[n_phases] = n;
    weft_release(list->runtime, chains);
    return made;
}

static weft_status order_phases(weft_runtime *runtime, const weft_arrangement *arrangement, weft_built_schedule *built,
                                weft_error *error) {
    weft_lists dependencies = {0};
    weft_status status = weft_graph_dependencies(arrangement->graph, &dependencies, error);
    if (status != WEFT_OK) return status;
    pairs list = {.runtime = runtime};
    int32_t *item_values = weft_allocate(runtime, (arrangement->n_items + 1) * sizeof *item_values);
    uint32_t *active = weft_allocate(runtime, (arrangement->n_items + 1) * sizeof *active);
    bool made = item_values && active && add_dependencies(&list, arrangement, &dependencies) &&
                add_all_reuse(&list, arrangement, item_values, active) && make_lists(&list, arrangement->n_phases, &built->after);
    for (size_t i = 0; made && i < arrangement->n_phases; i++) {
        built->phases[i].after = built->after.items + built->after.first[i];
        built->phases[i].n_after = built->after.first[i + 1] - built->after.first[i];
    }
    weft_release(runtime, list.words);
    weft_release(runtime, active);
    weft_release(runtime, item_values);
    weft_lists_release(runtime, &dependencies);
    return made ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to order %zu phases", arrangement->n_phases);
}

/* ---- The whole schedule ---- */

/* The most bytes of a weight that a node reads: all packed bytes, or only the rows or matrices that its columns choose. */
static uint64_t bytes_read(const weft_plan *plan, const weft_core_node *node, const weft_tensor *weight, uint64_t packed_bytes) {
    const weft_op_rules *rules = weft_op_get(node->op)->rules;
    uint64_t n_columns = (uint64_t)plan->graph->values[node->outputs[0]].tensor.shape[1], bytes = packed_bytes;
    if (rules->looks_up) bytes = weft_product(weft_type_bytes(weight->type, weight->shape[0]), n_columns);
    if (rules->chooses_matrices) bytes = weft_product(packed_bytes / (uint64_t)weight->shape[2], n_columns);
    return bytes < packed_bytes ? bytes : packed_bytes;
}

/* The bytes of its weights that a node reads in a step. */
static uint64_t weight_bytes(const weft_plan *plan, const weft_core_node *node) {
    uint64_t sum = 0;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        weft_value input = node->inputs[i];
        if (input == WEFT_NONE || weft_graph_leaf(plan->graph, input) != WEFT_LEAF_WEIGHT) continue;
        const weft_resident *weight = weft_residents_of(&plan->store->residents, plan->graph, input);
        if (weight->member > 0) continue; /* counted with the first of those that share its place */
        sum += bytes_read(plan, node, &plan->graph->values[input].tensor, weight->layout.bytes);
    }
    return sum;
}

static void describe(weft_plan *plan, const weft_arrangement *arrangement) {
    plan->info = (weft_plan_info){.n_phases = arrangement->n_phases, .arena_bytes = arrangement->arena_bytes};
    for (size_t i = 0; i < arrangement->n_phases; i++) {
        plan->info.weight_bytes += weight_bytes(plan, &plan->graph->nodes[arrangement->nodes[i]]);
    }
}

static bool allocate(weft_plan *plan, const weft_arrangement *arrangement, weft_built_schedule *built) {
    weft_runtime *runtime = plan->store->device->runtime;
    const weft_graph *graph = plan->graph;
    plan->places = weft_allocate(runtime, (graph->n_values + 1) * sizeof *plan->places);
    plan->input_offsets = weft_allocate(runtime, (graph->n_nodes + 1) * sizeof *plan->input_offsets);
    built->phases = weft_allocate(runtime, (arrangement->n_phases + 1) * sizeof *built->phases);
    built->copies = weft_allocate(runtime, (graph->n_nodes + WEFT_MAX_GRAPH_OUTPUTS) * sizeof *built->copies);
    return plan->places && plan->input_offsets && built->phases && built->copies;
}

weft_status weft_schedule_build(weft_plan *plan, const weft_arrangement *arrangement, weft_built_schedule *built,
                                weft_error *error) {
    const weft_store *store = plan->store;
    weft_runtime *runtime = store->device->runtime;
    *built = (weft_built_schedule){0};
    weft_status status = WEFT_OK;
    if (!allocate(plan, arrangement, built)) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
    if (status == WEFT_OK) {
        find_places(plan, arrangement);
        fill_phases(plan, arrangement, built->phases);
        fill_copies(plan, built);
        describe(plan, arrangement);
        status = order_phases(runtime, arrangement, built, error);
    }
    if (status != WEFT_OK) {
        weft_schedule_release(runtime, built);
        return status;
    }
    built->schedule = (weft_schedule){.phases = built->phases,
                                      .n_phases = arrangement->n_phases,
                                      .step_ring = store->buffers[store->step_ring].handle,
                                      .result_ring = store->buffers[store->result_ring].handle,
                                      .step_stride = store->step_stride,
                                      .result_stride = store->result_stride,
                                      .step_copies = built->copies,
                                      .n_step_copies = plan->n_inputs,
                                      .result_copies = built->copies + plan->n_inputs,
                                      .n_result_copies = plan->graph->n_outputs,
                                      .stops = store->options.stops,
                                      .stops_user = store->options.stops_user};
    return WEFT_OK;
}

void weft_schedule_release(weft_runtime *runtime, weft_built_schedule *built) {
    weft_release(runtime, built->phases);
    weft_release(runtime, built->copies);
    weft_lists_release(runtime, &built->after);
    *built = (weft_built_schedule){0};
}
