#include "core/residents.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool weft_tensor_same(const weft_tensor *a, const weft_tensor *b) {
    return a->type == b->type && memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

/* Where in by_name a name is, or would be put. */
static size_t name_index(const weft_residents *residents, const char *name) {
    size_t low = 0, high = residents->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(residents->items[residents->by_name[middle]].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

weft_resident *weft_residents_find(const weft_residents *residents, const char *name) {
    size_t index = name_index(residents, name);
    if (index == residents->n) return NULL;
    weft_resident *resident = &residents->items[residents->by_name[index]];
    return strcmp(resident->name, name) == 0 ? resident : NULL;
}

weft_resident *weft_residents_of(const weft_residents *residents, const weft_graph *graph, weft_value value) {
    weft_value state = graph->values[value].state;
    return weft_residents_find(residents, graph->nodes[graph->values[state != WEFT_NONE ? state : value].node].name);
}

static weft_status out_of_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the weights and states of a store");
}

static void describe(weft_leaf leaf, const weft_tensor *tensor, const weft_slice *slice, char *text, size_t size) {
    const int64_t *shape = tensor->shape;
    char part[WEFT_SLICE_TEXT_SIZE];
    snprintf(text, size, "a %s %s [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "]%s%s", weft_type_get(tensor->type)->name,
             leaf == WEFT_LEAF_WEIGHT ? "weight" : "state", shape[0], shape[1], shape[2], shape[3], slice ? " " : "",
             slice ? weft_slice_text(slice, part, sizeof part) : "");
}

static weft_status add(weft_residents *residents, const weft_core_node *leaf, const weft_tensor *tensor, weft_error *error) {
    size_t index = name_index(residents, leaf->name);
    weft_resident *same = weft_residents_find(residents, leaf->name);
    if (same) {
        if (same->leaf == leaf->leaf && weft_tensor_same(&same->tensor, tensor) && weft_slice_same(same->slice, leaf->slice))
            return WEFT_OK;
        char here[240], there[240];
        describe(leaf->leaf, tensor, leaf->slice, here, sizeof here);
        describe(same->leaf, &same->tensor, same->slice, there, sizeof there);
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "\"%s\" is %s in one graph and %s in another", leaf->name, there, here);
    }
    weft_resident *added = &residents->items[residents->n];
    *added = (weft_resident){.leaf = leaf->leaf, .tensor = *tensor, .owner = residents->n, .n_members = 1};
    snprintf(added->name, sizeof added->name, "%s", leaf->name);
    if (leaf->slice) added->slice = weft_slice_copy(residents->runtime, leaf->slice);
    if (leaf->slice && !added->slice) return out_of_memory(error);
    memmove(&residents->by_name[index + 1], &residents->by_name[index], (residents->n - index) * sizeof *residents->by_name);
    residents->by_name[index] = (uint32_t)residents->n++;
    return WEFT_OK;
}

static weft_status add_all(weft_residents *residents, const weft_graph *const *graphs, size_t n_graphs, weft_error *error) {
    size_t n_leaves = 1; /* never 0 */
    for (size_t g = 0; g < n_graphs; g++) {
        for (size_t i = 0; i < graphs[g]->n_nodes; i++) n_leaves += graphs[g]->nodes[i].op == WEFT_OP_NONE;
    }
    residents->items = weft_allocate(residents->runtime, n_leaves * sizeof *residents->items);
    residents->by_name = weft_allocate(residents->runtime, n_leaves * sizeof *residents->by_name);
    if (!residents->items || !residents->by_name) return out_of_memory(error);
    for (size_t g = 0; g < n_graphs; g++) {
        for (size_t i = 0; i < graphs[g]->n_nodes; i++) {
            const weft_core_node *node = &graphs[g]->nodes[i];
            if (node->leaf != WEFT_LEAF_WEIGHT && node->leaf != WEFT_LEAF_STATE) continue;
            weft_status status = add(residents, node, &graphs[g]->values[node->outputs[0]].tensor, error);
            if (status != WEFT_OK) return status;
        }
    }
    return WEFT_OK;
}

weft_status weft_residents_collect(weft_runtime *runtime, const weft_graph *const *graphs, size_t n_graphs,
                                   weft_residents *residents, weft_error *error) {
    *residents = (weft_residents){.runtime = runtime};
    weft_status status = add_all(residents, graphs, n_graphs, error);
    if (status != WEFT_OK) weft_residents_release(residents);
    return status;
}

void weft_residents_release(weft_residents *residents) {
    for (size_t i = 0; i < residents->n; i++) weft_release(residents->runtime, residents->items[i].slice);
    weft_release(residents->runtime, residents->items);
    weft_release(residents->runtime, residents->by_name);
    *residents = (weft_residents){.runtime = residents->runtime};
}
