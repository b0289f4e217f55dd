#include "weft/ops/soft_max.h"

#include <math.h>
#include <string.h>

#include "check/op.h"

static void soft_max(const double *x, const double *mask, double scale, int64_t n, int64_t t, double *y) {
    for (int64_t column = 0; column < t; column++) {
        double max = -INFINITY, sum = 0.0;
        double *z = y + column * n;
        for (int64_t i = 0; i < n; i++) {
            z[i] = scale * x[column * n + i] + (mask ? mask[column * n + i] : 0.0);
            if (z[i] > max) max = z[i];
        }
        for (int64_t i = 0; i < n; i++) {
            z[i] = max == -INFINITY ? 0.0 : exp(z[i] - max);
            sum += z[i];
        }
        for (int64_t i = 0; i < n && sum > 0.0; i++) z[i] /= sum;
    }
}

static void oracle(weft_check_case *c) {
    weft_soft_max_params params;
    memcpy(&params, c->params, sizeof params);
    const double *x = weft_check_values(c, WEFT_SOFT_MAX_X), *mask = weft_check_values(c, WEFT_SOFT_MAX_MASK);
    if (weft_check_ready(c))
        soft_max(x, mask, (double)params.scale, c->outputs[WEFT_SOFT_MAX_OUT_Y].n_row, c->outputs[WEFT_SOFT_MAX_OUT_Y].n_rows,
                 c->outputs[WEFT_SOFT_MAX_OUT_Y].oracle);
}

typedef struct shape {
    int64_t n, t;
    float scale;
    bool mask;
    weft_check_pattern pattern;
    double rms;
} shape;

static const shape shapes[] = {
    {1, 1, 1.0f, false, WEFT_CHECK_NORMAL, 1.0},   {31, 2, 0.125f, true, WEFT_CHECK_NORMAL, 1.0},
    {33, 3, -1.0f, false, WEFT_CHECK_NORMAL, 1.0}, {63, 5, 1.0f, true, WEFT_CHECK_NORMAL, 3.0},
    {257, 8, 0.5f, true, WEFT_CHECK_NORMAL, 3.0},  {4099, 33, 1.0f, true, WEFT_CHECK_NORMAL, 2.0},
    {257, 3, 1.0f, false, WEFT_CHECK_ZEROS, 1.0},  {257, 3, 1.0f, true, WEFT_CHECK_TIES, 88.0},
    {257, 3, 1.0f, false, WEFT_CHECK_NORMAL, 1e4}, {257, 3, 0.0f, true, WEFT_CHECK_NORMAL, 1.0},
    {63, 3, 1.0f, false, WEFT_CHECK_EXTREME, 1.0}, {63, 3, 1.0f, true, WEFT_CHECK_TINY, 1.0},
};

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    weft_check_case *c =
        weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld T=%lld scale=%g%s rms=%g pattern=%d", (long long)s->n,
                         (long long)s->t, (double)s->scale, s->mask ? " mask" : "", s->rms, (int)s->pattern);
    if (!c) return WEFT_OK;
    weft_soft_max_params params = {.scale = s->scale};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_SOFT_MAX_X, s->n, s->t, s->pattern, s->rms);
    if (s->mask) weft_check_reals(c, WEFT_SOFT_MAX_MASK, s->n, s->t, WEFT_CHECK_NORMAL, 1.0);
    weft_check_result_reals(c, WEFT_SOFT_MAX_OUT_Y, s->n, s->t);
    if (weft_check_ready(c)) {
        /* A causal mask's shape, one column without anything, and numbers. */
        for (int64_t i = 0; s->mask && i < s->n * s->t; i++)
            if (i % s->n > i / s->n + s->n / 2 || i / s->n == 2) weft_check_set(&c->inputs[WEFT_SOFT_MAX_MASK], i, -INFINITY);
    }
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, &shapes[i], weft_check_quick_if(shapes[i].t == 8), error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++)
        status = check(run, &(shape){4096, weft_check_large_t[i], 0.125f, true, WEFT_CHECK_NORMAL, 3.0}, WEFT_CHECK_LARGE, error);
    return status;
}

const weft_check_op weft_check_op_soft_max = {.oracle = oracle, .cases = cases, .limits = &weft_check_sum_limits};
