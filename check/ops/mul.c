#include "check/elementwise.h"

static double product(double a, double b) {
    return a * b;
}

void weft_check_oracle_mul(weft_check_case *c) {
    weft_oracle_binary(c, product);
}

weft_status weft_check_cases_mul(weft_check_run *run, weft_error *error) {
    return weft_check_binary(run, error);
}
