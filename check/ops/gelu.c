#include <math.h>

#include "check/elementwise.h"
#include "check/oracle.h"

double weft_oracle_gelu(double x) {
    const double pi = 3.14159265358979323846;
    return x / 2.0 * (1.0 + tanh(sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
}

void weft_check_oracle_gelu(weft_check_case *c) {
    weft_oracle_unary(c, weft_oracle_gelu);
}

weft_status weft_check_cases_gelu(weft_check_run *run, weft_error *error) {
    return weft_check_unary(run, error);
}
