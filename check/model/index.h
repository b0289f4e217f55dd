/* The nodes of a graph, and which of them computes each value. */
#ifndef WEFT_CHECK_INDEX_H
#define WEFT_CHECK_INDEX_H

#include "weft/check.h"

typedef struct weft_check_index {
    weft_runtime *runtime;
    weft_node *nodes;
    size_t n_nodes;
    int32_t *producers; /* the node that computes each value */
    size_t n_values;
} weft_check_index;

/* The graph must not change as long as the index lives. Release it on failure too. */
weft_status weft_check_index_create(weft_runtime *runtime, const weft_graph *graph, weft_check_index *index, weft_error *error);
void weft_check_index_release(weft_check_index *index);

/* The input that output `port` of an op is a new version of, or -1. */
int32_t weft_check_state_port(weft_op op, size_t port);
/* The value that a value is a new version of; WEFT_NONE: it is no state, or a state's leaf. */
weft_value weft_check_earlier_version(const weft_check_index *index, weft_value value);
/* The node that the value, or its first version, comes from. */
const weft_node *weft_check_origin(const weft_check_index *index, weft_value value);

#endif
