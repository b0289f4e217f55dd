/* Oracles, op cases and the comparison of devices: what a maintainer of a backend or a driver runs. The tests and the benchmarks
 * use the same tables.
 */
#ifndef WEFT_CHECK_H
#define WEFT_CHECK_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_check_options {
    const char *op;   /* only this op; NULL: all */
    const char *type; /* only cases with a weight of this type; NULL: all */
    weft_precision precision;
    uint64_t seed; /* 0: 1 */
    bool quick;    /* a subset for a first look */
} weft_check_options;

/* How far a device's result lies from the double-precision oracle's. */
typedef struct weft_check_result {
    weft_op op;
    const char *name;    /* of the case: "mul_mat Q4_K 257x33 T=7" */
    const char *kernel;  /* what ran it */
    const char *skipped; /* why it did not run, or NULL */
    const char *failure; /* why it did not pass, or NULL */
    uint64_t seed;
    double nmse, nmse_limit;   /* sum (y - oracle)^2 / sum oracle^2; a sum that cancels counts as what its terms add up to */
    double error, error_limit; /* largest |y - oracle| over the root mean square of its row of the oracle */
    int32_t worst_output;      /* which of the op's outputs the worst element is in */
    int64_t worst_row, worst_column;
    double worst_value, worst_oracle;
    bool passed;
} weft_check_result;

typedef struct weft_check_summary {
    size_t n_passed, n_failed, n_skipped;
} weft_check_summary;

/* Runs every case of the op table on `device` and compares with the oracle. `report` (may be NULL) sees each result; a status it
 * returns ends the run. A failed case is counted, not an error. */
WEFT_API weft_status weft_check_ops(weft_device *device, const weft_check_options *options,
                                    weft_status (*report)(void *user, const weft_check_result *result), void *user,
                                    weft_check_summary *summary, weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
