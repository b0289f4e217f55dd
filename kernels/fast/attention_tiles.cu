/* Attention in half floats of segments of many rows: a block has up to 64 pairs of a row and a head of one KV head, each warp 16 of
 * them. Each piece's keys and values are read once into shared memory, for all warps.
 */
#include "kernels/fast/attention.h"
#include "kernels/fast/copy_async.h"
#include "kernels/fast/usual.h"

#define THREADS (WARPS * WEFT_LANES)

/* A position's values are in vectors of 8, whose order differs from position to position, so that a warp's loads come from all
 * banks. Queries are each lane's operands. */
template <int HEAD> struct stage { uint4 keys[PIECE][HEAD / 8], values[PIECE][HEAD / 8], queries[WARPS][HEAD / 16][WEFT_LANES]; };

/* Both are the same for positions that are 8 apart. */
static __device__ inline int key_vector(int position, int vector) {
    return vector ^ position % 2 * 4;
}

static __device__ inline int value_vector(int position, int vector) {
    return vector ^ position / 2 % 4 * 2;
}

/* Sums of a range, or of all ranges so far: of the pairs lane / 4 (places 0 and 1) and 8 more (2 and 3). Sum n of a pair, place i,
 * is value n / 8 * 64 + (2 (lane % 4) + i % 2) * 8 + n % 8 of the head. */
template <int HEAD> struct sums { float largest[2], weights[2], places[HEAD / 8][4]; };

/* ---- Copies into shared memory that go on while the warps compute ---- */

/* 16 bytes, or zeros. */
static __device__ inline void copy_16(uint4 *to, const uint4 *from, bool present) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t at;
    asm("{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }" : "=r"(at) : "l"(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(present ? 16 : 0) : "memory");
#else
    *to = present ? *from : uint4{0, 0, 0, 0};
#endif
}

/* A piece's keys, or zeros if `keys` is null. */
template <int HEAD> static __device__ inline void copy_keys(const weft_pieces &pieces, const uint16_t *keys, stage<HEAD> &to) {
    int first = (int)threadIdx.x / (HEAD / 8), vector = (int)threadIdx.x % (HEAD / 8);
    const uint4 *own = (const uint4 *)(keys == nullptr ? pieces.data : keys) + threadIdx.x;
    uint4 *place = &to.keys[first][key_vector(first, vector)];
#pragma unroll
    for (int i = 0; i < PIECE * HEAD / 8; i += THREADS) copy_16(place + i, own + i, keys != nullptr);
}

/* Its values, from which those outside [seen.low, seen.high) are left out: they may be NaN, which would make a NaN with a weight of
 * 0 too. */
template <int HEAD>
static __device__ inline void copy_values(const weft_pieces &pieces, const uint16_t *keys, const weft_seen &seen, int piece,
                                          stage<HEAD> &to) {
    int first = (int)threadIdx.x / (HEAD / 8), vector = (int)threadIdx.x % (HEAD / 8);
    const uint4 *own = (const uint4 *)(keys == nullptr ? pieces.data : keys + pieces.to_values) + threadIdx.x;
    uint4 *place = &to.values[first][value_vector(first, vector)];
    int position = piece * PIECE + first;
#pragma unroll
    for (int i = 0; i < PIECE * HEAD / 8; i += THREADS, position += THREADS / (HEAD / 8))
        copy_16(place + i, own + i, keys != nullptr && position >= seen.low && position < seen.high);
}

/* ---- One piece ---- */

template <int HEAD> static __device__ inline void keep_queries(const weft_queries<HEAD> &q, stage<HEAD> &to) {
#pragma unroll
    for (int i = 0; i < HEAD / 16; i++)
        to.queries[threadIdx.x / WEFT_LANES][i][weft_lane()] = {q.steps[i][0], q.steps[i][1], q.steps[i][2], q.steps[i][3]};
}

template <int HEAD> static __device__ inline void multiply_keys(const stage<HEAD> &from, float (&scores)[PIECE / 8][4]) {
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES;
#pragma unroll
    for (int n = 0; n < PIECE / 8; n++)
        for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
    const uint4 *even = &from.keys[lane / 4][key_vector(lane / 4, lane % 4)],
                *odd = &from.keys[lane / 4][key_vector(lane / 4, lane % 4 + 4)];
#pragma unroll 2 /* more needs more registers than there are */
    for (int i = 0; i < HEAD / 32; i++) {
        uint4 q0 = from.queries[warp][2 * i][lane], q1 = from.queries[warp][2 * i + 1][lane];
        const uint32_t first[4] = {q0.x, q0.y, q0.z, q0.w}, second[4] = {q1.x, q1.y, q1.z, q1.w};
#pragma unroll
        for (int n = 0; n < PIECE / 8; n++)
            weft_multiply_keys(first, second, (i % 2 ? odd : even)[n * HEAD + i / 2 * 8], scores[n]);
    }
}

/* Makes weights of the scores: [n][i], of 8 positions and a pair. Multiplies the sums so far by the factors that the new largest
 * scores demand. */
