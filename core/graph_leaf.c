#include "core/graph_build.h"

#include <string.h>

#include "core/expect.h"
#include "core/slice.h"

static const char *const leaf_names[] = {
    [WEFT_LEAF_WEIGHT] = "weight", [WEFT_LEAF_INPUT] = "step input", [WEFT_LEAF_STATE] = "state"};

/* FNV-1a (Fowler, Noll and Vo). */
static size_t hash(const char *name) {
    uint64_t sum = 0xcbf29ce484222325u;
    for (; *name; name++) sum = (sum ^ (unsigned char)*name) * 0x100000001b3u;
    return (size_t)(sum ^ sum >> 32);
}

/* The slot of the leaf of that name, or the free one where it belongs. */
static uint32_t *find_slot(const weft_graph *graph, uint32_t *slots, size_t count, const char *name) {
    size_t i = hash(name) & (count - 1);
    while (slots[i] && strcmp(graph->nodes[slots[i] - 1].name, name) != 0) i = (i + 1) & (count - 1);
    return &slots[i];
}

/* Keeps at least half of the slots free. */
static bool reserve_slot(weft_graph *graph) {
    if (graph->n_leaves * 2 < graph->leaf_slot_count) return true;
    size_t count = graph->leaf_slot_count ? graph->leaf_slot_count * 2 : 32;
    uint32_t *slots = weft_allocate(graph->runtime, count * sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < graph->leaf_slot_count; i++) {
        uint32_t node = graph->leaf_slots[i];
        if (node) *find_slot(graph, slots, count, graph->nodes[node - 1].name) = node;
    }
    weft_release(graph->runtime, graph->leaf_slots);
    graph->leaf_slots = slots;
    graph->leaf_slot_count = count;
    return true;
}

static weft_status check_leaf(const weft_graph *graph, weft_leaf leaf, const char *name, const weft_tensor *tensor,
                              const weft_value *value, weft_error *error) {
    const char *kind = leaf_names[leaf];
    if (!graph || !tensor || !value)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a %s needs a graph, a tensor and a place for its value", kind);
    if (!name || !*name) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a %s needs a name", kind);
    if (strlen(name) >= WEFT_NAME_SIZE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s %s: a name has up to %d bytes", kind, name, WEFT_NAME_SIZE - 1);
    char text[128];
    if (weft_tensor_bytes(tensor) == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s %s: %s is no valid type and shape", kind, name,
                         weft_tensor_text(tensor, text, sizeof text));
    bool plain = tensor->type == WEFT_F32 || tensor->type == WEFT_I32;
    if ((leaf == WEFT_LEAF_INPUT && !plain) || (leaf == WEFT_LEAF_STATE && !plain && tensor->type != WEFT_F16))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s %s is %s, but must be F32%s or I32", kind, name,
                         weft_tensor_text(tensor, text, sizeof text), leaf == WEFT_LEAF_STATE ? ", F16" : "");
    return WEFT_OK;
}

/* `slice`: of a weight, or NULL. */
static weft_status add_leaf(weft_graph *graph, weft_leaf leaf, const char *name, const weft_tensor *tensor, const weft_slice *slice,
                            weft_value *value, weft_error *error) {
    weft_status status = check_leaf(graph, leaf, name, tensor, value, error);
    if (status == WEFT_OK && slice) status = weft_slice_check(slice, name, tensor, error);
    if (status != WEFT_OK) return status;
    if (!reserve_slot(graph)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for %s %s", leaf_names[leaf], name);
    uint32_t *slot = find_slot(graph, graph->leaf_slots, graph->leaf_slot_count, name);
    if (*slot)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s %s: the graph has a %s of that name", leaf_names[leaf], name,
                         leaf_names[graph->nodes[*slot - 1].leaf]);
    status = weft_graph_reserve(graph, 1, error);
    if (status != WEFT_OK) return status;
    weft_slice *copy = slice ? weft_slice_copy(graph->runtime, slice) : NULL;
    if (slice && !copy) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for weight %s", name);
    weft_core_node *node = weft_graph_push_node(graph, WEFT_OP_NONE, name);
    node->leaf = leaf;
    node->slice = copy;
    weft_value made = weft_graph_push_value(graph, 0, tensor);
    if (leaf == WEFT_LEAF_STATE) graph->values[made].state = made;
    *slot = (uint32_t)graph->n_nodes;
    graph->n_leaves++;
    *value = made;
    return WEFT_OK;
}

weft_status weft_graph_weight(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                              weft_error *error) {
    return add_leaf(graph, WEFT_LEAF_WEIGHT, name, tensor, NULL, value, error);
}

weft_status weft_graph_weight_slice(weft_graph *graph, const char *name, const weft_tensor *tensor, const weft_slice *slice,
                                    weft_value *value, weft_error *error) {
    if (!slice) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a weight that is a slice needs one");
    return add_leaf(graph, WEFT_LEAF_WEIGHT, name, tensor, slice, value, error);
}

weft_status weft_graph_input(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value, weft_error *error) {
    return add_leaf(graph, WEFT_LEAF_INPUT, name, tensor, NULL, value, error);
}

weft_status weft_graph_state(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value, weft_error *error) {
    return add_leaf(graph, WEFT_LEAF_STATE, name, tensor, NULL, value, error);
}

weft_status weft_graph_read_weight(const weft_graph *graph, weft_value value, const weft_weight_source *source, void *into,
                                   size_t size, weft_error *error) {
    weft_status status = weft_graph_check_value(graph, value, error);
    if (status != WEFT_OK) return status;
    const weft_core_node *node = &graph->nodes[graph->values[value].node];
    const weft_tensor *tensor = &graph->values[value].tensor;
    if (node->leaf != WEFT_LEAF_WEIGHT || !source || !source->read || !into)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "value %d: a weight, a source and a place for it are needed", value);
    status = weft_require_zero("source.reserved", source->reserved, sizeof source->reserved, error);
    if (status != WEFT_OK) return status;
    if (size != weft_tensor_bytes(tensor))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weight %s has %llu bytes, and there is room for %zu", node->name,
                         (unsigned long long)weft_tensor_bytes(tensor), size);
    return weft_slice_read(source, node->name, tensor, node->slice, 0, weft_tensor_rows(tensor), into, error);
}
