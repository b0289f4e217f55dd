/* The op sample (weft/ops/sample.h), also as a part of norm_head_sample. Three launches: the largest key of each range of a column,
 * if the kernel that made the logits did not find the largest keys; each range's sums of exponentials; and the choice. */
#ifndef WEFT_KERNELS_SAMPLER_H
#define WEFT_KERNELS_SAMPLER_H

#include "kernels/order.h"
#include "weft/ops/sample.h"

struct weft_sampler {
    const float *logits;
    const int32_t *heads;
    int32_t *chosen, *top, *sequences;
    int64_t n_vocab, n_columns, n_top, n_keys, n_ranges, sequence_words, n_sequences;
    uint64_t *keys;         /* [n_keys, n_columns] */
    float *sums, *tempered; /* [n_ranges, n_columns] each */
};

static __device__ inline weft_sampler weft_sampler_of(const weft_cuda_sample &sample) {
    weft_sampler made;
    made.logits = (const float *)sample.logits;
    made.heads = (const int32_t *)sample.heads;
    made.chosen = (int32_t *)sample.chosen;
    made.top = (int32_t *)sample.top;
    made.sequences = (int32_t *)sample.sequences;
    made.n_vocab = sample.n_vocab;
    made.n_columns = sample.n_columns;
    made.n_top = sample.n_top;
    made.n_keys = sample.n_keys;
    made.n_ranges = sample.n_ranges;
    made.sequence_words = sample.sequence_words;
    made.n_sequences = sample.n_sequences;
    made.keys = (uint64_t *)sample.keys;
    made.sums = (float *)sample.sums;
    made.tempered = (float *)sample.tempered;
    return made;
}

static __device__ inline const int32_t *weft_head_of(const weft_sampler &s, int64_t column) {
    return s.heads + column * WEFT_HEAD_WORDS;
}

static __device__ inline bool weft_has_target(const weft_sampler &s, const int32_t *head) {
    return head[WEFT_HEAD_TARGET] >= 0 && head[WEFT_HEAD_TARGET] < s.n_vocab;
}

/* The temperature of a column that draws its token; 0 for other columns. */
static __device__ inline float weft_temperature_of(const weft_sampler &s, const int32_t *head) {
    float temperature = weft_bits_to_real(head[WEFT_HEAD_TEMPERATURE]);
    return temperature > 0.0f && !weft_has_target(s, head) ? temperature : 0.0f;
}

/* The largest key of the block's threads; all threads get it. */
static __device__ inline uint64_t weft_block_key(uint64_t key) {
    __shared__ uint64_t of_warps[WEFT_LANES];
    key = weft_largest_key(key, WEFT_LANES);
    __syncthreads();
    if (weft_lane() == 0) of_warps[threadIdx.x / WEFT_LANES] = key;
    __syncthreads();
    return weft_largest_key((unsigned)weft_lane() < blockDim.x / WEFT_LANES ? of_warps[weft_lane()] : 0, WEFT_LANES);
}

/* The key of a column's first token, with the whole block. */
static __device__ inline uint64_t weft_first_key(const weft_sampler &s, int64_t column) {
    const uint64_t *keys = s.keys + column * s.n_keys;
    uint64_t largest = 0;
#pragma unroll 4
    for (int64_t i = threadIdx.x; i < s.n_keys; i += blockDim.x) largest = keys[i] > largest ? keys[i] : largest;
    return weft_block_key(largest);
}

/* The values of a block's range of a column; x counts ranges, y columns. */
struct weft_sample_part {
    const float *x;
    int n;
};

static __device__ inline weft_sample_part weft_sample_part_of(const weft_sampler &s) {
    int64_t first = (int64_t)blockIdx.x * WEFT_SAMPLE_RANGE, left = s.n_vocab - first;
    return {s.logits + blockIdx.y * s.n_vocab + first, (int)(left < WEFT_SAMPLE_RANGE ? left : WEFT_SAMPLE_RANGE)};
}

static __device__ inline void weft_sample_largest(const weft_sampler &s) {
    if (weft_head_of(s, blockIdx.y)[WEFT_HEAD_ROW] < 0) return;
    const weft_sample_part part = weft_sample_part_of(s);
    float max = -WEFT_INFINITY;
    int first = (int)threadIdx.x;
#pragma unroll 16
    for (int i = (int)threadIdx.x; i < part.n; i += (int)blockDim.x) {
        float x = part.x[i];
        if (x > max) first = i;
        max = x > max ? x : max;
    }
    uint32_t begin = blockIdx.x * WEFT_SAMPLE_RANGE;
    uint64_t key = weft_block_key((int)threadIdx.x < part.n ? weft_key(max, begin + (uint32_t)first) : 0);
    if (threadIdx.x == 0) s.keys[blockIdx.y * s.n_ranges + blockIdx.x] = key;
}

static __device__ inline float weft_tempered(float x, float max, float temperature) {
    float difference = x == max ? 0.0f : x - max;
    float e = weft_exp(difference / temperature);
    return x > -WEFT_INFINITY || x == max ? e : 0.0f;
}

