#include "check/elementwise.h"

static double sum(double a, double b) {
    return a + b;
}

static void oracle(weft_check_case *c) {
    weft_oracle_binary(c, sum);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    return weft_check_binary(run, error);
}

const weft_check_op weft_check_op_add = {.oracle = oracle, .cases = cases, .limits = &weft_check_rounding_limits};
