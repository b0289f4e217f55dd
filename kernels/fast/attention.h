/* Attention in half floats, with sums in F32: what its kernels share. A row's result has the same bits whichever kernel computes it
 * and whichever rows are computed beside it, because all kernels do the following in the same order.
 *
 * The unit of work is a pair of a row and a query head. The pairs of a KV head are the rows of the matrix unit's first operand; a
 * result's row depends on no other row. Positions are taken in pieces of 64. A range is a number of consecutive pieces, which
 * follows from how many positions a row sees, the number of KV heads and the device. Of each range:
 *
 *   scores   one chain of products a piece and position, in the order of place_of_step; times scale; base-2 logarithms
 *   largest  of all scores so far; when it grows, the sums so far are multiplied by 2^(old - new)
 *   weights  2^(score - largest), rounded to half floats
 *   sums     one chain of products for each value of the head, and one for the sum of the weights, positions ascending
 *
 * Ranges are then added in ascending order (weft_attention_add). Where a compiler could choose how to round, the code says it.
 * Positions that a row does not see have weights of 0, so they change nothing, but an infinity or NaN of a position that only
 * another row of the segment sees makes a NaN.
 */
#ifndef WEFT_KERNELS_FAST_ATTENTION_H
#define WEFT_KERNELS_FAST_ATTENTION_H

#include "kernels/attention.h"
#include "kernels/fast/mma.h"
#include "kernels/rows.h"
#include "kernels/scaled.h"

#define PIECE WEFT_ATTENTION_PIECE
#define TILE WEFT_ATTENTION_TILE
#define WARPS WEFT_ATTENTION_WARPS
#define ONES 0x3c003c00u /* two half floats */
#define LOG2_E 1.44269504f
#define LINE_HALVES 64    /* of a cache line */
#define MOST_PREFETCHED 4 /* pieces */

/* Rounded before anything is added. */
static __device__ inline float weft_times(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

static __device__ inline float weft_exp2(float x) {
#ifdef __CUDA_ARCH__
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
#else
    return exp2f(x);
#endif
}

/* 2^(x - largest). Both may be -infinity, which gives 0. */
static __device__ inline float weft_weight(float x, float largest) {
    return weft_exp2(x - (largest > -WEFT_INFINITY ? largest : 0.0f));
}

static __device__ inline uint32_t weft_halves(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint32_t halves;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(halves) : "f"(second), "f"(first));
    return halves;
#else
    return weft_to_f16(first) | (uint32_t)weft_to_f16(second) << 16;
#endif
}

/* The same place of two positions' values, as an operand whose steps are positions. */
static __device__ inline uint32_t weft_first_halves(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
    return __byte_perm(a, b, 0x5410);
#else
    return (a & 0xffffu) | b << 16;
#endif
}

static __device__ inline uint32_t weft_second_halves(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
    return __byte_perm(a, b, 0x7632);
#else
    return a >> 16 | (b & 0xffff0000u);
#endif
}

/* ---- Rows ---- */

/* The positions [low, high) that a row sees. */
struct weft_seen {
    int32_t low, high;
};

static __device__ inline weft_seen weft_seen_at(const weft_kv &kv, int32_t sequence, int64_t index, int32_t window) {
    int64_t end = kv.max_pages * kv.page_size;
    if (sequence < 0 || index < 0) return {0, 0};
    weft_seen seen;
    seen.low = window > 0 && index - window + 1 > 0 ? (int32_t)(index - window + 1) : 0;
    seen.high = (int32_t)(index + 1 < end ? index + 1 : end);
    return seen;
}

static __device__ inline weft_seen weft_seen_by(const weft_kv &kv, int64_t row, int32_t window) {
    return weft_seen_at(kv, weft_kv_sequence(kv, row), kv.rows[row * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX], window);
}

