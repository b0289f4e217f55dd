#include <math.h>

#include "check/op.h"

static void oracle(weft_check_case *c) {
    const double *x = weft_check_values(c, WEFT_SUM_EXPERTS_X), *weights = weft_check_values(c, WEFT_SUM_EXPERTS_WEIGHTS);
    const int64_t n_chosen = c->inputs[WEFT_SUM_EXPERTS_WEIGHTS].tensor.shape[0];
    weft_check_output *y = &c->outputs[WEFT_SUM_EXPERTS_OUT_Y];
    for (int64_t i = 0; weft_check_ready(c) && i < y->n_row * y->n_rows; i++) {
        int64_t t = i / y->n_row, place = i % y->n_row;
        double squares = 0.0;
        for (int64_t j = t * n_chosen; j < (t + 1) * n_chosen; j++) {
            double term = weights[j] * x[j * y->n_row + place];
            y->oracle[i] += term;
            squares += term * term;
        }
        y->magnitude[i] = sqrt(squares);
    }
}

static weft_status check(weft_check_run *run, int64_t n, int64_t n_chosen, int64_t t, weft_check_pattern pattern,
                         weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld of %lld T=%lld pattern=%d", (long long)n_chosen,
                                          (long long)n, (long long)t, (int)pattern);
    if (!c) return WEFT_OK;
    weft_check_reals(c, WEFT_SUM_EXPERTS_X, n, n_chosen * t, pattern, 1.0);
    weft_check_reals(c, WEFT_SUM_EXPERTS_WEIGHTS, n_chosen, t, pattern, 0.3);
    weft_check_result_reals(c, WEFT_SUM_EXPERTS_OUT_Y, n, t);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    static const struct { int64_t n, n_chosen; } shapes[] = {{1, 1}, {31, 2}, {33, 8}, {63, 3}, {257, 4}, {4099, 7}};
    const size_t n_shapes = sizeof shapes / sizeof shapes[0];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < n_shapes * weft_check_t_count && status == WEFT_OK; i++)
        status = check(run, shapes[i % n_shapes].n, shapes[i % n_shapes].n_chosen, weft_check_t[i / n_shapes], WEFT_CHECK_NORMAL,
                       weft_check_quick_if(i % n_shapes == 4), error);
    if (status == WEFT_OK) status = check(run, 257, 5, 3, WEFT_CHECK_EXTREME, WEFT_CHECK_QUICK, error);
    if (status == WEFT_OK) status = check(run, 257, 5, 3, WEFT_CHECK_TINY, WEFT_CHECK_USUAL, error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check(run, 2048, 8, weft_check_large_t[i], WEFT_CHECK_NORMAL, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_sum_experts = {.oracle = oracle, .cases = cases, .limits = &weft_check_sum_limits};
