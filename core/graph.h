/* A graph's nodes and values, for the core's own files. */
#ifndef WEFT_CORE_GRAPH_H
#define WEFT_CORE_GRAPH_H

#include "weft/weft.h"

#define WEFT_MAX_GRAPH_OUTPUTS 8
#define WEFT_MAX_NODES (1 << 24)

typedef struct weft_core_node {
    weft_op op; /* WEFT_OP_NONE: a leaf */
    weft_leaf leaf;
    char name[WEFT_NAME_SIZE];
    void *params;
    size_t params_size;
    weft_slice *slice; /* of a weight that is one */
    weft_value inputs[WEFT_MAX_INPUTS];
    weft_value outputs[WEFT_MAX_OUTPUTS];
} weft_core_node;

typedef struct weft_core_value {
    int32_t node;   /* that makes it */
    int32_t output; /* which of its outputs */
    weft_tensor tensor;
    weft_value state;      /* the state leaf this is a version of, or WEFT_NONE */
    weft_value superseded; /* the next version of the state, or WEFT_NONE: no later node may read this one */
} weft_core_value;

/* Nodes are in an order in which inputs come before their users, writers of a state after the readers of the version
 * before. Arrays grow by doubling, from the runtime's allocator. */
struct weft_graph {
    weft_runtime *runtime;
    weft_core_node *nodes;
    size_t n_nodes, node_capacity;
    weft_core_value *values;
    size_t n_values, value_capacity;
    weft_value outputs[WEFT_MAX_GRAPH_OUTPUTS];
    size_t n_outputs;
    uint32_t *leaf_slots; /* hash table of leaves by name: node number + 1, or 0; a power of two */
    size_t leaf_slot_count, n_leaves;
};

/* WEFT_OK, or an error that says what is wrong with `value`. */
weft_status weft_graph_check_value(const weft_graph *graph, weft_value value, weft_error *error);

#endif
