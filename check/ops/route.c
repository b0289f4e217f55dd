#include "weft/ops/route.h"

#include <math.h>
#include <string.h>

#include "check/op.h"

/* NaN counts as -infinity, and -0 equals 0. */
static double logit_of(const double *logits, int64_t i) {
    return isnan(logits[i]) ? -INFINITY : logits[i];
}

/* Sorts ids by insertion; stable, so that of equal logits the lowest id comes first. */
static void sort(const double *logits, int64_t n, int32_t *ids) {
    for (int64_t i = 0; i < n; i++) {
        int64_t place = i;
        for (; place > 0 && logit_of(logits, ids[place - 1]) < logit_of(logits, i); place--) ids[place] = ids[place - 1];
        ids[place] = (int32_t)i;
    }
}

static double score(double logit, double largest, int32_t function) {
    if (function == WEFT_ROUTE_SIGMOID) return 1.0 / (1.0 + exp(-logit));
    return logit == -INFINITY ? 0.0 : logit == largest ? 1.0 : exp(logit - largest);
}

static void route_column(const weft_route_params *p, const double *logits, int64_t n, int32_t *order, int32_t *ids,
                         double *weights) {
    double sum = 0.0;
    sort(logits, n, order);
    const double largest = logit_of(logits, order[0]);
    const int64_t n_summed = p->normalised ? p->n_chosen : n;
    for (int64_t j = 0; j < n_summed; j++) sum += score(logit_of(logits, order[j]), largest, p->function);
    if (!p->normalised && p->function == WEFT_ROUTE_SIGMOID) sum = 1.0;
    for (int64_t j = 0; j < p->n_chosen; j++) {
        ids[j] = order[j];
        weights[j] = sum == 0.0 ? 0.0 : (double)p->scale * score(logit_of(logits, order[j]), largest, p->function) / sum;
    }
}

static void oracle(weft_check_case *c) {
    weft_route_params params;
    memcpy(&params, c->params, sizeof params);
    const double *logits = weft_check_values(c, WEFT_ROUTE_LOGITS);
    const int64_t n = c->inputs[WEFT_ROUTE_LOGITS].tensor.shape[0];
    int32_t *order = weft_check_memory(c, n, sizeof *order);
    for (int64_t t = 0; weft_check_ready(c) && t < c->inputs[WEFT_ROUTE_LOGITS].tensor.shape[1]; t++)
        route_column(&params, logits + t * n, n, order, c->outputs[WEFT_ROUTE_OUT_IDS].words + t * params.n_chosen,
                     c->outputs[WEFT_ROUTE_OUT_WEIGHTS].oracle + t * params.n_chosen);
}

typedef struct shape {
    int64_t n, t;
    int32_t n_chosen;
    weft_check_pattern pattern;
    double rms;
} shape;

static const shape shapes[] = {
    {1, 1, 1, WEFT_CHECK_NORMAL, 1.0},     {8, 1, 2, WEFT_CHECK_NORMAL, 1.0},     {31, 3, 5, WEFT_CHECK_NORMAL, 1.0},
    {33, 2, 33, WEFT_CHECK_NORMAL, 2.0},   {63, 33, 1, WEFT_CHECK_NORMAL, 1.0},   {128, 257, 8, WEFT_CHECK_NORMAL, 1.0},
    {257, 5, 257, WEFT_CHECK_NORMAL, 3.0}, {513, 3, 22, WEFT_CHECK_NORMAL, 10.0}, {64, 3, 6, WEFT_CHECK_TIES, 2.0},
    {64, 3, 6, WEFT_CHECK_ZEROS, 1.0},     {64, 31, 6, WEFT_CHECK_EXTREME, 1.0},  {64, 5, 7, WEFT_CHECK_EXTREME, 1e30},
    {65, 5, 7, WEFT_CHECK_TINY, 1.0},
};

static const struct {
    int32_t function, normalised;
    float scale;
} variants[] = {
    {WEFT_ROUTE_SOFT_MAX, 1, 1.0f},
    {WEFT_ROUTE_SOFT_MAX, 0, 1.0f},
    {WEFT_ROUTE_SIGMOID, 0, 1.0f},
    {WEFT_ROUTE_SIGMOID, 1, 2.5f},
};

/* Logits that no product of finite numbers gives: each column has other ones. */
static void make_odd(weft_check_input *logits) {
    static const double odd[] = {NAN, INFINITY, -INFINITY, -0.0, 0.0, 88.8, -88.8, -1e30};
    const int64_t n = logits->tensor.shape[0];
    for (int64_t i = 0; i < logits->n_elements; i++) {
        int64_t column = i / n, kind = i % n % 8;
        if (column == 0) weft_check_set(logits, i, NAN);
        if (column == 1) weft_check_set(logits, i, -INFINITY);
        if (column >= 2 && kind < column) weft_check_set(logits, i, odd[kind]);
    }
}

static weft_status check(weft_check_run *run, const shape *s, size_t variant, bool odd, weft_check_size size, weft_error *error) {
    const weft_route_params params = {.n_chosen = s->n_chosen,
                                      .function = variants[variant].function,
                                      .normalised = variants[variant].normalised,
                                      .scale = variants[variant].scale};
    weft_check_case *c = weft_check_begin(run, WEFT_CHECK_NO_TYPE, size, "%d of %lld T=%lld%s%s rms=%g pattern=%d%s", s->n_chosen,
                                          (long long)s->n, (long long)s->t, params.function ? " sigmoid" : "",
                                          params.normalised ? " normalised" : "", s->rms, (int)s->pattern, odd ? " odd" : "");
    if (!c) return WEFT_OK;
    weft_check_params(c, &params, sizeof params);
    weft_check_reals(c, WEFT_ROUTE_LOGITS, s->n, s->t, s->pattern, s->rms);
    if (odd && weft_check_ready(c)) make_odd(&c->inputs[WEFT_ROUTE_LOGITS]);
    weft_check_declare_output(c, WEFT_ROUTE_OUT_IDS, &(weft_tensor){WEFT_I32, {s->n_chosen, s->t, 1, 1}});
    weft_check_result_reals(c, WEFT_ROUTE_OUT_WEIGHTS, s->n_chosen, s->t);
    return weft_check_end(run, c, error);
}

static weft_status cases(weft_check_run *run, weft_error *error) {
    static const shape odd = {64, 10, 9, WEFT_CHECK_NORMAL, 1.0};
    weft_status status = WEFT_OK;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0] && status == WEFT_OK; v++) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && status == WEFT_OK; i++)
            status = check(run, &shapes[i], v, false, weft_check_quick_if(i == 2 || i == 8), error);
        if (status == WEFT_OK) status = check(run, &odd, v, true, WEFT_CHECK_QUICK, error);
    }
    for (size_t i = 0; i < WEFT_CHECK_N_LARGE_T && status == WEFT_OK; i++) {
        const shape large = {128, weft_check_large_t[i], 8, WEFT_CHECK_NORMAL, 1.0};
        status = check(run, &large, 0, false, WEFT_CHECK_LARGE, error);
    }
    return status;
}

const weft_check_op weft_check_op_route = {.oracle = oracle, .cases = cases, .limits = &weft_check_elementary_limits};