/* All threads compute exponentials; then one warp adds them up in the lanes and the order of docs/numerics.md. */
static __device__ inline void weft_sample_sum(const weft_sampler &s, float max, float temperature, float *sums) {
    __shared__ float exponentials[WEFT_SAMPLE_RANGE];
    const weft_sample_part part = weft_sample_part_of(s);
    __syncthreads();
#pragma unroll 4
    for (int i = (int)threadIdx.x; i < part.n; i += (int)blockDim.x) exponentials[i] = weft_tempered(part.x[i], max, temperature);
    __syncthreads();
    if (threadIdx.x >= WEFT_LANES) return;
    float sum = 0.0f;
#pragma unroll 16
    for (int i = (int)threadIdx.x; i < part.n; i += WEFT_LANES) sum += exponentials[i];
    sum = weft_combine(sum);
    if (threadIdx.x == 0) sums[blockIdx.y * s.n_ranges + blockIdx.x] = sum;
}

static __device__ inline void weft_sample_sums(const weft_sampler &s) {
    const int32_t *head = weft_head_of(s, blockIdx.y);
    if (head[WEFT_HEAD_ROW] < 0) return;
    float max = weft_key_logit(weft_first_key(s, blockIdx.y)), temperature = weft_temperature_of(s, head);
    weft_sample_sum(s, max, 1.0f, s.sums);
    if (temperature != 0.0f)
        weft_sample_sum(s, max, temperature, s.tempered);
    else if (threadIdx.x == 0)
        s.tempered[blockIdx.y * s.n_ranges + blockIdx.x] = 0.0f;
}

/* With the whole block; thread 0 gets the sum. The loads are done by all threads, the additions in order by one. */
static __device__ inline double weft_sum_ranges(const weft_sampler &s, const float *sums, int64_t column) {
    __shared__ float some[WEFT_ORDER_RUN];
    double sum = 0.0;
    for (int64_t first = 0; first < s.n_ranges; first += blockDim.x) {
        int64_t left = s.n_ranges - first, n = left < blockDim.x ? left : blockDim.x;
        __syncthreads();
        if (threadIdx.x < n) some[threadIdx.x] = sums[column * s.n_ranges + first + threadIdx.x];
        __syncthreads();
        for (int64_t i = 0; threadIdx.x == 0 && i < n; i++) sum += (double)some[i];
    }
    return sum;
}

/* Log-probability of a token as bits of a float. */
static __device__ inline int32_t weft_log_probability(float x, float max, double log_sum) {
    if (!(x > -WEFT_INFINITY)) x = -WEFT_INFINITY;
    double difference = x == max ? 0.0 : (double)x - (double)max;
    return weft_real_to_bits((float)(difference - log_sum));
}

/* The options and the progress of a column that draws, in shared memory. Limits are those of weft/ops/sample.h, as sums of
 * exponentials relative to the first token's. */
struct weft_draw {
    int64_t top_k;
    double top_p, min_p, all, left, sum;
    int32_t token;
    bool ended;
};

static __device__ inline bool weft_is_limited(const weft_draw &draw, int64_t n) {
    return draw.top_k != n || draw.top_p != (double)WEFT_INFINITY || draw.min_p != 0.0;
}

static __device__ inline void weft_draw_limits(weft_draw &draw, const weft_sampler &s, const int32_t *head, double all) {
    int32_t top_k = head[WEFT_HEAD_TOP_K];
    float top_p = weft_bits_to_real(head[WEFT_HEAD_TOP_P]), min_p = weft_bits_to_real(head[WEFT_HEAD_MIN_P]);
    draw.top_k = top_k > 0 && top_k < s.n_vocab ? top_k : s.n_vocab;
    draw.top_p = top_p > 0.0f && top_p < 1.0f ? (double)top_p * all : (double)WEFT_INFINITY;
    draw.min_p = min_p > 0.0f ? (double)min_p : 0.0;
    draw.all = draw.left = all;
}

/* Exponentials of a run's tokens. */
static __device__ inline void weft_weigh_run(weft_order &order, const float *x, float max, float temperature) {
    __syncthreads();
    if ((int)threadIdx.x < order.count) {
        float logit = x[weft_key_id(order.keys[threadIdx.x])], weight = 0.0f;
        if (logit == max)
            weight = 1.0f;
        else if (logit > -WEFT_INFINITY)
            weight = weft_exp((logit - max) / temperature);
        order.weights[threadIdx.x] = weight;
    }
    __syncthreads();
}

/* With one thread: adds up the exponentials of a run's tokens, as far as the limits keep them. */
static __device__ inline void weft_add_run(weft_draw &draw, const weft_order &order) {
    for (int j = 0; j < order.count && !draw.ended; j++) {
        int64_t i = order.first + j;
        double e = (double)order.weights[j];
        draw.ended = i >= draw.top_k || !(draw.sum < draw.top_p) || (i > 0 && e < draw.min_p);
        if (!draw.ended) draw.sum += e;
    }
}

