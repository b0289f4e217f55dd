/* Attention in half floats of segments of few rows: up to 16 pairs of a row and a head of one KV head. Blocks share a segment's
 * ranges, so that one row of a long sequence uses the whole device. The last of them to end adds up all ranges. Keys and values go
 * from memory to registers: of a piece, each warp multiplies the keys of 16 positions, and then a quarter of the values of all 64.
 */
#include "kernels/fast/attention_few.h"
#include "kernels/fast/attention_list.h"

/* What the last block needs of each range: its factors, and the sum of its weights. */
struct adding {
    float before[TILE][WEFT_LANES], own[TILE][WEFT_LANES], weights[TILE][WEFT_LANES];
    float largest[TILE]; /* of all ranges before */
};

/* A lane's keys and values of one piece: keys of positions lane / 4 and 8 more of its warp's 16, 8 values of each 32; of every 16
 * positions, values of 2 (lane % 4), the next, and the same 8 further on. */
template <int HEAD> struct piece {
    uint4 keys[2][HEAD / 32];
    uint32_t values[PIECE / 16][4][HEAD / 64];
};

/* Sums of a range, or of all ranges so far, of the pairs lane / 4 and 8 more. Place j of a pair is value
 * warp * HEAD / 4 + lane % 4 * HEAD / 16 + j of the head. */
template <int HEAD> struct sums { float largest[2], weights[2], places[2][HEAD / 16]; };

/* `key`: the piece's first, or null. */
template <int HEAD> static __device__ inline void load_keys(const uint16_t *key, piece<HEAD> &to) {
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const uint16_t *own = key + (warp * 16 + half * 8 + lane / 4) * HEAD + lane % 4 * 8;
#pragma unroll
        for (int i = 0; i < HEAD / 32; i++) to.keys[half][i] = key == nullptr ? uint4{0, 0, 0, 0} : *(const uint4 *)(own + i * 32);
    }
}

/* Values outside [seen.low, seen.high) become zeros: they may be NaN, which would make a NaN with a weight of 0 too. */
template <int HEAD>
static __device__ inline void load_values(const uint16_t *key, int32_t to_values, const weft_seen &seen, int first,
                                          piece<HEAD> &to) {
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES;
    const uint16_t *values = key + to_values + warp * (HEAD / 4) + lane / 4 * (HEAD / 32);
#pragma unroll
    for (int step = 0; step < PIECE / 16; step++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int at = step * 16 + i / 2 * 8 + lane % 4 * 2 + i % 2;
            bool present = key != nullptr && first + at >= seen.low && first + at < seen.high;
            const uint32_t *words = (const uint32_t *)(values + at * HEAD);
#pragma unroll
            for (int word = 0; word < HEAD / 64; word++) to.values[step][i][word] = present ? words[word] : 0;
        }
}

template <int HEAD>
static __device__ inline void multiply_keys(const weft_queries<HEAD> &q, const piece<HEAD> &from, float (&scores)[2][4]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 4; i++) scores[half][i] = 0.0f;
#pragma unroll
        for (int i = 0; i < HEAD / 32; i++)
            weft_multiply_keys(q.steps[2 * i], q.steps[2 * i + 1], from.keys[half][i], scores[half]);
    }
}

template <int HEAD>
static __device__ inline void multiply_values(const piece<HEAD> &from, const weft_few_work &shared_work, float (&o)[HEAD / 32][4],
                                              float (&weights)[4]) {
#pragma unroll
    for (int step = 0; step < PIECE / 16; step++) {
        uint32_t a[4];
        weft_few_operand(shared_work, step, a);
        weft_mma(weights, a, ONES, ONES);
#pragma unroll
        for (int word = 0; word < HEAD / 64; word++) {
            const uint32_t v[4] = {from.values[step][0][word], from.values[step][1][word], from.values[step][2][word],
                                   from.values[step][3][word]};
            weft_mma(o[2 * word], a, weft_first_halves(v[0], v[1]), weft_first_halves(v[2], v[3]));
            weft_mma(o[2 * word + 1], a, weft_second_halves(v[0], v[1]), weft_second_halves(v[2], v[3]));
        }
    }
}

