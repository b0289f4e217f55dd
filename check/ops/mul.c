#include "check/elementwise.h"

static double product(double a, double b) {
    return a * b;
}

static void oracle(weft_check_case *c) {
    weft_oracle_binary(c, product);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    return weft_check_binary(run, error);
}

const weft_check_op weft_check_op_mul = {.oracle = oracle, .cases = cases, .limits = &weft_check_rounding_limits};
