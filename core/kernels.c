/* Chooses kernels and storages in two parts. The first part asks the device about each node with no storages chosen; the answer
 * says what the node's best kernel can read. The second part asks about each node in the graph's order, with its inputs' storages
 * chosen; the answer says what its kernel can write. An output's storage is the smallest type that the kernel can write and every
 * reader can read, or F32 if there is none. If a node has no kernel for the chosen storages, all its values become F32, and the
 * second part begins again. */
#include "core/kernels.h"

#include <string.h>

#include "core/order.h"
#include "core/query.h"

typedef struct agreeing {
    weft_device *device;
    weft_kernels *kernels;
    weft_lists users;
    weft_support *wishes; /* of each node: the answer with no storages chosen */
    bool *plain;          /* of each value: it must be F32 */
} agreeing;

/* ---- Questions ---- */

void weft_kernels_phase(const weft_kernels *kernels, const weft_core_node *node, weft_phase *phase) {
    weft_query_make(kernels->graph, node, kernels->precision, phase);
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        weft_place *place = &phase->inputs[i];
        if (!place->present) continue;
        place->storage = kernels->storages[node->inputs[i]];
        if (place->leaf != WEFT_LEAF_WEIGHT) continue;
        const weft_resident *weight = weft_residents_of(kernels->residents, kernels->graph, node->inputs[i]);
        place->layout = weight->layout.id;
        place->member = weight->member;
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (phase->outputs[i].present) phase->outputs[i].storage = kernels->storages[node->outputs[i]];
    weft_query_force(kernels->forced, phase);
}

static void ask(const agreeing *a, const weft_core_node *node, weft_support *support) {
    weft_phase phase;
    weft_kernels_phase(a->kernels, node, &phase);
    weft_query_ask(a->device, &phase, support);
}

/* ---- Agreement ---- */

static uint64_t types_of(const weft_storage_set *set) {
    return set->types ? set->types : WEFT_TYPE_BIT(WEFT_F32);
}

static bool same_companion(const weft_companion *a, const weft_companion *b) {
    return a->kind == b->kind && a->group == b->group;
}

/* Those of `types` that every reader of a value can read, and whether all readers, or any reader, can use the companion. */
static uint64_t readable(const agreeing *a, weft_value value, uint64_t types, const weft_companion *companion, bool *all,
                         bool *any) {
    const weft_graph *graph = a->kernels->graph;
    *all = companion->kind != WEFT_COMPANION_NONE;
    *any = false;
    for (uint32_t i = a->users.first[value]; i < a->users.first[value + 1]; i++) {
        const weft_core_node *user = &graph->nodes[a->users.items[i]];
        const weft_support *wish = &a->wishes[a->users.items[i]];
        for (size_t input = 0; input < WEFT_MAX_INPUTS; input++) {
            if (user->inputs[input] != value) continue;
            bool knows = same_companion(companion, &wish->inputs[input].companion);
            types &= types_of(&wish->inputs[input]);
            *all = *all && knows;
            *any = *any || (knows && companion->kind != WEFT_COMPANION_NONE);
        }
    }
    return types;
}

/* The smallest type that the value's kernel can write and all readers can read. Scales are needed to read values that are not F32,
 * so all readers must know them. Sums are written if any reader uses them. */
static weft_storage agree(const agreeing *a, weft_value value, const weft_storage_set *offered) {
    static const weft_type smallest_first[] = {WEFT_Q8_0, WEFT_F16, WEFT_BF16, WEFT_F32};
    weft_storage agreed = {.type = WEFT_F32};
    bool all, any, scaled = offered->companion.kind == WEFT_COMPANION_SCALE;
    uint64_t types = readable(a, value, types_of(offered), &offered->companion, &all, &any);
    int64_t n = a->kernels->graph->values[value].tensor.shape[0];
    for (size_t i = 0; i < sizeof smallest_first / sizeof *smallest_first; i++) {
        weft_type type = smallest_first[i];
        bool can = (types & WEFT_TYPE_BIT(type)) != 0 && n % weft_type_get(type)->block_elements == 0;
        if (!can || (scaled && !all && type != WEFT_F32)) continue;
        agreed.type = type;
        break;
    }
    if (scaled ? agreed.type != WEFT_F32 : any) agreed.companion = offered->companion;
    return agreed;
}

static bool is_open(const weft_storage *storage) {
    return storage->type == WEFT_STORAGE_UNCHOSEN;
}