template <int HEAD>
static __device__ inline void load_piece(const uint16_t *key, const weft_pieces &pieces, const weft_seen &seen, int at,
                                         piece<HEAD> &to) {
    load_keys<HEAD>(key, to);
    load_values<HEAD>(key, pieces.to_values, seen, at * PIECE, to);
}

/* The pieces [from, to) of one range, of which the first is loaded. Piece `next` comes after them; -1: none. The loads of a piece's
 * keys and values begin as soon as those of the piece before were multiplied. */
template <int HEAD>
static __device__ inline void attend_range(const weft_pieces &pieces, const weft_seen &seen, const weft_queries<HEAD> &q, int from,
                                           int to, int next, piece<HEAD> &loaded, sums<HEAD> &range, weft_few_work &shared_work) {
    float o[HEAD / 32][4] = {}, weights[4] = {};
    range.largest[0] = range.largest[1] = -WEFT_INFINITY;
    for (int i = from; i < to; i++) {
        float scores[2][4];
        int following = i + 1 == to ? next : i + 1;
        const uint16_t *key = following < 0 ? nullptr : weft_keys_of<HEAD>(pieces, following);
        multiply_keys<HEAD>(q, loaded, scores);
        if (following >= 0) load_keys<HEAD>(key, loaded);
        weft_weigh_few<HEAD>(q, i * PIECE, scores, range.largest, o, weights, shared_work);
        multiply_values<HEAD>(loaded, shared_work, o, weights);
        if (following >= 0) load_values<HEAD>(key, pieces.to_values, seen, following * PIECE, loaded);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        range.weights[i] = weights[2 * i];
#pragma unroll
        for (int j = 0; j < HEAD / 16; j++) range.places[i][j] = o[j % (HEAD / 32)][2 * i + j / (HEAD / 32)];
    }
}

template <int HEAD> static __device__ inline void add_range(const sums<HEAD> &range, sums<HEAD> &all) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        weft_factors factors = weft_factors_of(all.largest[i], range.largest[i]);
        all.largest[i] = factors.largest;
        all.weights[i] = weft_attention_add(all.weights[i], range.weights[i], factors);
#pragma unroll
        for (int j = 0; j < HEAD / 16; j++) all.places[i][j] = weft_attention_add(all.places[i][j], range.places[i][j], factors);
    }
}

/* ---- Results of ranges in memory ---- */

/* The result of a pair's range: largest score, sum of the weights, two unused, HEAD sums. */
template <int HEAD> static __device__ inline float *part_of(const weft_cuda_attention &argument, int64_t column, int range) {
    return (float *)argument.phase.scratch + (column * (argument.most_ranges + 1) + range) * (HEAD + WEFT_ATTENTION_PART_EXTRA);
}

/* Another block wrote it, so this multiprocessor's own cache may have it from before. */
static __device__ inline weft_four read_part(const float *from) {
#ifdef __CUDA_ARCH__
    weft_four read;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(read.values[0]), "=f"(read.values[1]), "=f"(read.values[2]), "=f"(read.values[3])
                 : "l"(from));
    return read;
#else
    return *(const weft_four *)from;
#endif
}

/* The column, a row and head, of a segment's pair. */
static __device__ inline int64_t column_of(const weft_segment &segment, int pair, int group, int kv_head, int n_heads) {
    return (int64_t)(segment.first_row + pair / group) * n_heads + kv_head * group + pair % group;
}

/* Writes a lane's values of its two pairs: each at to(column), if the pair is the segment's. */
template <int HEAD, typename places>
static __device__ inline void write_pairs(const weft_segment &segment, int group, int kv_head, int n_heads,
                                          const float (&values)[2][HEAD / 16], places to) {
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int pair = lane / 4 + i * 8;
        if (pair >= segment.n_rows * group) continue;
        float *place = to(column_of(segment, pair, group, kv_head, n_heads)) + warp * (HEAD / 4) + lane % 4 * (HEAD / 16);
#pragma unroll
        for (int j = 0; j < HEAD / 16; j += 4)
            *(weft_four *)(place + j) = {{values[i][j], values[i][j + 1], values[i][j + 2], values[i][j + 3]}};
    }
}

