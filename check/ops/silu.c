#include <math.h>

#include "check/elementwise.h"
#include "check/oracle.h"

double weft_oracle_silu(double x) {
    return x / (1.0 + exp(-x));
}

static void oracle(weft_check_case *c) {
    weft_oracle_unary(c, weft_oracle_silu);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    return weft_check_unary(run, error);
}

const weft_check_op weft_check_op_silu = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
