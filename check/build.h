/* Makes a graph of a case, with a source of its weights and states. Shared by checking and timing. */
#ifndef WEFT_CHECK_BUILD_H
#define WEFT_CHECK_BUILD_H

#include "check/case.h"

typedef struct weft_check_build_options {
    size_t
        n_nodes; /* nodes of the case's op, each with weights and float states of its own; I32 states are shared, as in a model */
    bool parts;  /* each node is replaced by the fused op's parts */
    bool timed; /* F32 step inputs are weights, which a copy reads once a step, and there are no results; so nothing large is copied
                   between host and device */
} weft_check_build_options;

weft_status weft_check_build(const weft_check_case *c, const weft_check_build_options *options, weft_graph **graph,
                             weft_error *error);
/* Sets the case's `kernel` to the kernel of the graph's last node; with `parts` it stands for the other nodes too. WEFT_UNSUPPORTED
 * if a node has no kernel. */
weft_status weft_check_ask(weft_check_case *c, const weft_graph *graph, weft_device *device, weft_error *error);
/* The read function of a weight source; `user` is the case. */
weft_status weft_check_read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error);
weft_status weft_check_write_states(const weft_check_case *c, const weft_check_build_options *options, weft_store *store,
                                    weft_error *error);
/* The name of an input in the graph. */
void weft_check_input_name(size_t port, size_t node, char name[WEFT_NAME_SIZE]);

#endif
