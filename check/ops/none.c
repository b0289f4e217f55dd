/* A leaf computes nothing: there is nothing to check. */
#include "check/op.h"

static void oracle(weft_check_case *c) {
    (void)c;
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    (void)run, (void)error;
    return WEFT_OK;
}

const weft_check_op weft_check_op_none = {.oracle = oracle, .cases = cases, .limits = &weft_check_copy_limits};