/* The pieces of each of the row's ranges, at least 1. Ranges begin at multiples of it, counted from the sequence's first piece. */
static __device__ inline int weft_range_pieces(const weft_seen &seen, int most_ranges) {
    if (seen.high <= seen.low) return 1;
    int n_pieces = (seen.high - 1) / PIECE - seen.low / PIECE + 1;
    return n_pieces <= most_ranges ? 1 : (n_pieces + most_ranges - 1) / most_ranges; /* a division is long */
}

/* Consecutive rows of one sequence whose ranges have the same number of pieces. */
struct weft_segment {
    int first_row, n_rows; /* n_rows 0: there is no such segment */
    int32_t sequence;
    int range_pieces;
};

/* Which of the lanes say yes. */
static __device__ inline unsigned weft_ballot(bool yes) {
    unsigned same = __match_any_sync(WEFT_ALL_LANES, yes ? 1u : 0u);
    return yes ? same : ~same;
}

/* The segment of rows [first, end). */
static __device__ inline weft_segment weft_segment_of(const weft_cuda_attention &argument, const weft_kv &kv, int first, int end,
                                                      int window) {
    int pieces = weft_range_pieces(weft_seen_by(kv, first, window), argument.most_ranges);
    return {first, end - first, weft_kv_sequence(kv, first), pieces};
}

/* Segment number `wanted`, found by each warp for itself. */
static __device__ inline weft_segment weft_find_segment(const weft_cuda_attention &argument, const weft_kv &kv, int n_rows,
                                                        int window, int wanted) {
    int lane = weft_lane(), first = -1, end = n_rows, run = 0;
    uint32_t last_sequence = 0, last_pieces = 0;
    for (int base = 0; base < n_rows; base += WEFT_LANES) {
        int row = base + lane, read = row < n_rows ? row : n_rows - 1;
        uint32_t sequence = (uint32_t)weft_kv_sequence(kv, read);
        uint32_t pieces = (uint32_t)weft_range_pieces(weft_seen_by(kv, read, window), argument.most_ranges);
        uint32_t sequence_before = __shfl_sync(WEFT_ALL_LANES, sequence, (lane + WEFT_LANES - 1) % WEFT_LANES);
        uint32_t pieces_before = __shfl_sync(WEFT_ALL_LANES, pieces, (lane + WEFT_LANES - 1) % WEFT_LANES);
        if (lane == 0) {
            sequence_before = last_sequence;
            pieces_before = last_pieces;
        }
        last_sequence = __shfl_sync(WEFT_ALL_LANES, sequence, WEFT_LANES - 1);
        last_pieces = __shfl_sync(WEFT_ALL_LANES, pieces, WEFT_LANES - 1);
        unsigned starts = weft_ballot(row == 0 || sequence != sequence_before || pieces != pieces_before);
        unsigned until = starts & ((2u << lane) - 1u);
        int start = until == 0 ? run : base + 31 - __clz((int)until);
        run = __shfl_sync(WEFT_ALL_LANES, start, WEFT_LANES - 1);
        unsigned leaders = weft_ballot(row < n_rows && (row - start) % argument.segment_rows == 0);
        if (first < 0) {
            int n = __popc(leaders);
            if (wanted >= n) {
                wanted -= n;
                continue;
            }
            for (int i = 0; i < wanted; i++) leaders &= leaders - 1u;
            first = base + __ffs((int)leaders) - 1;
            leaders &= leaders - 1u;
        }
        if (leaders != 0) {
            end = base + __ffs((int)leaders) - 1;
            break;
        }
    }
    return first < 0 ? weft_segment{0, 0, -1, 1} : weft_segment_of(argument, kv, first, end, window);
}