template <int HEAD>
static __device__ inline void write_part(const weft_cuda_attention &argument, const weft_segment &segment, int group, int kv_head,
                                         int n_heads, int range, const sums<HEAD> &from) {
    write_pairs<HEAD>(segment, group, kv_head, n_heads, from.places,
                      [&](int64_t column) { return part_of<HEAD>(argument, column, range) + WEFT_ATTENTION_PART_EXTRA; });
    if (threadIdx.x >= WEFT_LANES || threadIdx.x % 4 != 0) return;
    for (int i = 0; i < 2; i++) {
        int pair = weft_lane() / 4 + i * 8;
        if (pair >= segment.n_rows * group) continue;
        float *part = part_of<HEAD>(argument, column_of(segment, pair, group, kv_head, n_heads), range);
        *(weft_four *)part = {{from.largest[i], from.weights[i], 0.0f, 0.0f}};
    }
}

/* Whether this block is the last of `n` to come here. What the others wrote is then visible to it. */
static __device__ inline bool is_last_block(uint32_t *counter, uint32_t n) {
    __shared__ uint32_t before;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        before = atomicAdd(counter, 1u);
        if (before == n - 1) *counter = 0;
    }
    __syncthreads();
    bool last = before == n - 1;
    if (last) __threadfence();
    return last;
}

/* The factors of up to 32 ranges of all pairs; a warp computes those of every fourth pair, a lane those of a range. */
template <int HEAD>
static __device__ inline void prepare_factors(const weft_cuda_attention &argument, const weft_segment &segment, int group,
                                              int kv_head, int n_heads, int first, int count, adding &to) {
    int lane = weft_lane();
    for (int pair = (int)threadIdx.x / WEFT_LANES; pair < segment.n_rows * group; pair += WARPS) {
        float own = -WEFT_INFINITY, weights = 0.0f, so_far = to.largest[pair];
        if (lane < count) {
            weft_four part = read_part(part_of<HEAD>(argument, column_of(segment, pair, group, kv_head, n_heads), first + lane));
            own = part.values[0];
            weights = part.values[1];
        }
        float larger = own;
        for (int distance = 1; distance < WEFT_LANES; distance *= 2) {
            float other = __shfl_sync(WEFT_ALL_LANES, larger, (lane + WEFT_LANES - distance) % WEFT_LANES);
            if (lane >= distance && other > larger) larger = other;
        }
        larger = so_far > larger ? so_far : larger;
        float before = __shfl_sync(WEFT_ALL_LANES, larger, (lane + WEFT_LANES - 1) % WEFT_LANES);
        weft_factors factors = weft_factors_of(lane == 0 ? so_far : before, own);
        to.before[pair][lane] = factors.before;
        to.own[pair][lane] = factors.own;
        to.weights[pair][lane] = weights;
        if (lane == WEFT_LANES - 1) to.largest[pair] = factors.largest;
    }
}

/* Adds up all ranges of the segment. A thread has 4 values of a pair and, with 16 pairs, of every 4th or 8th pair more. */
template <int HEAD>
static __device__ inline void add_parts(const weft_cuda_attention &argument, const weft_segment &segment, int group, int kv_head,
                                        int n_heads, int n_ranges, adding &shared_adding) {
    constexpr int THREADS = HEAD / 4, PAIRS = WARPS * WEFT_LANES / THREADS, TURNS = TILE / PAIRS;
    int d = (int)threadIdx.x % THREADS * 4, n_pairs = segment.n_rows * group;
    float totals[TURNS][4] = {}, weights[TURNS] = {};
    if (threadIdx.x < TILE) shared_adding.largest[threadIdx.x] = -WEFT_INFINITY;
    for (int first = 0; first < n_ranges; first += WEFT_LANES) {
        int count = n_ranges - first < WEFT_LANES ? n_ranges - first : WEFT_LANES;
        __syncthreads();
        prepare_factors<HEAD>(argument, segment, group, kv_head, n_heads, first, count, shared_adding);
        __syncthreads();
#pragma unroll
        for (int turn = 0; turn < TURNS; turn++) {
            int pair = turn * PAIRS + (int)threadIdx.x / THREADS;
            if (pair >= n_pairs) continue;
            const float *parts =
                part_of<HEAD>(argument, column_of(segment, pair, group, kv_head, n_heads), first) + WEFT_ATTENTION_PART_EXTRA + d;
#pragma unroll 8
            for (int i = 0; i < count; i++) {
                weft_factors factors = {shared_adding.before[pair][i], shared_adding.own[pair][i], 0.0f};
                weft_four part = read_part(parts + i * (HEAD + WEFT_ATTENTION_PART_EXTRA));
                weights[turn] = weft_attention_add(weights[turn], shared_adding.weights[pair][i], factors);
                for (int j = 0; j < 4; j++) totals[turn][j] = weft_attention_add(totals[turn][j], part.values[j], factors);
            }
        }
    }
    float *y = weft_at<float>(argument.phase.outputs[WEFT_ATTENTION_OUT_Y]);
#pragma unroll
    for (int turn = 0; turn < TURNS; turn++) {
        int pair = turn * PAIRS + (int)threadIdx.x / THREADS;
        weft_four result;
        for (int j = 0; j < 4; j++) result.values[j] = weft_attention_result(totals[turn][j], weights[turn]);
        if (pair < n_pairs) *(weft_four *)(y + column_of(segment, pair, group, kv_head, n_heads) * HEAD + d) = result;
    }
}

