/* Which nodes a graph needs, and which must wait for which. */
#ifndef WEFT_CORE_ORDER_H
#define WEFT_CORE_ORDER_H

#include "core/graph.h"

/* One list of node numbers an item, end to end: item i's is items[first[i]] .. items[first[i + 1] - 1]. */
typedef struct weft_lists {
    uint32_t *first;
    uint32_t *items;
} weft_lists;

void weft_lists_release(weft_runtime *runtime, weft_lists *lists);

/* For each value, the nodes that read it, ascending; a node occurs once for each input that is the value. */
weft_status weft_graph_users(const weft_graph *graph, weft_lists *users, weft_error *error);

/* For each node, the earlier nodes with an op that it must come after, each once: those that make its inputs, and where it writes
 * a state, also those that read the version before. */
weft_status weft_graph_dependencies(const weft_graph *graph, weft_lists *dependencies, weft_error *error);

/* Marks the nodes that reach a result or a final state version, and every step input and state (the host numbers the former, and a
 * state's own leaf is its final version where nothing writes it). `live` has n_nodes entries. */
void weft_graph_mark_live(const weft_graph *graph, bool *live);

/* A copy without dead nodes. */
weft_status weft_graph_prune(const weft_graph *graph, weft_graph **pruned, weft_error *error);
/* A copy. */
weft_status weft_graph_copy(const weft_graph *graph, weft_graph **copy, weft_error *error);

#endif