template <int HEAD>
static __device__ inline void weigh(const weft_queries<HEAD> &q, int first, float (&scores)[PIECE / 8][4], sums<HEAD> &range,
                                    float (&weights)[4], uint32_t (&of_positions)[PIECE / 8][2]) {
    float largest[2] = {-WEFT_INFINITY, -WEFT_INFINITY};
#pragma unroll
    for (int n = 0; n < PIECE / 8; n++) weft_scale_scores<HEAD>(q, first + n * 8 + weft_lane() % 4 * 2, scores[n], largest);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        for (int distance = 1; distance < 4; distance *= 2) {
            float other = __shfl_xor_sync(WEFT_ALL_LANES, largest[i], distance);
            largest[i] = other > largest[i] ? other : largest[i];
        }
        float larger = largest[i] > range.largest[i] ? largest[i] : range.largest[i];
        float factor = weft_weight(range.largest[i], larger);
        range.largest[i] = larger;
        weights[2 * i] = weft_times(weights[2 * i], factor);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            range.places[n][2 * i] = weft_times(range.places[n][2 * i], factor);
            range.places[n][2 * i + 1] = weft_times(range.places[n][2 * i + 1], factor);
        }
#pragma unroll
        for (int n = 0; n < PIECE / 8; n++)
            of_positions[n][i] = weft_halves(weft_weight(scores[n][2 * i], larger), weft_weight(scores[n][2 * i + 1], larger));
    }
}

template <int HEAD>
static __device__ inline void multiply_values(const stage<HEAD> &from, const uint32_t (&of_positions)[PIECE / 8][2],
                                              sums<HEAD> &range, float (&weights)[4]) {
    int lane = weft_lane(), position = lane % 4 * 2;
    const uint4 *own = &from.values[position][value_vector(position, lane / 4)];
#pragma unroll
    for (int step = 0; step < PIECE / 16; step++) {
        const uint32_t a[4] = {of_positions[2 * step][0], of_positions[2 * step][1], of_positions[2 * step + 1][0],
                               of_positions[2 * step + 1][1]};
        weft_mma(weights, a, ONES, ONES);
#pragma unroll
        for (int i = 0; i < HEAD / 64; i++) {
            uint4 v[4];
            for (int j = 0; j < 4; j++) v[j] = own[(step * 16 + j / 2 * 8 + j % 2) * (HEAD / 8) + i * 8];
            const uint32_t words[4][4] = {{v[0].x, v[1].x, v[2].x, v[3].x},
                                          {v[0].y, v[1].y, v[2].y, v[3].y},
                                          {v[0].z, v[1].z, v[2].z, v[3].z},
                                          {v[0].w, v[1].w, v[2].w, v[3].w}};
#pragma unroll
            for (int word = 0; word < 4; word++) {
                const uint32_t *w = words[word];
                weft_mma(range.places[i * 8 + word * 2], a, weft_first_halves(w[0], w[1]), weft_first_halves(w[2], w[3]));
                weft_mma(range.places[i * 8 + word * 2 + 1], a, weft_second_halves(w[0], w[1]), weft_second_halves(w[2], w[3]));
            }
        }
    }
}

/* ---- Ranges ---- */

template <int HEAD> static __device__ inline void begin_range(sums<HEAD> &range, float (&weights)[4]) {
    range.largest[0] = range.largest[1] = -WEFT_INFINITY;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        weights[i] = 0.0f;
        for (int n = 0; n < HEAD / 8; n++) range.places[n][i] = 0.0f;
    }
}

template <int HEAD> static __device__ inline void add_range(const sums<HEAD> &range, const float (&weights)[4], sums<HEAD> &all) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        weft_factors factors = weft_factors_of(all.largest[i], range.largest[i]);
        all.largest[i] = factors.largest;
        all.weights[i] = weft_attention_add(all.weights[i], weights[2 * i], factors);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++) {
            all.places[n][2 * i] = weft_attention_add(all.places[n][2 * i], range.places[n][2 * i], factors);
            all.places[n][2 * i + 1] = weft_attention_add(all.places[n][2 * i + 1], range.places[n][2 * i + 1], factors);
        }
    }
}

/* Results of one of a lane's pairs. `place`: 0 or 2. */
template <int HEAD, typename DIVIDE>
static __device__ inline void write_pair(const sums<HEAD> &all, int place, float *y, const DIVIDE &divide) {
#pragma unroll
    for (int n = 0; n < HEAD / 4; n += 4) { /* 16 values of each 64, in fours */
        weft_four four;
#pragma unroll
        for (int j = 0; j < 4; j++) four.values[j] = divide(all.places[n / 16 * 8 + n % 8 + j][place + n % 16 / 8]);
        *(weft_four *)(y + n / 16 * 64 + n % 16) = four;
    }
}

template <int HEAD>
static __device__ inline void write(const weft_cuda_attention &argument, const weft_segment &segment, int group, int kv_head,
                                    int n_heads, int first_pair, const sums<HEAD> &all) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int pair = first_pair + weft_lane() / 4 + i * 8, row = segment.first_row + pair / group;
        if (pair >= segment.n_rows * group) continue;
        float *y = weft_at<float>(argument.phase.outputs[WEFT_ATTENTION_OUT_Y]) +
                   ((int64_t)row * n_heads + kv_head * group + pair % group) * HEAD + weft_lane() % 4 * 16;
        bool is_usual = weft_is_usual(all.weights[i]) && all.weights[i] != 0.0f;
