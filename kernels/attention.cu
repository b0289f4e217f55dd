/* The op attention in `exact`. A warp computes a range of cache positions, and the ranges' results are combined in ascending order.
 * With many rows and heads, one block does both for a row and head. With few, the ranges are spread over the device, and a second
 * kernel combines their results, with the same operations in the same order. */
#include "weft/ops/attention.h"

#include "kernels/attention.h"
#include "kernels/rows.h"

enum {
    RANGE = WEFT_ATTENTION_RANGE,
    HALF = RANGE / 2,
    KEYS_AT_ONCE = 8,
    AT_ONCE = 4, /* runs of 32 places of a head */
    COMBINED = WEFT_ATTENTION_COMBINED,
    PLACES = WEFT_ATTENTION_LARGEST_HEAD / COMBINED
};

extern __shared__ float shared[];

static __device__ inline float as_float(float x) {
    return x;
}

static __device__ inline float as_float(uint16_t x) {
    return weft_from_f16(x);
}

/* exp(x - max), or 0 if nothing was seen so far (max is -infinity). */
static __device__ inline float weight_of(float x, float max) {
    return weft_exp(x - (max > -WEFT_INFINITY ? max : 0.0f));
}

/* Prefetches keys and values. Since the last step the device has read all weights, so its caches do not hold them. Each lane
 * prefetches its own positions, all at the same time; without this the warp would wait for memory many times. */
template <typename element> static __device__ inline void ask_for(const element *key, int64_t to_values, int head_dim) {
    const int line = 128 / (int)sizeof(element);
    for (int d = 0; d < head_dim; d += line) {
        weft_prefetch(key + d);
        weft_prefetch(key + to_values + d);
    }
}

/* One warp's result for the positions [from, to) of the range that begins at `range`. */
template <typename element>
static __device__ void attend(const weft_kv &kv, int32_t sequence, int64_t head, const weft_attention_params &params,
                              const float *q, int64_t range, int64_t from, int64_t to, float *out, float *max_out, float *sum_out) {
    int lane = weft_lane(), head_dim = (int)kv.head_dim;
    const element *data = (const element *)kv.data;
    int64_t places[2], to_values = weft_kv_values(kv);
    float weights[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t index = range + half * HALF + lane;
        places[half] = index >= from && index < to ? weft_kv_place(kv, sequence, index, head) : -1;
        if (places[half] >= 0) ask_for<element>(data + places[half], to_values, head_dim);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        weights[half] = -WEFT_INFINITY;
        for (int j = 0; j < HALF; j += KEYS_AT_ONCE) {
            const element *keys[KEYS_AT_ONCE];
            float sums[KEYS_AT_ONCE] = {};
#pragma unroll
            for (int u = 0; u < KEYS_AT_ONCE; u++) {
                int64_t place = __shfl_sync(WEFT_ALL_LANES, places[half], j + u);
                keys[u] = data + (place < 0 ? 0 : place);
            }
#pragma unroll 2
            for (int d = lane; d < head_dim; d += WEFT_LANES) {
                float value = q[d];
#pragma unroll
                for (int u = 0; u < KEYS_AT_ONCE; u++) sums[u] += as_float(keys[u][d]) * value;
            }
#pragma unroll
            for (int u = 0; u < KEYS_AT_ONCE; u++) {
                float sum = weft_combine(sums[u]);
                if (lane == j + u && places[half] >= 0) weights[half] = sum * params.scale;
            }
        }
        /* After the loop, whose code and registers are then those of models without a cap. */
        if (params.soft_cap > 0.0f && places[half] >= 0) weights[half] = weft_soft_cap_of(weights[half], params.soft_cap);
    }
    float max = weights[0] > -WEFT_INFINITY ? weights[0] : -WEFT_INFINITY;
    max = weft_largest(weights[1] > max ? weights[1] : max);
    weights[0] = weight_of(weights[0], max);
    weights[1] = weight_of(weights[1], max);
    float sum = weft_combine(weights[0] + weights[1]);
    if (lane == 0) {
        *max_out = max;
        *sum_out = sum;
    }
    for (int first = 0; first < head_dim; first += AT_ONCE * WEFT_LANES) {
        float sums[AT_ONCE] = {};
#pragma unroll 8 /* the loads do not depend on whether the position exists */
        for (int j = 0; j < RANGE; j++) {
            int64_t place = __shfl_sync(WEFT_ALL_LANES, j < HALF ? places[0] : places[1], j % HALF);
            float weight = __shfl_sync(WEFT_ALL_LANES, j < HALF ? weights[0] : weights[1], j % HALF);
            const element *value = data + (place < 0 ? 0 : place) + to_values;
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) {
                int d = first + u * WEFT_LANES + lane;
                float product = d < head_dim ? weight * as_float(value[d]) : 0.0f;
                sums[u] = place < 0 ? sums[u] : sums[u] + product;
            }
        }
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++)
            if (first + u * WEFT_LANES + lane < head_dim) out[first + u * WEFT_LANES + lane] = sums[u];
    }
}

