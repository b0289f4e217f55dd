/* Fused ops as graphs of ordinary ops. */
#ifndef WEFT_CHECK_PARTS_H
#define WEFT_CHECK_PARTS_H

#include "check/op.h"

/* The parts of one node while they are added. `inputs` and `outputs` have the ports of the fused op. */
struct weft_check_parts {
    const weft_check_case *c;
    weft_graph *graph;
    const weft_value *inputs;
    weft_value *outputs;
    weft_error *error;
    weft_status status; /* the first failure stays: nothing is added after it */
    int n_nodes;
};

/* Adds a node of any op and gives its first output. */
weft_value weft_check_part(weft_check_parts *parts, weft_op op, const weft_value *inputs, const void *params, size_t size,
                           weft_value outputs[WEFT_MAX_OUTPUTS]);
/* Each adds a node of a common op and gives its output. */
weft_value weft_check_part_binary(weft_check_parts *parts, weft_op op, weft_value a, weft_value b); /* WEFT_NONE as b: unary */
weft_value weft_check_part_mul_mat(weft_check_parts *parts, weft_value weight, weft_value x, int32_t extra_precision);
weft_value weft_check_part_rms_norm(weft_check_parts *parts, weft_value x, weft_value weight, float epsilon, int32_t n_groups);
/* a + b; WEFT_NONE as b: a. */
weft_value weft_check_part_add(weft_check_parts *parts, weft_value a, weft_value b);

bool weft_check_is_fused(weft_op op);
/* Adds the parts of the case's op, which is a fused one, and gives its outputs. */
weft_status weft_check_add_parts(const weft_check_case *c, weft_graph *graph, const weft_value *inputs, weft_value *outputs,
                                 weft_error *error);

#endif
