#include "weft/ops/route.h"

#include "kernels/common.h"

/* An expert; id n: none. */
struct weft_expert {
    float logit;
    int id;
};

static __device__ inline bool weft_precedes(const weft_expert &a, const weft_expert &b, int n) {
    return a.id < n && (b.id >= n || a.logit > b.logit || (a.logit == b.logit && a.id < b.id));
}

/* NaN counts as -infinity. */
static __device__ inline float weft_logit(float x) {
    return x > -WEFT_INFINITY ? x : -WEFT_INFINITY;
}

/* The first of the experts that follow `last` in the order of the definition; all lanes get it. `last` with id n: nothing was
 * chosen yet. */
static __device__ inline weft_expert weft_next_expert(const float *logits, int n, const weft_expert &last) {
    weft_expert best = {0.0f, n};
    for (int i = weft_lane(); i < n; i += WEFT_LANES) {
        weft_expert candidate = {weft_logit(logits[i]), i};
        bool follows = last.id >= n || weft_precedes(last, candidate, n);
        if (follows && weft_precedes(candidate, best, n)) best = candidate;
    }
    for (int half = WEFT_LANES / 2; half > 0; half /= 2) {
        weft_expert other;
        other.logit = __shfl_xor_sync(WEFT_ALL_LANES, best.logit, half);
        other.id = __shfl_xor_sync(WEFT_ALL_LANES, best.id, half);
        if (weft_precedes(other, best, n)) best = other;
    }
    return best;
}

static __device__ inline float weft_score(float logit, float largest, int32_t function) {
    if (function == WEFT_ROUTE_SIGMOID) return 1.0f / (1.0f + weft_exp(0.0f - logit));
    if (logit == largest) return logit > -WEFT_INFINITY ? 1.0f : 0.0f;
    return weft_exp(logit - largest);
}

/* One warp a column. */
WEFT_KERNEL(weft_route, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_route_params &params = weft_params<weft_route_params>(phase);
    int n = (int)phase.inputs[WEFT_ROUTE_LOGITS].shape[0];
    int64_t first = (int64_t)blockIdx.x * params.n_chosen;
    const float *logits = weft_at<const float>(phase.inputs[WEFT_ROUTE_LOGITS]) + (int64_t)blockIdx.x * n;
    int32_t *ids = weft_at<int32_t>(phase.outputs[WEFT_ROUTE_OUT_IDS]) + first;
    float *weights = weft_at<float>(phase.outputs[WEFT_ROUTE_OUT_WEIGHTS]) + first;
    weft_expert last = {0.0f, n};
    float largest = 0.0f, sum = 0.0f;
    for (int j = 0; j < params.n_chosen; j++) {
        last = weft_next_expert(logits, n, last);
        if (j == 0) largest = last.logit;
        float score = weft_score(last.logit, largest, params.function);
        sum += score;
        if (weft_lane() != 0) continue;
        ids[j] = last.id;
        weights[j] = score;
    }
    if (params.normalised == 0 && params.function == WEFT_ROUTE_SIGMOID) sum = 1.0f;
    if (params.normalised == 0 && params.function == WEFT_ROUTE_SOFT_MAX) {
        float part = 0.0f;
        for (int i = weft_lane(); i < n; i += WEFT_LANES) part += weft_score(weft_logit(logits[i]), largest, params.function);
        sum = weft_combine(part);
    }
    for (int j = 0; weft_lane() == 0 && j < params.n_chosen; j++) weights[j] = sum == 0.0f ? 0.0f : weights[j] / sum * params.scale;
}