/* The positions [low, high) that a row may see, of its sequence. */
struct span {
    int32_t sequence;
    int64_t low, high;
};

static __device__ inline span span_of(const weft_kv &kv, int64_t row, int64_t window) {
    span seen;
    int64_t index = kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
    seen.sequence = weft_kv_sequence(kv, row);
    seen.low = window > 0 && index - window + 1 > 0 ? index - window + 1 : 0;
    seen.high = index + 1;
    if (seen.high > kv.max_pages * kv.page_size) seen.high = kv.max_pages * kv.page_size;
    if (seen.sequence < 0) seen.high = 0;
    return seen;
}

static __device__ inline void attend_range(const weft_kv &kv, const span &seen, int64_t head, const weft_attention_params &params,
                                           const float *q, int64_t range, float *out, float *max, float *sum) {
    int64_t from = seen.low > range ? seen.low : range, to = seen.high < range + RANGE ? seen.high : range + RANGE;
    if (kv.is_f16)
        attend<uint16_t>(kv, seen.sequence, head, params, q, range, from, to, out, max, sum);
    else
        attend<float>(kv, seen.sequence, head, params, q, range, from, to, out, max, sum);
}

static __device__ inline weft_kv kv_of(const weft_cuda_phase &phase) {
    return weft_kv_of(phase.inputs[WEFT_ATTENTION_KV], phase.inputs[WEFT_ATTENTION_ROWS], phase.inputs[WEFT_ATTENTION_SEQUENCES]);
}

/* ---- One block for each row and head ---- */

WEFT_KERNEL(weft_attention, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_attention_params &params = weft_params<weft_attention_params>(phase);
    weft_kv kv = kv_of(phase);
    int64_t row = blockIdx.x, head = blockIdx.y, kv_head = head / (params.n_heads / kv.n_kv_heads), head_dim = kv.head_dim;
    int n_warps = (int)blockDim.x / WEFT_LANES, warp = (int)threadIdx.x / WEFT_LANES;
    /* Shared memory: the query, the output so far, and each warp's partial output, largest score and sum. */
    float *q = shared, *out = q + head_dim, *parts = out + head_dim, *maxima = parts + n_warps * head_dim, *sums = maxima + n_warps;
    int64_t column = (row * params.n_heads + head) * head_dim;
    for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x) {
        q[d] = weft_at<const float>(phase.inputs[WEFT_ATTENTION_Q])[column + d];
        out[d] = 0.0f;
    }
    __syncthreads();
    span seen = span_of(kv, row, params.window);
    float max = -WEFT_INFINITY, sum = 0.0f;
    for (int64_t base = seen.low / RANGE * RANGE; base < seen.high; base += n_warps * RANGE) {
        int64_t range = base + warp * RANGE;
        if (range < seen.high)
            attend_range(kv, seen, kv_head, params, q, range, parts + warp * head_dim, &maxima[warp], &sums[warp]);
        __syncthreads();
        for (int w = 0; w < n_warps && base + w * RANGE < seen.high; w++) {
            float larger = maxima[w] > max ? maxima[w] : max;
            float a = weight_of(max, larger), b = weight_of(maxima[w], larger);
            for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x) out[d] = out[d] * a + parts[w * head_dim + d] * b;
            sum = sum * a + sums[w] * b;
            max = larger;
        }
        __syncthreads();
    }
    for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x)
        weft_at<float>(phase.outputs[WEFT_ATTENTION_OUT_Y])[column + d] = sum == 0.0f ? 0.0f : out[d] / sum;
}

