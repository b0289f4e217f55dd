#include <math.h>

#include "check/elementwise.h"
#include "check/oracle.h"

double weft_oracle_gelu(double x) {
    const double pi = 3.14159265358979323846;
    return x / 2.0 * (1.0 + tanh(sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
}

static void oracle(weft_check_case *c) {
    weft_oracle_unary(c, weft_oracle_gelu);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    return weft_check_unary(run, error);
}

const weft_check_op weft_check_op_gelu = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