#pragma unroll
        for (int n = 0; n < HEAD / 4; n++) is_usual &= weft_is_usual(all.places[n / 2][2 * i + n % 2]);
        if (is_usual) {
            weft_divisor divisor = weft_divisor_of(all.weights[i]);
            write_pair<HEAD>(all, 2 * i, y, [&](float sum) { return weft_divide_by(sum, divisor); });
        } else {
            write_pair<HEAD>(all, 2 * i, y, [&](float sum) { return weft_attention_result(sum, all.weights[i]); });
        }
    }
}

/* Groups of copies are each piece's keys and each piece's values, in turn. Past the last piece they are empty. */
template <int HEAD>
static __device__ inline void attend(const weft_cuda_attention &argument, const weft_kv &kv, const weft_segment &segment,
                                     int kv_head, stage<HEAD> &shared_stage) {
    const weft_attention_params &params = weft_params<weft_attention_params>(argument.phase);
    int group = params.n_heads / (int)kv.n_kv_heads, first_pair = (int)threadIdx.x / WEFT_LANES * TILE;
    weft_seen seen = weft_seen_by_all(kv, segment, params.window);
    int end = (seen.high + PIECE - 1) / PIECE, length = segment.range_pieces, first = seen.low / PIECE;
    weft_pieces pieces = weft_pieces_of<HEAD>(kv, segment.sequence, kv_head);
    const uint16_t *keys = first < end ? weft_keys_of<HEAD>(pieces, first) : nullptr;
    if (first < end) copy_keys<HEAD>(pieces, keys, shared_stage);
    weft_commit_pieces();
    if (first < end) copy_values<HEAD>(pieces, keys, seen, first, shared_stage);
    weft_commit_pieces();
    weft_queries<HEAD> q;
    weft_load_queries<HEAD>(argument, kv, segment, kv_head, first_pair, q);
    keep_queries<HEAD>(q, shared_stage);
    sums<HEAD> all = {}, range;
    float weights[4];
    all.largest[0] = all.largest[1] = -WEFT_INFINITY;
    begin_range<HEAD>(range, weights);
    for (int i = first; i < end; i++) {
        float scores[PIECE / 8][4];
        uint32_t of_positions[PIECE / 8][2];
        keys = i + 1 < end ? weft_keys_of<HEAD>(pieces, i + 1) : nullptr;
        weft_wait_pieces<1>();
        __syncthreads();
        multiply_keys<HEAD>(shared_stage, scores);
        __syncthreads();
        if (i + 1 < end) copy_keys<HEAD>(pieces, keys, shared_stage);
        weft_commit_pieces();
        weigh<HEAD>(q, i * PIECE, scores, range, weights, of_positions);
        weft_wait_pieces<1>();
        __syncthreads();
        multiply_values<HEAD>(shared_stage, of_positions, range, weights);
        __syncthreads();
        if (i + 1 < end) copy_values<HEAD>(pieces, keys, seen, i + 1, shared_stage);
        weft_commit_pieces();
        if ((i + 1) % length != 0 && i + 1 < end) continue;
        add_range<HEAD>(range, weights, all);
        begin_range<HEAD>(range, weights);
    }
    write<HEAD>(argument, segment, group, kv_head, params.n_heads, first_pair, all);
}

/* ---- Kernels ---- */

/* Grid: KV heads; segments, as many at a time as there is room for. */
template <int HEAD> static __device__ inline void attend_segments(const weft_cuda_attention &argument) {
    __shared__ stage<HEAD> shared_stage;
    weft_kv kv = weft_attention_kv(argument);
    int window = weft_params<weft_attention_params>(argument.phase).window;
    int n_rows = (int)argument.phase.inputs[WEFT_ATTENTION_ROWS].shape[1];
    for (int slot = (int)blockIdx.y, n_segments = slot + 1; slot < n_segments; slot += (int)gridDim.y) {
        weft_segment segment = n_rows > WEFT_LANES && n_rows <= WEFT_LANES * WEFT_MOST_WORDS
                                   ? weft_find_segment_together(argument, kv, n_rows, window, slot,
                                                                *(uint32_t(*)[2 * WEFT_MOST_WORDS]) & shared_stage.queries)
                                   : weft_find_segment(argument, kv, n_rows, window, slot);
        if (segment.n_rows == 0) return;
        n_segments = segment.n_segments;
        if (segment.n_rows <= argument.few_rows && !segment.continues) continue; /* attention_split.cu */
        attend<HEAD>(argument, kv, segment, (int)blockIdx.x, shared_stage);
    }
}

WEFT_KERNEL(weft_attention_tiles_64, weft_cuda_attention, argument) {
    if (!weft_cancelled(argument.phase)) attend_segments<64>(argument);
}

WEFT_KERNEL(weft_attention_tiles_128, weft_cuda_attention, argument) {
    if (!weft_cancelled(argument.phase)) attend_segments<128>(argument);
}
