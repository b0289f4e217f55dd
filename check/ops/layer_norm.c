#include "weft/ops/layer_norm.h"

#include <math.h>
#include <string.h>

#include "check/oracle.h"

static void oracle(weft_check_case *c) {
    weft_layer_norm_params params;
    memcpy(&params, c->params, sizeof params);
    const double *x = weft_check_values(c, WEFT_LAYER_NORM_X), *weight = weft_check_values(c, WEFT_LAYER_NORM_WEIGHT),
                 *bias = weft_check_values(c, WEFT_LAYER_NORM_BIAS);
    if (!weft_check_ready(c)) return;
    const int64_t n = c->outputs[WEFT_LAYER_NORM_OUT_Y].n_row;
    double *y = c->outputs[WEFT_LAYER_NORM_OUT_Y].oracle;
    for (int64_t column = 0; column < c->outputs[WEFT_LAYER_NORM_OUT_Y].n_rows; column++, x += n, y += n) {
        double sum = 0.0, squares = 0.0;
        for (int64_t i = 0; i < n; i++) sum += x[i];
        const double mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
        const double scale = 1.0 / sqrt(squares / (double)n + (double)params.epsilon);
        for (int64_t i = 0; i < n; i++)
            y[i] = (x[i] - mean) * scale * (weight != NULL ? weight[i] : 1.0) + (bias != NULL ? bias[i] : 0.0);
    }
}

typedef struct shape {
    int64_t n, t;
    bool weight, bias;
    weft_check_pattern pattern;
    double rms;
    float epsilon;
} shape;

static const shape shapes[] = {
    {31, 2, true, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f},   {33, 3, false, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f},
    {63, 5, true, false, WEFT_CHECK_NORMAL, 1.0, 1e-6f},  {257, 8, true, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f},
    {576, 33, true, true, WEFT_CHECK_NORMAL, 1.0, 1e-5f}, {4099, 1, false, false, WEFT_CHECK_NORMAL, 30.0, 1e-6f},
    {257, 3, true, true, WEFT_CHECK_ZEROS, 1.0, 1e-5f},   {257, 3, true, true, WEFT_CHECK_TIES, 1.0, 1e-5f},
    {257, 3, true, true, WEFT_CHECK_EXTREME, 1.0, 1e-5f}, {257, 3, true, true, WEFT_CHECK_NORMAL, 1e-4, 1e-5f},
    {257, 3, true, true, WEFT_CHECK_NORMAL, 1e15, 1e-5f},
};

static weft_status check(weft_check_run *run, const shape *s, weft_check_size size, weft_error *error) {
    weft_check_case *c =
        weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%lld T=%lld%s%s rms=%g pattern=%d", (long long)s->n, (long long)s->t,
                         s->weight ? "" : " no weight", s->bias ? "" : " no bias", s->rms, (int)s->pattern);
    if (!c) return WEFT_OK;
    const weft_layer_norm_params params = {.epsilon = s->epsilon};
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_LAYER_NORM_X, s->n, s->t, s->pattern, s->rms);
    if (s->weight) weft_check_weight(c, WEFT_LAYER_NORM_WEIGHT, WEFT_F32, s->n, 1, WEFT_CHECK_NORMAL, 1.0);
    if (s->bias) weft_check_weight(c, WEFT_LAYER_NORM_BIAS, WEFT_F32, s->n, 1, WEFT_CHECK_NORMAL, 1.0);
    weft_check_result_reals(c, WEFT_LAYER_NORM_OUT_Y, s->n, s->t);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
        status = check(run, &shapes[i], weft_check_quick_if(shapes[i].n == 257), error);
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++) {
        const shape large = {.n = 3072, .t = weft_check_large_t[i], .weight = true, .bias = true, .rms = 1.0, .epsilon = 1e-5f};
        status = check(run, &large, WEFT_CHECK_LARGE, error);
    }
    return status;
}

const weft_check_op weft_check_op_layer_norm = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
