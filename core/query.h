/* Questions to a backend about a node. */
#ifndef WEFT_CORE_QUERY_H
#define WEFT_CORE_QUERY_H

#include "core/graph.h"
#include "core/runtime.h"

/* The leaf kind of a value: every version of a state counts as a state. */
weft_leaf weft_graph_leaf(const weft_graph *graph, weft_value value);

/* Forced kernels: each is the only one allowed for its op. */
typedef struct weft_forced_kernels {
    const weft_forced_kernel *items;
    size_t n;
} weft_forced_kernels;

/* Makes the question about a node of `graph` (or about a new node made of its values), with any kernel allowed, and layouts and
 * storages not chosen yet. `phase` points to the node's parameters. */
void weft_query_make(const weft_graph *graph, const weft_core_node *node, weft_precision precision, weft_phase *phase);

/* Leaves the question only the kernel that is forced on its op, if there is one. `forced` may be NULL. */
void weft_query_force(const weft_forced_kernels *forced, weft_phase *phase);

/* Asks the device, which is locked meanwhile. */
void weft_query_ask(weft_device *device, const weft_phase *phase, weft_support *support);

#endif
