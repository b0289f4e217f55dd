/* Making a graph out of parts of another. */
#ifndef WEFT_CORE_REBUILD_H
#define WEFT_CORE_REBUILD_H

#include "core/graph.h"

/* A new graph of the nodes of `from` that are marked in `keep`, in their order. Where `replacements` (NULL: none) has an entry,
 * that node, which is made of values of `from`, stands in the place of its own. Results are the same. */
weft_status weft_graph_rebuild(const weft_graph *from, const bool *keep, const weft_core_node *const *replacements,
                               weft_graph **rebuilt, weft_error *error);

#endif
