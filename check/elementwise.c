/* Cases of the ops that work element by element. */
#include "check/elementwise.h"

void weft_oracle_binary(weft_check_case *c, double (*function)(double a, double b)) {
    const double *a = weft_check_values(c, 0), *b = weft_check_values(c, 1);
    for (int64_t i = 0; weft_check_ready(c) && i < c->inputs[0].n_elements; i++)
        c->outputs[0].oracle[i] = function(a[i], b[i % c->inputs[1].n_elements]);
}

void weft_oracle_unary(weft_check_case *c, double (*function)(double x)) {
    const double *x = weft_check_values(c, 0);
    for (int64_t i = 0; weft_check_ready(c) && i < c->inputs[0].n_elements; i++) c->outputs[0].oracle[i] = function(x[i]);
}

static const int64_t sizes[] = {1, 31, 33, 63, 257, 4099};
#define LARGE_SIZE 14336

static weft_status check_binary(weft_check_run *run, int64_t n, int64_t t, bool per_column, weft_check_pattern pattern,
                                weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld T=%lld%s%s", (long long)n, (long long)t,
                                          per_column ? "" : " one column", pattern == WEFT_CHECK_NORMAL ? "" : " extreme");
    if (!c) return WEFT_OK;
    weft_check_reals(c, 0, n, t, pattern, 1.0);
    if (per_column)
        weft_check_reals(c, 1, n, t, pattern, 1.0);
    else
        weft_check_weight(c, 1, WEFT_F32, n, 1, pattern, 1.0);
    weft_check_result_reals(c, 0, n, t);
    return weft_check_end(run, c, error);
}

weft_status weft_check_binary(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        weft_check_size size = weft_check_quick_if(sizes[i] == 257);
        for (size_t j = 0; j < weft_check_t_count && status == WEFT_OK; j++) {
            status = check_binary(run, sizes[i], weft_check_t[j], true, WEFT_CHECK_NORMAL, size, error);
            if (status == WEFT_OK) status = check_binary(run, sizes[i], weft_check_t[j], false, WEFT_CHECK_NORMAL, size, error);
        }
    }
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check_binary(run, LARGE_SIZE, weft_check_large_t[i], true, WEFT_CHECK_NORMAL, WEFT_CHECK_LARGE, error);
    return status == WEFT_OK ? check_binary(run, 257, 3, true, WEFT_CHECK_EXTREME, WEFT_CHECK_QUICK, error) : status;
}

static weft_status check_unary(weft_check_run *run, int64_t n, int64_t t, weft_check_pattern pattern, double rms,
                               weft_check_size size, weft_error *error) {
    weft_check_case *c = weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld T=%lld rms=%g pattern=%d", (long long)n,
                                          (long long)t, rms, (int)pattern);
    if (!c) return WEFT_OK;
    weft_check_reals(c, 0, n, t, pattern, rms);
    weft_check_result_reals(c, 0, n, t);
    return weft_check_end(run, c, error);
}

weft_status weft_check_unary(weft_check_run *run, weft_error *error) {
    /* The middle, and both tails, where exponentials vanish and overflow. */
    static const double rms[] = {1.0, 10.0, 1000.0, 1e36};
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < weft_check_t_count && status == WEFT_OK; i++)
        status = check_unary(run, sizes[i], weft_check_t[i], WEFT_CHECK_NORMAL, 1.0, weft_check_quick_if(sizes[i] == 257), error);
    for (size_t i = 0; i < sizeof rms / sizeof rms[0] && status == WEFT_OK; i++)
        status = check_unary(run, 257, 2, WEFT_CHECK_EXTREME, rms[i], WEFT_CHECK_QUICK, error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check_unary(run, LARGE_SIZE, weft_check_large_t[i], WEFT_CHECK_NORMAL, 1.0, WEFT_CHECK_LARGE, error);
    if (status == WEFT_OK) status = check_unary(run, 63, 3, WEFT_CHECK_TINY, 1.0, WEFT_CHECK_USUAL, error);
    return status == WEFT_OK ? check_unary(run, 63, 3, WEFT_CHECK_ZEROS, 1.0, WEFT_CHECK_USUAL, error) : status;
}
