/* A graph as a device will run it: its phases, their kernels, and the place of every value. */
#ifndef WEFT_CORE_ARRANGE_H
#define WEFT_CORE_ARRANGE_H

#include "core/graph.h"
#include "core/kernels.h"
#include "core/order.h"
#include "core/place.h"
#include "core/store.h"

#define WEFT_NO_ITEM (-1)

typedef struct weft_arrangement {
    const weft_graph *graph;
    size_t n_phases;
    uint32_t *nodes;  /* of each phase */
    uint32_t *phases; /* of each node; not set for leaves */
    weft_kernels kernels;
    weft_lists users;       /* of each value */
    weft_place_item *items; /* the contents of the arena, in the order of their first phases */
    size_t n_items;
    int32_t *value_items;   /* of each value; WEFT_NO_ITEM: it lies in a weight or a state */
    int32_t *scratch_items; /* of each phase, or WEFT_NO_ITEM */
    uint64_t arena_bytes;
    uint64_t step_bytes, result_bytes; /* of a slot: step inputs and results one after the other, each aligned */
} weft_arrangement;

/* Makes the graph that a plan runs from the given graph: without dead nodes and, if the store's options say so, fused. */
weft_status weft_store_rewrite(const weft_store *store, const weft_graph *graph, weft_graph **rewritten, weft_error *error);

/* Asks the device about each node, with the layouts the store has chosen, and places the values. `graph` must outlive the
 * arrangement. */
weft_status weft_arrange(const weft_store *store, const weft_graph *graph, weft_arrangement *arrangement, weft_error *error);
void weft_arrangement_release(weft_runtime *runtime, weft_arrangement *arrangement);

#endif