/* ---- Kernels ---- */

/* A segment and a KV head, and how blocks share the ranges: block i has range i and every n_blocks-th more. */
struct share {
    weft_segment segment;
    weft_seen seen;
    weft_pieces pieces;
    int first, end; /* pieces that any row sees */
    int first_range, n_ranges, n_blocks;
};

/* The pieces [from, to) of a block's range. */
struct share_range {
    int from, to;
};

template <int HEAD>
static __device__ inline share share_of(const weft_cuda_attention &argument, const weft_kv &kv, const weft_segment &segment,
                                        int kv_head) {
    share made = {segment, weft_seen_by_all(kv, segment, weft_params<weft_attention_params>(argument.phase).window)};
    int length = segment.range_pieces;
    made.pieces = weft_pieces_of<HEAD>(kv, segment.sequence, kv_head);
    made.first = made.seen.low / PIECE, made.end = (made.seen.high + PIECE - 1) / PIECE;
    made.first_range = made.first / length;
    made.n_ranges = made.seen.high == 0 ? 0 : (made.end - 1) / length - made.first_range + 1;
    bool alone = gridDim.x == 1 || made.n_ranges > argument.most_ranges + 1 || made.end - made.first <= WEFT_ATTENTION_FEW_PIECES;
    made.n_blocks = alone ? 1 : made.n_ranges < (int)gridDim.x ? made.n_ranges : (int)gridDim.x;
    return made;
}

static __device__ inline share_range range_of(const share &own, int range) {
    int length = own.segment.range_pieces, from = (own.first_range + range) * length;
    return {from > own.first ? from : own.first, from + length < own.end ? from + length : own.end};
}

/* Asks for the keys and values of the block's first ranges, which may be far away. */
template <int HEAD> static __device__ inline void prefetch(const share &own) {
    if ((int)blockIdx.x >= own.n_ranges) return;
    share_range first = range_of(own, (int)blockIdx.x);
    if (own.n_blocks == 1) first.to = own.end;
    if (first.to > first.from + MOST_PREFETCHED) first.to = first.from + MOST_PREFETCHED;
    for (int piece = first.from; piece < first.to; piece++) {
        const uint16_t *key = weft_keys_of<HEAD>(own.pieces, piece);
        if (key == nullptr) continue;
        for (int i = (int)threadIdx.x * LINE_HALVES; i < PIECE * HEAD; i += (int)blockDim.x * LINE_HALVES) {
            weft_prefetch(key + i);
            weft_prefetch(key + own.pieces.to_values + i);
        }
    }
}