/* The positions that any row of the segment sees, found by each warp for itself. */
static __device__ inline weft_seen weft_seen_by_all(const weft_kv &kv, const weft_segment &segment, int window) {
    int32_t low = INT32_MAX, high = 0;
    for (int i = weft_lane(); i < segment.n_rows; i += WEFT_LANES) {
        weft_seen own = weft_seen_by(kv, segment.first_row + i, window);
        if (own.high <= own.low) continue;
        low = own.low < low ? own.low : low;
        high = own.high > high ? own.high : high;
    }
    for (int distance = WEFT_LANES / 2; distance > 0; distance /= 2) {
        int32_t other_low = __shfl_xor_sync(WEFT_ALL_LANES, low, distance),
                other_high = __shfl_xor_sync(WEFT_ALL_LANES, high, distance);
        low = other_low < low ? other_low : low;
        high = other_high > high ? other_high : high;
    }
    return {low < high ? low : 0, low < high ? high : 0};
}

/* Where a KV head's pieces of a sequence are. */
struct weft_pieces {
    const uint16_t *data; /* of the KV head, in page 0 */
    const int32_t *table; /* the sequence's pages */
    int32_t pieces_a_page, n_pages;
    int32_t to_values; /* from a key to its value: half a page */
};

template <int HEAD> static __device__ inline weft_pieces weft_pieces_of(const weft_kv &kv, int32_t sequence, int kv_head) {
    weft_pieces pieces;
    pieces.to_values = (int32_t)(kv.n_kv_heads * kv.page_size) * HEAD;
    pieces.data = (const uint16_t *)kv.data + kv_head * kv.page_size * HEAD;
    pieces.pieces_a_page = (int32_t)kv.page_size / PIECE;
    pieces.n_pages = (int32_t)kv.n_pages;
    pieces.table = kv.sequences + (sequence < 0 ? 0 : sequence * kv.sequence_words) + WEFT_SEQUENCE_PAGES;
    return pieces;
}

/* The first key of a piece of the sequence's table, or null if it has no page there. */
template <int HEAD> static __device__ inline const uint16_t *weft_keys_in(const weft_pieces &pieces, int32_t page, int piece) {
    if (page < 0 || page >= pieces.n_pages) return nullptr;
    return pieces.data + (int64_t)page * 2 * pieces.to_values + piece % pieces.pieces_a_page * (PIECE * HEAD);
}

template <int HEAD> static __device__ inline const uint16_t *weft_keys_of(const weft_pieces &pieces, int piece) {
    return weft_keys_in<HEAD>(pieces, pieces.table[piece / pieces.pieces_a_page], piece);
}

/* ---- Operands ---- */

/* A lane's part of 16 pairs' queries: of pairs `lane / 4` and 8 more. Step 2 i has values 32 i + 8 (lane % 4) and the next three,
 * step 2 i + 1 the four after them, so that a lane's keys of two steps are 16 bytes. */
template <int HEAD> struct weft_queries {
    uint32_t steps[HEAD / 16][4];
    float scales[2]; /* of scores: `scale`, and the power of two by which the pair's queries were divided */
    weft_seen seen[2];
    bool has_second; /* whether there are more than 8 pairs */
};

/* Where a lane's queries are, and what their rows see. A pair past the segment's last one sees nothing. `first_pair` is of the
 * segment's. Reads nothing that kernels before have written. */
template <int HEAD>
static __device__ inline void weft_find_queries(const weft_cuda_attention &argument, const weft_kv &kv, const weft_segment &segment,
                                                int kv_head, int first_pair, const float *(&x)[2], weft_queries<HEAD> &q) {
    const weft_attention_params &params = weft_params<weft_attention_params>(argument.phase);
    int group = params.n_heads / (int)kv.n_kv_heads;
    q.has_second = first_pair + 8 < segment.n_rows * group;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int pair = first_pair + weft_lane() / 4 + half * 8, in_segment = pair / group, row = segment.first_row + in_segment;
        bool present = pair < segment.n_rows * group;
        x[half] =
            weft_at<const float>(argument.phase.inputs[WEFT_ATTENTION_Q]) +
            ((int64_t)(present ? row : segment.first_row) * params.n_heads + kv_head * group + pair - in_segment * group) * HEAD +
            weft_lane() % 4 * 8;
        q.seen[half] = present ? weft_seen_by(kv, row, params.window) : weft_seen{0, 0};
    }
}

