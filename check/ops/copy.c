#include "check/oracle.h"

static void oracle(weft_check_case *c) {
    const double *x = weft_check_values(c, WEFT_COPY_X);
    for (int64_t i = 0; weft_check_ready(c) && i < c->inputs[WEFT_COPY_X].n_elements; i++)
        c->outputs[WEFT_COPY_OUT_Y].oracle[i] = x[i];
}

/* `t` rows lie in `matrices` matrices. */
static weft_status check(weft_check_run *run, weft_type type, bool weight, int64_t n, int64_t t, int64_t matrices,
                         weft_check_size size, weft_error *error) {
    weft_check_case *c =
        weft_check_begin(run, weight ? type : WEFT_CHECK_NO_TYPE, size, "%s%s %lld T=%lld%s", weft_type_get(type)->name,
                         weight ? "" : " activation", (long long)n, (long long)t, matrices > 1 ? " of several matrices" : "");
    if (!c) return WEFT_OK;
    if (weight)
        weft_check_weight(c, WEFT_COPY_X, type, n, t, WEFT_CHECK_EXTREME, 1.0);
    else
        weft_check_reals(c, WEFT_COPY_X, n, t, WEFT_CHECK_EXTREME, 1.0);
    weft_tensor *x = &c->inputs[WEFT_COPY_X].tensor;
    x->shape[1] = t / matrices;
    x->shape[2] = matrices;
    weft_check_declare_output(c, WEFT_COPY_OUT_Y, &(weft_tensor){WEFT_F32, {n, x->shape[1], x->shape[2], 1}});
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    static const weft_check_matrix shapes[] = {{1, 1, 0, 1},  {31, 1, 0, 2},  {33, 3, 0, 3},
                                               {63, 2, 0, 5}, {257, 9, 0, 8}, {4099, 3, 0, 33}};
    weft_status status = WEFT_OK;
    for (size_t j = 0; j < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; j++) {
        weft_check_size size = weft_check_quick_if(shapes[j].t == 8);
        status = check(run, WEFT_F32, false, shapes[j].k, shapes[j].t, 1, size, error);
        for (size_t i = 0; i < weft_check_type_count && status == WEFT_OK; i++)
            status =
                check(run, weft_check_types[i], true, weft_check_k(&shapes[j], weft_check_types[i]), shapes[j].t, 1, size, error);
    }
    for (size_t i = 0; i < weft_check_type_count && status == WEFT_OK; i++)
        status = check(run, weft_check_types[i], true, weft_check_k(&shapes[4], weft_check_types[i]), 31 * 3, 3, WEFT_CHECK_QUICK,
                       error);
    if (status == WEFT_OK) status = check(run, WEFT_F32, false, 33, 7 * 5, 5, WEFT_CHECK_QUICK, error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check(run, WEFT_F32, false, 4096, weft_check_large_t[i], 1, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_copy = {.oracle = oracle, .cases = cases, .limits = &weft_check_copy_limits};
