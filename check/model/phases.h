/* The kinds of phases of a step: nodes of a graph that are alike, and graphs that repeat one kind. */
#ifndef WEFT_CHECK_PHASES_H
#define WEFT_CHECK_PHASES_H

#include "check/model/track.h"

typedef struct weft_check_kind {
    uint32_t *nodes; /* n_nodes: their indices in the graph */
    size_t n_nodes;
    char name[160]; /* "mul_mat_add Q4_K 4096x14336 T=1" */
} weft_check_kind;

typedef struct weft_check_kinds {
    weft_runtime *runtime;
    const weft_graph *graph;
    weft_check_index index;
    uint32_t *members; /* of all kinds */
    weft_check_kind *list;
    size_t n;
} weft_check_kinds;

/* Finds the kinds of a graph, which must live longer. Release them on failure too. */
weft_status weft_check_kinds_create(weft_runtime *runtime, const weft_graph *graph, weft_check_kinds *kinds, weft_error *error);
void weft_check_kinds_release(weft_check_kinds *kinds);
/* Columns of the kind's first output. */
int64_t weft_check_kind_columns(const weft_check_kinds *kinds, const weft_check_kind *kind);
/* The node that stands for its kind: one in the middle, whose neighbours are like those of most. */
size_t weft_check_kind_middle(const weft_check_kind *kind);
/* A graph of `n_nodes` nodes of a kind: the kind's nodes in turn, from the middle one on, each with its weights and states. All
 * have the activations of the middle one, from copies of the nodes that compute these. What those nodes read are weights with names
 * that weft_check_kind_read knows. With 0 nodes it has the copies alone. */
weft_status weft_check_kind_graph(const weft_check_kinds *kinds, size_t kind, size_t n_nodes, weft_graph **graph,
                                  weft_error *error);
/* The kernel of the nodes of such a graph, in a store that has the whole step's graph too. */
weft_status weft_check_kind_support(const weft_check_kinds *kinds, size_t kind, weft_device *device, weft_precision precision,
                                    weft_node_support *support, weft_error *error);
/* A weight source's read function. `user` is the weft_weight_source of the other weights. */
weft_status weft_check_kind_read(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error);

#endif
