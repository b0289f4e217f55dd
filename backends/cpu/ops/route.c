#include "weft/ops/route.h"

#include <math.h>

#include "backends/cpu/elementwise.h"
#include "weft/ops/math.h"

/* NaN counts as -infinity. */
static float logit_of(const float *logits, int64_t i) {
    return logits[i] > -INFINITY ? logits[i] : -INFINITY;
}

/* The expert that follows `last` in the order of choice; -1 comes before the first. */
static int64_t next_of(const float *logits, int64_t n, int64_t last) {
    const float bound = last < 0 ? INFINITY : logit_of(logits, last);
    int64_t next = -1;
    float best = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        float x = logit_of(logits, i);
        bool follows = x < bound || (x == bound && i > last);
        if (!follows || (next >= 0 && x <= best)) continue;
        best = x;
        next = i;
    }
    return next;
}

static float score_of(float logit, float largest, int32_t function) {
    if (function == WEFT_ROUTE_SIGMOID) return 1.0f / (1.0f + weft_exp(0.0f - logit));
    if (logit == largest) return logit > -INFINITY ? 1.0f : 0.0f;
    return weft_exp(logit - largest);
}

/* The sum in lanes of all scores. */
static float sum_of_all(const float *logits, int64_t n, float largest, int32_t function) {
    float lanes[WEFT_LANES] = {0};
    for (int64_t i = 0; i < n; i++) lanes[i % WEFT_LANES] += score_of(logit_of(logits, i), largest, function);
    for (int width = WEFT_LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++) lanes[l] += lanes[l + width];
    return lanes[0];
}

static void route_column(const weft_cpu_call *call, int64_t column) {
    const weft_route_params *params = call->phase->params;
    const int64_t n = call->phase->inputs[WEFT_ROUTE_LOGITS].tensor.shape[0], n_chosen = params->n_chosen;
    const float *logits = (const float *)weft_cpu_data(&call->phase->inputs[WEFT_ROUTE_LOGITS]) + column * n;
    int32_t *ids = (int32_t *)weft_cpu_data(&call->phase->outputs[WEFT_ROUTE_OUT_IDS]) + column * n_chosen;
    float *weights = (float *)weft_cpu_data(&call->phase->outputs[WEFT_ROUTE_OUT_WEIGHTS]) + column * n_chosen;
    float largest = 0.0f, sum = 0.0f;
    int64_t last = -1;
    for (int64_t j = 0; j < n_chosen; j++) {
        last = next_of(logits, n, last);
        if (j == 0) largest = logit_of(logits, last);
        ids[j] = (int32_t)last;
        weights[j] = score_of(logit_of(logits, last), largest, params->function);
        sum += weights[j];
    }
    if (params->normalised == 0)
        sum = params->function == WEFT_ROUTE_SIGMOID ? 1.0f : sum_of_all(logits, n, largest, params->function);
    for (int64_t j = 0; j < n_chosen; j++) weights[j] = sum == 0.0f ? 0.0f : weights[j] / sum * params->scale;
}

static void run(const weft_cpu_call *call) {
    const weft_route_params *params = call->phase->params;
    const int64_t *shape = call->phase->inputs[WEFT_ROUTE_LOGITS].tensor.shape;
    weft_cpu_each_column(call, shape[1], shape[0] * (params->n_chosen + 8), route_column);
}

static const weft_cpu_kernel rows[] = {WEFT_CPU_EXACT(WEFT_OP_ROUTE, "route", .run = run)};
const weft_kernel_rows weft_cpu_op_route = WEFT_KERNEL_ROWS(rows);
