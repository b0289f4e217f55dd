/* Shared by the functions that add leaves and nodes. */
#ifndef WEFT_CORE_GRAPH_BUILD_H
#define WEFT_CORE_GRAPH_BUILD_H

#include "core/graph.h"

/* Makes room for one more node and `n_values` more values. */
weft_status weft_graph_reserve(weft_graph *graph, size_t n_values, weft_error *error);

/* The next node, with `name` (NULL: "") and without inputs and outputs. Room was reserved, the name's length checked. */
weft_core_node *weft_graph_push_node(weft_graph *graph, weft_op op, const char *name);

/* Output `output` of the last node; room was reserved. */
weft_value weft_graph_push_value(weft_graph *graph, int32_t output, const weft_tensor *tensor);

#endif
