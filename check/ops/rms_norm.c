#include "weft/ops/rms_norm.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"

void weft_oracle_rms_norm(const double *x, const double *weight, int64_t n, int64_t n_groups, int64_t t, double epsilon,
                          double *y) {
    int64_t size = n / n_groups;
    for (int64_t group = 0; group < n_groups * t; group++) {
        double squares = 0.0;
        for (int64_t i = 0; i < size; i++) squares += x[group * size + i] * x[group * size + i];
        double scale = 1.0 / sqrt(squares / (double)size + epsilon);
        for (int64_t i = 0; i < size; i++) y[group * size + i] = x[group * size + i] * scale * (weight ? weight[i] : 1.0);
    }
}

static void oracle(weft_check_case *c) {
    weft_rms_norm_params params;
    memcpy(&params, c->params, sizeof params);
    const double *x = weft_check_values(c, WEFT_RMS_NORM_X), *weight = weft_check_values(c, WEFT_RMS_NORM_WEIGHT);
    int64_t n_groups = params.n_groups == 0 ? 1 : params.n_groups;
    if (weft_check_ready(c))
        weft_oracle_rms_norm(x, weight, c->outputs[WEFT_RMS_NORM_OUT_Y].n_row, n_groups, c->outputs[WEFT_RMS_NORM_OUT_Y].n_rows,
                             (double)params.epsilon, c->outputs[WEFT_RMS_NORM_OUT_Y].oracle);
}

typedef struct shape {
    int64_t n, t;
    int32_t n_groups;
    bool weight;
    weft_check_pattern pattern;
    double rms;
    float epsilon;
    bool quick;
} shape;

static const shape shapes[] = {
    {1, 1, 0, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f, false},     {31, 2, 0, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f, false},
    {33, 3, 0, false, WEFT_CHECK_NORMAL, 1.0, 1e-5f, false},   {63, 5, 1, true, WEFT_CHECK_NORMAL, 1.0, 1e-6f, false},
    {257, 8, 0, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f, true},    {576, 33, 0, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f, false},
    {4099, 1, 0, true, WEFT_CHECK_NORMAL, 30.0, 1e-6f, false}, {448, 3, 7, true, WEFT_CHECK_NORMAL, 1.0, 1e-6f, true},
    {256, 5, 2, false, WEFT_CHECK_NORMAL, 1.0, 1e-6f, false},  {33, 8, 33, true, WEFT_CHECK_NORMAL, 1.0, 1e-6f, false},
    {257, 3, 0, true, WEFT_CHECK_ZEROS, 1.0, 1e-5f, false},    {257, 3, 0, true, WEFT_CHECK_TIES, 1.0, 1e-5f, false},
    {257, 3, 0, true, WEFT_CHECK_EXTREME, 1.0, 1e-5f, false},  {257, 3, 0, true, WEFT_CHECK_NORMAL, 1e-4, 1e-5f, false},
    {257, 3, 0, true, WEFT_CHECK_NORMAL, 1e15, 1e-5f, false},  {257, 3, 0, true, WEFT_CHECK_TINY, 1.0, 1e-5f, false},
};

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    weft_check_case *c =
        weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld T=%lld groups=%d%s rms=%g pattern=%d", (long long)s->n,
                         (long long)s->t, (int)s->n_groups, s->weight ? "" : " no weight", s->rms, (int)s->pattern);
    if (!c) return WEFT_OK;
    int64_t n_groups = s->n_groups == 0 ? 1 : s->n_groups;
    weft_rms_norm_params params = {.epsilon = s->epsilon, .n_groups = s->n_groups};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_RMS_NORM_X, s->n, s->t, s->pattern, s->rms);
    if (s->weight) weft_check_weight(c, WEFT_RMS_NORM_WEIGHT, WEFT_F32, s->n / n_groups, 1, WEFT_CHECK_NORMAL, 1.0);
    weft_check_result_reals(c, WEFT_RMS_NORM_OUT_Y, s->n, s->t);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, &shapes[i], weft_check_quick_if(shapes[i].quick), error);
    for (size_t i = 0; i < 2 * WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++) {
        const shape large = {
            .n = i % 2 == 0 ? 1536 : 4096, .t = weft_check_large_t[i / 2], .weight = true, .rms = 1.0, .epsilon = 1e-6f};
        status = check(run, &large, WEFT_CHECK_LARGE, error);
    }
    return status;
}

const weft_check_op weft_check_op_rms_norm = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
