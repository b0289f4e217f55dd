#include <math.h>

#include "check/elementwise.h"
#include "check/oracle.h"

double weft_oracle_silu(double x) {
    return x / (1.0 + exp(-x));
}

void weft_check_oracle_silu(weft_check_case *c) {
    weft_oracle_unary(c, weft_oracle_silu);
}

weft_status weft_check_cases_silu(weft_check_run *run, weft_error *error) {
    return weft_check_unary(run, error);
}