template <int HEAD>
static __device__ inline void attend(const weft_cuda_attention &argument, const weft_kv &kv, const share &own_share, int slot,
                                     int kv_head, const weft_queries<HEAD> &q, piece<HEAD> &loaded, weft_few_work &shared_work,
                                     adding &shared_adding) {
    const weft_segment &segment = own_share.segment;
    int n_heads = weft_params<weft_attention_params>(argument.phase).n_heads, group = n_heads / (int)kv.n_kv_heads;
    int n_ranges = own_share.n_ranges, n_blocks = own_share.n_blocks;
    share_range pieces = range_of(own_share, (int)blockIdx.x);
    sums<HEAD> all = {};
    all.largest[0] = all.largest[1] = -WEFT_INFINITY;
    for (int range = (int)blockIdx.x; range < n_ranges; range += n_blocks) {
        sums<HEAD> own;
        const share_range now = pieces;
        if (range + n_blocks < n_ranges) pieces = range_of(own_share, range + n_blocks);
        attend_range<HEAD>(own_share.pieces, own_share.seen, q, now.from, now.to, range + n_blocks < n_ranges ? pieces.from : -1,
                           loaded, own, shared_work);
        if (n_blocks == 1)
            add_range<HEAD>(own, all);
        else
            write_part<HEAD>(argument, segment, group, kv_head, n_heads, range, own);
    }
    if (n_blocks > 1) {
        uint32_t *counter = (uint32_t *)argument.counters + slot * kv.n_kv_heads + kv_head;
        if (is_last_block(counter, (uint32_t)n_blocks))
            add_parts<HEAD>(argument, segment, group, kv_head, n_heads, n_ranges, shared_adding);
        return;
    }
    float *y = weft_at<float>(argument.phase.outputs[WEFT_ATTENTION_OUT_Y]);
    for (int i = 0; i < 2; i++) {
        if (i * 8 >= segment.n_rows * group) continue; /* divisions are long */
        for (int j = 0; j < HEAD / 16; j++) all.places[i][j] = weft_attention_result(all.places[i][j], all.weights[i]);
    }
    write_pairs<HEAD>(segment, group, kv_head, n_heads, all.places, [&](int64_t column) { return y + column * HEAD; });
}

/* Grid: blocks of a segment; KV heads of as many segments as there can be. What a block needs to know of its segment, it finds out
 * before it waits. */
template <int HEAD> static __device__ inline void attend_segment(const weft_cuda_attention &argument) {
    __shared__ weft_few_work shared_work;
    __shared__ adding shared_adding;
    __shared__ weft_marks shared_marks;
    weft_kv kv = weft_attention_kv(argument);
    int window = weft_params<weft_attention_params>(argument.phase).window, n_kv_heads = (int)kv.n_kv_heads;
    int n_rows = (int)argument.phase.inputs[WEFT_ATTENTION_ROWS].shape[1];
    int kv_head = (int)blockIdx.y % n_kv_heads, slot = (int)blockIdx.y / n_kv_heads;
    weft_segment segment = n_rows > WEFT_LANES && n_rows <= WEFT_LANES * WEFT_MOST_WORDS
                               ? weft_find_segment_together(argument, kv, n_rows, window, slot, shared_marks)
                               : weft_find_segment(argument, kv, n_rows, window, slot);
    share own = share_of<HEAD>(argument, kv, segment, kv_head);
    bool is_used = segment.n_rows > 0 && (int)blockIdx.x < own.n_blocks, has_range = is_used && own.n_ranges > 0;
    if (segment.n_rows > 0) prefetch<HEAD>(own);
    int from = has_range ? range_of(own, (int)blockIdx.x).from : 0;
    const uint16_t *key = has_range ? weft_keys_of<HEAD>(own.pieces, from) : nullptr;
    /* A step of one row writes its last piece alone. */
    bool is_old = has_range && n_rows == 1 && (from + 1) * PIECE < own.seen.high;
    const float *queries[2];
    piece<HEAD> loaded;
    weft_queries<HEAD> q;
    weft_find_queries<HEAD>(argument, kv, segment, kv_head, 0, queries, q);
    if (is_old) load_piece<HEAD>(key, own.pieces, own.seen, from, loaded);
    if (weft_cancelled(argument.phase) || !is_used) return;
    if (has_range && !is_old) load_piece<HEAD>(key, own.pieces, own.seen, from, loaded);
    weft_load_queries<HEAD>(argument, queries, q);
    attend<HEAD>(argument, kv, own, slot, kv_head, q, loaded, shared_work, shared_adding);
}

WEFT_KERNEL(weft_attention_split_64, weft_cuda_attention, argument) {
    attend_segment<64>(argument);
}

WEFT_KERNEL(weft_attention_split_128, weft_cuda_attention, argument) {
    attend_segment<128>(argument);
}
