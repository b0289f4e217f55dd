#ifndef WEFT_CORE_COST_H
#define WEFT_CORE_COST_H

#include "core/graph.h"

/* Arithmetic operations of a node with an op, and the bytes it moves with weights as in the file; see core/op.h. Both stop at
 * UINT64_MAX. */
void weft_graph_cost(const weft_graph *graph, const weft_core_node *node, uint64_t *operations, uint64_t *bytes);

#endif
