#include "weft/ops/soft_cap.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"

static void oracle(weft_check_case *c) {
    weft_soft_cap_params params;
    memcpy(&params, c->params, sizeof params);
    const double *x = weft_check_values(c, WEFT_SOFT_CAP_X), cap = (double)params.cap;
    for (int64_t i = 0; weft_check_ready(c) && i < c->inputs[WEFT_SOFT_CAP_X].n_elements; i++)
        c->outputs[WEFT_SOFT_CAP_OUT_Y].oracle[i] = cap * tanh(x[i] / cap);
}

/* Values far below the cap, near the change of formula, and beyond the cap. */
static const struct {
    int64_t n, t;
    float cap;
    weft_check_pattern pattern;
    double rms;
} shapes[] = {
    {1, 1, 30.0f, WEFT_CHECK_NORMAL, 1.0},      {257, 3, 30.0f, WEFT_CHECK_NORMAL, 10.0},
    {4099, 2, 50.0f, WEFT_CHECK_NORMAL, 100.0}, {63, 33, 1.0f, WEFT_CHECK_NORMAL, 0.375},
    {257, 2, 30.0f, WEFT_CHECK_EXTREME, 1e36},  {257, 2, 30.0f, WEFT_CHECK_NORMAL, 1e-4},
    {33, 5, 1e-3f, WEFT_CHECK_NORMAL, 1000.0},  {31, 8, 1e6f, WEFT_CHECK_NORMAL, 1.0},
    {63, 3, 30.0f, WEFT_CHECK_TINY, 1.0},       {63, 3, 30.0f, WEFT_CHECK_ZEROS, 1.0},
};

static weft_status check(weft_check_run *run, int64_t n, int64_t t, float cap, weft_check_pattern pattern, double rms,
                         weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld T=%lld cap=%g rms=%g pattern=%d", (long long)n,
                                          (long long)t, (double)cap, rms, (int)pattern);
    if (!c) return WEFT_OK;
    const weft_soft_cap_params params = {.cap = cap};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_SOFT_CAP_X, n, t, pattern, rms);
    weft_check_result_reals(c, WEFT_SOFT_CAP_OUT_Y, n, t);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, shapes[i].n, shapes[i].t, shapes[i].cap, shapes[i].pattern, shapes[i].rms,
                       weft_check_quick_if(shapes[i].n == 257), error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check(run, 256000, weft_check_large_t[i] < 16 ? weft_check_large_t[i] : 16, 30.0f, WEFT_CHECK_NORMAL, 10.0,
                       WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_soft_cap = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
