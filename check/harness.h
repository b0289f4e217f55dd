/* The walk over the op table, shared by weft_check_ops and weft_bench_ops: which cases to run, and what to do with each. */
#ifndef WEFT_CHECK_HARNESS_H
#define WEFT_CHECK_HARNESS_H

#include "check/case.h"

struct weft_check_run {
    weft_device *device;
    const char *op, *type, *name; /* only these; NULL: all. `name` is a part of a case's name */
    weft_check_size size;
    weft_precision precision;
    uint64_t seed;
    bool timed;      /* cases have no oracle's values, and large tensors repeat their first elements */
    uint64_t memory; /* bytes of tensors that a case may have; 0: no limit */
    /* Called for each case, which is freed afterwards. NULL: cases are only counted. */
    weft_status (*end)(weft_check_run *run, weft_check_case *c, weft_error *error);
    void *user; /* of `end` */
    size_t n_cases;
    weft_op current_op;
    weft_check_case current;
};

/* Runs every case of the table that the options allow. WEFT_INVALID_ARGUMENT if there is no such op or type. */
weft_status weft_check_walk(weft_check_run *run, weft_error *error);

#endif