/* Chooses the kernel of a node whose inputs are settled, and with it its outputs. */
static void settle(agreeing *a, size_t index) {
    weft_kernels *kernels = a->kernels;
    const weft_core_node *node = &kernels->graph->nodes[index];
    weft_support *support = &kernels->supports[index];
    bool any_open = false;
    ask(a, node, support);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        weft_value value = node->outputs[i];
        if (value == WEFT_NONE || !is_open(&kernels->storages[value])) continue;
        any_open = true;
        kernels->storages[value] = (weft_storage){.type = WEFT_F32};
        if (support->supported && !a->plain[value]) kernels->storages[value] = agree(a, value, &support->outputs[i]);
    }
    if (any_open) ask(a, node, support);
}

/* Makes all values that a node without a kernel reads and writes plain. False if all of them are plain already. */
static bool make_plain(agreeing *a, const weft_core_node *node) {
    bool any = false;
    for (size_t i = 0; i < WEFT_MAX_INPUTS + WEFT_MAX_OUTPUTS; i++) {
        weft_value value = i < WEFT_MAX_INPUTS ? node->inputs[i] : node->outputs[i - WEFT_MAX_INPUTS];
        if (value == WEFT_NONE || a->plain[value]) continue;
        const weft_storage *storage = &a->kernels->storages[value];
        if (storage->type == (uint32_t)a->kernels->graph->values[value].tensor.type && !storage->companion.kind) continue;
        a->plain[value] = any = true;
    }
    return any;
}

static void open_storages(agreeing *a) {
    weft_kernels *kernels = a->kernels;
    const weft_graph *graph = kernels->graph;
    for (size_t i = 0; i < graph->n_values; i++)
        kernels->storages[i] = (weft_storage){.type = (uint32_t)graph->values[i].tensor.type};
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const weft_core_node *node = &graph->nodes[i];
        weft_phase phase;
        if (node->op == WEFT_OP_NONE) continue;
        weft_query_make(graph, node, kernels->precision, &phase);
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++)
            if (node->outputs[j] != WEFT_NONE) kernels->storages[node->outputs[j]] = phase.outputs[j].storage;
    }
}

/* One attempt. False: values were made plain, and the caller must try again. */
static bool settle_all(agreeing *a) {
    const weft_graph *graph = a->kernels->graph;
    open_storages(a);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op == WEFT_OP_NONE) continue;
        settle(a, i);
        if (!a->kernels->supports[i].supported && make_plain(a, &graph->nodes[i])) return false;
    }
    return true;
}

static void wish_all(agreeing *a) {
    const weft_graph *graph = a->kernels->graph;
    open_storages(a);
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].op != WEFT_OP_NONE) ask(a, &graph->nodes[i], &a->wishes[i]);
}

weft_status weft_kernels_choose(weft_device *device, const weft_graph *graph, weft_precision precision,
                                const weft_residents *residents, const weft_forced_kernels *forced, weft_kernels *kernels,
                                weft_error *error) {
    weft_runtime *runtime = device->runtime;
    *kernels = (weft_kernels){.runtime = runtime, .graph = graph, .precision = precision, .residents = residents, .forced = forced};
    agreeing a = {.device = device, .kernels = kernels};
    kernels->supports = weft_allocate(runtime, (graph->n_nodes + 1) * sizeof *kernels->supports);
    kernels->storages = weft_allocate(runtime, (graph->n_values + 1) * sizeof *kernels->storages);
    a.wishes = weft_allocate(runtime, (graph->n_nodes + 1) * sizeof *a.wishes);
    a.plain = weft_allocate(runtime, (graph->n_values + 1) * sizeof *a.plain);
    weft_status status = WEFT_OK;
    if (!kernels->supports || !kernels->storages || !a.wishes || !a.plain)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to choose the kernels of %zu nodes", graph->n_nodes);
    if (status == WEFT_OK) status = weft_graph_users(graph, &a.users, error);
    if (status == WEFT_OK) {
        wish_all(&a);
        while (!settle_all(&a)) continue;
    }
    weft_release(runtime, a.wishes);
    weft_release(runtime, a.plain);
    weft_lists_release(runtime, &a.users);
    if (status != WEFT_OK) weft_kernels_release(kernels);
    return status;
}

void weft_kernels_release(weft_kernels *kernels) {
    weft_release(kernels->runtime, kernels->supports);
    weft_release(kernels->runtime, kernels->storages);
    kernels->supports = NULL;
    kernels->storages = NULL;
}
