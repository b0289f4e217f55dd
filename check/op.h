/* What the check knows of an op: one constant `weft_check_op_STEM` in check/ops/STEM.c. */
#ifndef WEFT_CHECK_OP_H
#define WEFT_CHECK_OP_H

#include "check/case.h"

typedef struct weft_check_parts weft_check_parts; /* parts.h */

/* The limits of an op: in `exact`, in `fast`, and in `fast` where its weight is quantised. */
typedef struct weft_check_op_limits {
    weft_check_limits exact, fast, fast_quantised;
} weft_check_op_limits;

/* Limits that several ops have. limits.c derives the figures. */
extern const weft_check_op_limits weft_check_copy_limits;       /* values are moved */
extern const weft_check_op_limits weft_check_rounding_limits;   /* each result is rounded once */
extern const weft_check_op_limits weft_check_elementary_limits; /* a few roundings and an exponential or a root */
extern const weft_check_op_limits weft_check_sum_limits;        /* sums in F32, in either precision */
extern const weft_check_op_limits weft_check_product_limits;    /* products with a weight */
#define WEFT_CHECK_EXACT_SUM                                                                                                       \
    { 1e-10, 1e-4, 1e-37 } /* `exact` of all ops with sums */

typedef struct weft_check_op {
    /* Fills the outputs from the inputs and parameters: the op in double precision, from its definition in weft/ops/STEM.h. Outputs
     * have been declared; state outputs say that nothing changed. If memory runs out, the case is not ready. */
    void (*oracle)(weft_check_case *c);
    /* Makes the op's cases. */
    weft_status (*cases)(weft_check_run *run, weft_error *error);
    const weft_check_op_limits *limits;
    /* Adds the ordinary ops that a fused op stands for, from its definition. The pattern in core/ops/STEM.c is not used, so that a
     * mistake in it is found. NULL: not a fused op. */
    void (*parts)(weft_check_parts *parts);
    /* The outputs are those of `sample`. In the state, only last tokens change. */
    bool chooses;
} weft_check_op;

/* One more than the highest op. */
size_t weft_check_op_count(void);
/* NULL where there is no such op. */
const weft_check_op *weft_check_op_get(weft_op op);
/* Runs the oracle of the case's op, if the case is ready. */
void weft_check_oracle(weft_check_case *c);

#endif
