/* attention in exact: one block a row and head. Its warps take a range of cache positions each, and what they found is combined in
 * ascending order. */
#include "weft/ops/attention.h"

#include "kernels/rows.h"

enum { RANGE = WEFT_ATTENTION_RANGE, HALF = RANGE / 2, AT_ONCE = 4 };

/* Inputs */
enum { Q, KV, ROWS, SEQUENCES };

extern __shared__ float shared[];

static __device__ inline float as_float(float x) {
    return x;
}

static __device__ inline float as_float(uint16_t x) {
    return weft_from_f16(x);
}

/* exp(x - max), where nothing seen so far (max -infinity) counts as 0. */
static __device__ inline float weight_of(float x, float max) {
    return weft_exp(x - (max > -WEFT_INFINITY ? max : 0.0f));
}

/* What one warp finds in the positions [from, to) of the range that begins at `range`. */
template <typename element>
static __device__ void attend(const weft_kv &kv, int32_t sequence, int64_t head, float scale, const float *q, int64_t range,
                              int64_t from, int64_t to, float *out, float *max_out, float *sum_out) {
    int lane = weft_lane(), head_dim = (int)kv.head_dim;
    const element *data = (const element *)kv.data;
    int64_t places[2];
    float weights[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int64_t index = range + half * HALF + lane;
        places[half] = index >= from && index < to ? weft_kv_place(kv, sequence, index, head) : -1;
        weights[half] = -WEFT_INFINITY;
        for (int j = 0; j < HALF; j += AT_ONCE) {
            float sums[AT_ONCE];
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) {
                int64_t place = __shfl_sync(WEFT_ALL_LANES, places[half], j + u);
                const element *key = data + (place < 0 ? 0 : place);
                sums[u] = 0.0f;
                for (int d = lane; d < head_dim; d += WEFT_LANES) sums[u] += as_float(key[d]) * q[d];
            }
#pragma unroll
            for (int u = 0; u < AT_ONCE; u++) {
                float sum = weft_combine(sums[u]);
                if (lane == j + u && places[half] >= 0) weights[half] = sum * scale;
            }
        }
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
    int64_t to_values = weft_kv_values(kv);
    for (int first = 0; first < head_dim; first += AT_ONCE * WEFT_LANES) {
        float sums[AT_ONCE] = {};
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll 4
            for (int j = 0; j < HALF; j++) {
                int64_t place = __shfl_sync(WEFT_ALL_LANES, places[half], j);
                float weight = __shfl_sync(WEFT_ALL_LANES, weights[half], j);
                if (place < 0) continue;
                const element *value = data + place + to_values;
#pragma unroll
                for (int u = 0; u < AT_ONCE; u++) {
                    int d = first + u * WEFT_LANES + lane;
                    if (d < head_dim) sums[u] += weight * as_float(value[d]);
                }
            }
        }
#pragma unroll
        for (int u = 0; u < AT_ONCE; u++)
            if (first + u * WEFT_LANES + lane < head_dim) out[first + u * WEFT_LANES + lane] = sums[u];
    }
}

WEFT_KERNEL(weft_attention, weft_cuda_phase, phase) {
    if (weft_cancelled(phase)) return;
    const weft_attention_params &params = weft_params<weft_attention_params>(phase);
    weft_kv kv = weft_kv_of(phase.inputs[KV], phase.inputs[ROWS], phase.inputs[SEQUENCES]);
    int64_t row = blockIdx.x, head = blockIdx.y, kv_head = head / (params.n_heads / kv.n_kv_heads), head_dim = kv.head_dim;
    int n_warps = (int)blockDim.x / WEFT_LANES, warp = (int)threadIdx.x / WEFT_LANES;
    /* Shared: the query, the output so far, and each warp's part, largest score and sum. */
    float *q = shared, *out = q + head_dim, *parts = out + head_dim, *maxima = parts + n_warps * head_dim, *sums = maxima + n_warps;
    int64_t column = (row * params.n_heads + head) * head_dim;
    for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x) {
        q[d] = weft_at<const float>(phase.inputs[Q])[column + d];
        out[d] = 0.0f;
    }
    __syncthreads();
    int32_t sequence = weft_kv_sequence(kv, row);
    int64_t index = kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX], low = 0, high = index + 1;
    if (high > kv.max_pages * kv.page_size) high = kv.max_pages * kv.page_size;
    if (params.window > 0 && index - params.window + 1 > 0) low = index - params.window + 1;
    if (sequence < 0) high = 0;
    float max = -WEFT_INFINITY, sum = 0.0f;
    for (int64_t base = low / RANGE * RANGE; base < high; base += n_warps * RANGE) {
        int64_t range = base + warp * RANGE, from = low > range ? low : range, to = high < range + RANGE ? high : range + RANGE;
        float *part = parts + warp * head_dim;
        if (from < to && kv.is_f16)
            attend<uint16_t>(kv, sequence, kv_head, params.scale, q, range, from, to, part, &maxima[warp], &sums[warp]);
        else if (from < to)
            attend<float>(kv, sequence, kv_head, params.scale, q, range, from, to, part, &maxima[warp], &sums[warp]);
        __syncthreads();
        for (int w = 0; w < n_warps && base + w * RANGE < high; w++) {
            float larger = maxima[w] > max ? maxima[w] : max;
            float a = weight_of(max, larger), b = weight_of(maxima[w], larger);
            for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x) out[d] = out[d] * a + parts[w * head_dim + d] * b;
            sum = sum * a + sums[w] * b;
            max = larger;
        }
        __syncthreads();
    }
    for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x)
        weft_at<float>(phase.outputs[0])[column + d] = sum == 0.0f ? 0.0f : out[d] / sum;
}