/* Where there are no more than 8 pairs, the second half is zeros. */
template <int HEAD>
static __device__ inline void weft_load_queries(const weft_cuda_attention &argument, const float *const (&x)[2],
                                                weft_queries<HEAD> &q) {
    const weft_attention_params &params = weft_params<weft_attention_params>(argument.phase);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float values[HEAD / 32][8], largest = 0.0f;
        if (half == 1 && !q.has_second) {
            q.scales[half] = 0.0f;
#pragma unroll
            for (int i = 0; i < HEAD / 16; i++) q.steps[i][half] = q.steps[i][half + 2] = 0;
            continue;
        }
#pragma unroll
        for (int i = 0; i < HEAD / 32; i++) {
            *(weft_four *)&values[i][0] = *(const weft_four *)(x[half] + i * 32);
            *(weft_four *)&values[i][4] = *(const weft_four *)(x[half] + i * 32 + 4);
#pragma unroll
            for (int j = 0; j < 8; j++) largest = weft_larger_magnitude(largest, values[i][j]);
        }
        for (int distance = 1; distance < 4; distance *= 2) {
            float other = __shfl_xor_sync(WEFT_ALL_LANES, largest, distance);
            largest = other > largest ? other : largest;
        }
        float power = weft_power_below(largest), inverse = weft_inverse_power(power);
        q.scales[half] = weft_times(weft_times(params.scale, LOG2_E), power);
#pragma unroll
        for (int i = 0; i < HEAD / 32; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                q.steps[2 * i + j / 2][half + j % 2 * 2] = weft_halves(values[i][2 * j] * inverse, values[i][2 * j + 1] * inverse);
    }
}

/* Adds to the scores of 8 positions what two steps give: `keys` are a lane's of position lane / 4. */
static __device__ inline void weft_multiply_keys(const uint32_t (&first)[4], const uint32_t (&second)[4], uint4 keys,
                                                 float (&scores)[4]) {
    weft_mma(scores, first, keys.x, keys.y);
    weft_mma(scores, second, keys.z, keys.w);
}

/* Scales a lane's scores, which are of positions `position` and the next, and leaves out what their rows do not see, unless they
 * see all. Raises the largest of each. */
template <int HEAD, bool SEES_ALL = false>
static __device__ inline void weft_scale_scores(const weft_queries<HEAD> &q, int position, float (&scores)[4],
                                                float (&largest)[2]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int at = position + i % 2, half = i / 2;
        float score = weft_times(scores[i], q.scales[half]);
        scores[i] = SEES_ALL || (at >= q.seen[half].low && at < q.seen[half].high) ? score : -WEFT_INFINITY;
        largest[half] = scores[i] > largest[half] ? scores[i] : largest[half];
    }
}

/* ---- Adding up ranges ---- */

/* The factors of what was added so far and of a new range, and the largest score of both. */
struct weft_factors {
    float before, own, largest;
};

static __device__ inline weft_factors weft_factors_of(float largest, float of_range) {
    float larger = of_range > largest ? of_range : largest;
    return {weft_weight(largest, larger), weft_weight(of_range, larger), larger};
}

static __device__ inline float weft_attention_add(float sum, float of_range, const weft_factors &factors) {
    return fmaf(sum, factors.before, weft_times(of_range, factors.own));
}

static __device__ inline float weft_attention_result(float sum, float weight) {
    return weight == 0.0f ? 0.0f : sum / weight;
}

static __device__ inline weft_kv weft_attention_kv(const weft_cuda_attention &argument) {
    return weft_kv_of(argument.phase.inputs[WEFT_ATTENTION_KV], argument.phase.inputs[WEFT_ATTENTION_ROWS],
                      argument.phase.inputs[WEFT_ATTENTION_SEQUENCES]);
}

#endif