/* ---- Ranges over the device ---- */

/* The result of range number `range` for a column, which is one head of a row: largest score, sum, and head_dim values. */
static __device__ inline float *part_of(const weft_cuda_phase &phase, const weft_kv &kv, int64_t column, int64_t range) {
    return (float *)phase.scratch + (column * weft_attention_ranges(kv.max_pages, kv.page_size) + range) * (2 + kv.head_dim);
}

WEFT_KERNEL(weft_attention_ranges_of, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_attention_params &params = weft_params<weft_attention_params>(phase);
    weft_kv kv = kv_of(phase);
    int64_t column = blockIdx.x, row = column / params.n_heads, head = column % params.n_heads;
    int64_t n_warps = blockDim.x / WEFT_LANES, first = blockIdx.y * n_warps + threadIdx.x / WEFT_LANES;
    span seen = span_of(kv, row, params.window);
    for (int64_t d = threadIdx.x; d < kv.head_dim; d += blockDim.x)
        shared[d] = weft_at<const float>(phase.inputs[WEFT_ATTENTION_Q])[column * kv.head_dim + d];
    __syncthreads();
    for (int64_t range = seen.low / RANGE + first; range * RANGE < seen.high; range += gridDim.y * n_warps) {
        float *part = part_of(phase, kv, column, range);
        attend_range(kv, seen, head / (params.n_heads / kv.n_kv_heads), params, shared, range * RANGE, part + 2, part, part + 1);
    }
}

/* One block for each column. The threads first compute, for one range each, the factors of that range and of the ranges before it.
 * Only two products and a sum then remain to be done for one range after the other. */
WEFT_KERNEL(weft_attention_combine, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    __shared__ float maxima[COMBINED], before[COMBINED], own[COMBINED], sums[COMBINED];
    const weft_attention_params &params = weft_params<weft_attention_params>(phase);
    weft_kv kv = kv_of(phase);
    int64_t column = blockIdx.x, stride = 2 + kv.head_dim;
    int d = (int)threadIdx.x;
    span seen = span_of(kv, column / params.n_heads, params.window);
    float max = -WEFT_INFINITY, sum = 0.0f, out[PLACES] = {};
    for (int64_t first = seen.low / RANGE; first * RANGE < seen.high; first += COMBINED) {
        int64_t left = (seen.high + RANGE - 1) / RANGE - first;
        int count = left < COMBINED ? (int)left : COMBINED;
        const float *parts = part_of(phase, kv, column, first);
        if (d < count) maxima[d] = parts[d * stride];
        if (d < count) sums[d] = parts[d * stride + 1];
        __syncthreads();
        float larger = max, last = max;
        for (int i = 0; i < count; i++) {
            last = i <= d ? larger : last;
            larger = maxima[i] > larger ? maxima[i] : larger;
            if (i == d) before[d] = weight_of(last, larger);
            if (i == d) own[d] = weight_of(maxima[d], larger);
        }
        max = larger;
        __syncthreads();
#pragma unroll 8
        for (int i = 0; i < count; i++) {
            sum = sum * before[i] + sums[i] * own[i];
#pragma unroll
            for (int place = 0; place < PLACES; place++)
                if (d + place * COMBINED < kv.head_dim)
                    out[place] = out[place] * before[i] + parts[i * stride + 2 + d + place * COMBINED] * own[i];
        }
        __syncthreads();
    }
#pragma unroll
    for (int place = 0; place < PLACES; place++)
        if (d + place * COMBINED < kv.head_dim)
            weft_at<float>(phase.outputs[WEFT_ATTENTION_OUT_Y])[column * kv.head_dim + d + place * COMBINED] =
                sum == 0.0f ? 0.0f : out[place] / sum;
}
