#include "check/elementwise.h"

static double oracle(double a, double b) {
    return a + b;
}

weft_status weft_check_cases_add(weft_check_run *run, weft_error *error) {
    return weft_check_binary(run, oracle, error);
}