/* With one thread: goes through a run until the running sum reaches u times the sum of all tokens that the limits keep. */
static __device__ inline void weft_walk_run(weft_draw &draw, const weft_order &order, double u) {
    for (int j = 0; j < order.count && !draw.ended; j++) {
        int64_t i = order.first + j;
        double e = (double)order.weights[j];
        draw.ended = i >= draw.top_k || (i > 0 && (e == 0.0 || e < draw.min_p));
        if (draw.ended) break;
        draw.token = weft_key_id(order.keys[j]);
        draw.sum += e;
        draw.ended = draw.sum >= u * draw.left || draw.sum >= draw.top_p;
    }
}

/* Runs of tokens through weft_add_run or weft_walk_run until one of them ends it. */
static __device__ inline void weft_go_through(weft_draw &draw, weft_order &order, const weft_sampler &s, const float *x, float max,
                                              float temperature, bool walk, double u) {
    weft_order_first(order, x, s.n_vocab);
    if (threadIdx.x == 0) {
        draw.sum = 0.0;
        draw.ended = false;
    }
    for (;;) {
        weft_weigh_run(order, x, max, temperature);
        if (threadIdx.x == 0 && walk) weft_walk_run(draw, order, u);
        if (threadIdx.x == 0 && !walk) weft_add_run(draw, order);
        __syncthreads();
        if (draw.ended || order.first + order.count >= s.n_vocab) break;
        weft_order_next(order, x, s.n_vocab);
    }
    __syncthreads();
}

static __device__ inline int32_t weft_draw_token(weft_draw &draw, weft_order &order, const weft_sampler &s, int64_t column,
                                                 const float *x, float max) {
    const int32_t *head = weft_head_of(s, column);
    float temperature = weft_temperature_of(s, head);
    double u = (double)((uint32_t)head[WEFT_HEAD_RANDOM] >> 8) / 16777216.0;
    double all = weft_sum_ranges(s, s.tempered, column);
    if (threadIdx.x == 0) weft_draw_limits(draw, s, head, all);
    __syncthreads();
    if (weft_is_limited(draw, s.n_vocab)) {
        weft_go_through(draw, order, s, x, max, temperature, false, u);
        if (threadIdx.x == 0) draw.left = draw.sum;
        __syncthreads();
    }
    weft_go_through(draw, order, s, x, max, temperature, true, u);
    return draw.token;
}

/* With the whole block: sets the last token of the column's sequence. If several columns belong to it, the last of them does. */
static __device__ inline void weft_sample_remember(const weft_sampler &s, int64_t column, int32_t token) {
    int32_t sequence = weft_head_of(s, column)[WEFT_HEAD_SEQUENCE];
    int comes_later = 0;
    for (int64_t i = column + 1 + threadIdx.x; i < s.n_columns; i += blockDim.x)
        comes_later |= weft_head_of(s, i)[WEFT_HEAD_ROW] >= 0 && weft_head_of(s, i)[WEFT_HEAD_SEQUENCE] == sequence;
    if (__syncthreads_or(comes_later) || threadIdx.x != 0 || sequence < 0 || sequence >= s.n_sequences) return;
    s.sequences[sequence * s.sequence_words + WEFT_SEQUENCE_LAST_TOKEN] = token;
}

/* One block of WEFT_ORDER_RUN threads a column. */
static __device__ inline void weft_sample_choose(const weft_sampler &s) {
    __shared__ weft_order order;
    __shared__ weft_draw draw;
    __shared__ double log_sum;
    int64_t column = blockIdx.x;
    int32_t *chosen = s.chosen + column * 2, *top = s.top + column * s.n_top * 2, token;
    const int32_t *head = weft_head_of(s, column);
    if (head[WEFT_HEAD_ROW] < 0) {
        if (threadIdx.x == 0) chosen[0] = -1, chosen[1] = 0;
        for (int64_t i = threadIdx.x; i < s.n_top; i += blockDim.x) top[2 * i] = -1, top[2 * i + 1] = 0;
        return;
    }
    const float *x = s.logits + column * s.n_vocab;
    uint64_t first = weft_first_key(s, column);
    float max = weft_key_logit(first);
    double sum = weft_sum_ranges(s, s.sums, column);
    if (threadIdx.x == 0) {
        log_sum = log(sum);
        order.count = 0;
    }
    __syncthreads();
    if (s.n_top > 0) {
        weft_order_first(order, x, s.n_vocab);
        for (int64_t i = threadIdx.x; i < s.n_top; i += blockDim.x) {
            int32_t id = weft_key_id(order.keys[i]);
            top[2 * i] = id;
            top[2 * i + 1] = weft_log_probability(x[id], max, log_sum);
        }
    }
    if (weft_has_target(s, head))
        token = head[WEFT_HEAD_TARGET];
    else if (weft_temperature_of(s, head) == 0.0f)
        token = weft_key_id(first);
    else
        token = weft_draw_token(draw, order, s, column, x, max);
    if (threadIdx.x == 0) {
        chosen[0] = token;
        chosen[1] = weft_log_probability(x[token], max, log_sum);
    }
    weft_sample_remember(s, column, token);
}

#endif
