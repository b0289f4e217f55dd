/* What a backend is asked about a node. */
#ifndef WEFT_CORE_QUERY_H
#define WEFT_CORE_QUERY_H

#include "core/graph.h"
#include "core/runtime.h"

/* The leaf kind of a value: every version of a state counts as a state. */
weft_leaf weft_graph_leaf(const weft_graph *graph, weft_value value);

/* Describes a node of `graph` (or one made up from its values) to a backend, weights in the file's layout. `query` points to the
 * node's parameters. */
void weft_query_make(const weft_graph *graph, const weft_core_node *node, weft_precision precision, weft_query *query);

/* Asks the device, which is locked meanwhile. */
void weft_query_ask(weft_device *device, const weft_query *query, weft_support *support);

/* One use of a weight: as input `index` of a node. */
weft_use weft_query_use(const weft_graph *graph, const weft_core_node *node, size_t index, weft_precision precision);

/* Asks the device, which is locked meanwhile, how a weight should lie that is used as in `graph`; id 0 is as in the file. */
void weft_query_layout(weft_device *device, const weft_graph *graph, weft_value weight, weft_precision precision,
                       weft_layout *layout);

#endif
