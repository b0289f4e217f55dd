/* The rules of an op: one constant `weft_op_rules_STEM` in core/ops/STEM.c. */
#ifndef WEFT_CORE_OP_H
#define WEFT_CORE_OP_H

#include "core/graph.h"
#include "weft/ops/ports.h"

struct weft_fusion; /* core/fusion.h: the pattern a fused op replaces */

/* A node's tensors; NULL for an optional one left out. */
typedef struct weft_op_tensors {
    const weft_tensor *inputs[WEFT_MAX_INPUTS];
    weft_leaf leaves[WEFT_MAX_INPUTS];
} weft_op_tensors;

typedef struct weft_op_rules {
    size_t params_size;
    /* Checks inputs and parameters, and sets the outputs' tensors; a shape[0] of 0 switches an optional output off. State outputs
     * are filled in by the caller. Messages name the input and both shapes. */
    weft_status (*infer)(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error);
    /* Arithmetic operations of a node, and the bytes it moves: `bytes` comes as the sum of its tensors, states not counted, and is
     * changed where the op moves more or less. Either is an upper bound for cached positions, which differ from step to step.
     * NULL: no arithmetic. */
    void (*cost)(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes);
    /* "epsilon=1e-05 n_groups=4" for printing; NULL: no parameters. */
    void (*describe)(const void *params, char *text, size_t size);
    const struct weft_fusion *fusion; /* NULL: not a fused op */
    const char *together;             /* weights that are read together and may share a layout, or NULL: "gate up" */
    bool commutes;                    /* exchanging the first two inputs changes nothing */
    bool looks_up;                    /* reads only one row of a weight for each column of its first output */
    bool chooses_matrices;            /* reads only one matrix of a weight for each column of its first output */
} weft_op_rules;

typedef struct weft_op_row {
    const char *name;
    const char *inputs, *outputs; /* as in ops.def */
    const weft_op_rules *rules;
} weft_op_row;

/* NULL where there is no such op. */
const weft_op_row *weft_op_get(weft_op op);
/* One more than the highest op. */
size_t weft_op_count(void);
/* Copies the name of input or output `index`, and sets whether it may be left out. False past the last. */
bool weft_op_port(const char *ports, size_t index, char *name, size_t size, bool *optional);
/* Whether a list of names has `name`. */
bool weft_op_has_port(const char *ports, const char *name);
/* The input of which output `output` is the next version, or -1. */
int weft_op_state_input(const weft_op_row *row, size_t output);

#endif
