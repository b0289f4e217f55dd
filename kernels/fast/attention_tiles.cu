/* Attention in half floats where there are many rows. Keys and values go through shared memory, one or two pieces ahead. Of a
 * segment of many rows a block computes up to 64 pairs of a row and a head of one KV head, each warp 16 of them. Of segments of few
 * rows, with up to 16 pairs, a block computes several in turn, and begins to copy the next one's pieces while it computes.
 */
#include "kernels/fast/attention_few.h"
#include "kernels/fast/attention_list.h"
#include "kernels/fast/attention_stages.h"
#include "kernels/fast/usual.h"

extern __shared__ float shared[];

/* Each lane's operands. */
template <int HEAD> struct tile_queries { uint4 steps[WARPS][HEAD / 16][WEFT_LANES]; };

/* Sums of a range, or of all ranges so far: of the pairs lane / 4 (places 0 and 1) and 8 more (2 and 3). Sum n of a pair, place i,
 * is value n / 8 * 64 + (2 (lane % 4) + i % 2) * 8 + n % 8 of the head. */
template <int HEAD> struct sums { float largest[2], weights[2], places[HEAD / 8][4]; };

/* ---- One piece ---- */

template <int HEAD> static __device__ inline void keep_queries(const weft_queries<HEAD> &q, tile_queries<HEAD> &to) {
#pragma unroll
    for (int i = 0; i < HEAD / 16; i++)
        to.steps[threadIdx.x / WEFT_LANES][i][weft_lane()] = {q.steps[i][0], q.steps[i][1], q.steps[i][2], q.steps[i][3]};
}

template <int HEAD>
static __device__ inline void multiply_keys(const tile_queries<HEAD> &q, const weft_stage<HEAD> &from,
                                            float (&scores)[PIECE / 8][4]) {
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES;
#pragma unroll
    for (int n = 0; n < PIECE / 8; n++)
        for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
    const uint4 *even = &from.keys[lane / 4][weft_key_vector(lane / 4, lane % 4)],
                *odd = &from.keys[lane / 4][weft_key_vector(lane / 4, lane % 4 + 4)];
#pragma unroll 2 /* more needs more registers than there are */
    for (int i = 0; i < HEAD / 32; i++) {
        uint4 q0 = q.steps[warp][2 * i][lane], q1 = q.steps[warp][2 * i + 1][lane];
        const uint32_t first[4] = {q0.x, q0.y, q0.z, q0.w}, second[4] = {q1.x, q1.y, q1.z, q1.w};
#pragma unroll
        for (int n = 0; n < PIECE / 8; n++)
            weft_multiply_keys(first, second, (i % 2 ? odd : even)[n * HEAD + i / 2 * 8], scores[n]);
    }
}

/* Makes weights of the scores: [n][i], of 8 positions and a pair. Multiplies the sums so far, if there are any, by the factors that
 * the new largest scores demand. */
template <int HEAD>
static __device__ inline void weigh(const weft_queries<HEAD> &q, int first, bool has_sums, float (&scores)[PIECE / 8][4],
                                    sums<HEAD> &range, float (&weights)[4], uint32_t (&of_positions)[PIECE / 8][2]) {
    float largest[2] = {-WEFT_INFINITY, -WEFT_INFINITY};
    int own = first + weft_lane() % 4 * 2;
    if (first >= q.seen[0].low && first >= q.seen[1].low && first + PIECE <= q.seen[0].high && first + PIECE <= q.seen[1].high) {
#pragma unroll
        for (int n = 0; n < PIECE / 8; n++) weft_scale_scores<HEAD, true>(q, own + n * 8, scores[n], largest);
    } else {
#pragma unroll
        for (int n = 0; n < PIECE / 8; n++) weft_scale_scores<HEAD>(q, own + n * 8, scores[n], largest);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        for (int distance = 1; distance < 4; distance *= 2) {
            float other = __shfl_xor_sync(WEFT_ALL_LANES, largest[i], distance);
            largest[i] = other > largest[i] ? other : largest[i];
        }
        float larger = largest[i] > range.largest[i] ? largest[i] : range.largest[i];
        float factor = weft_weight(range.largest[i], larger);
        range.largest[i] = larger;
        if (has_sums) {
            weights[2 * i] = weft_times(weights[2 * i], factor);
#pragma unroll
            for (int n = 0; n < HEAD / 8; n++) {
                range.places[n][2 * i] = weft_times(range.places[n][2 * i], factor);
                range.places[n][2 * i + 1] = weft_times(range.places[n][2 * i + 1], factor);
            }
        }
#pragma unroll
        for (int n = 0; n < PIECE / 8; n++)
            of_positions[n][i] = weft_halves(weft_weight(scores[n][2 * i], larger), weft_weight(scores[n][2 * i + 1], larger));
    }
}

template <int HEAD>
static __device__ inline void multiply_values(const weft_stage<HEAD> &from, const uint32_t (&of_positions)[PIECE / 8][2],
                                              sums<HEAD> &range, float (&weights)[4]) {
    int lane = weft_lane(), position = lane % 4 * 2;
    const uint4 *own = &from.values[position][weft_value_vector(position, lane / 4)];
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

template <int HEAD>
static __device__ inline void attend_many(const weft_cuda_attention &argument, const weft_kv &kv, const weft_listed &listed,
                                          int kv_head, weft_stages<HEAD> &stages, tile_queries<HEAD> &shared_queries) {
    const weft_attention_params &params = weft_params<weft_attention_params>(argument.phase);
    const weft_segment &segment = listed.segment;
    int group = params.n_heads / (int)kv.n_kv_heads, first_pair = (int)threadIdx.x / WEFT_LANES * TILE;
    int first = listed.seen.low / PIECE, end = (listed.seen.high + PIECE - 1) / PIECE, length = segment.range_pieces;
    weft_pieces pieces = weft_pieces_of<HEAD>(kv, segment.sequence, kv_head);
    for (int i = 0; i < stages.n - 1; i++) {
        if (first + i < end)
            weft_copy_stage<HEAD>(pieces, weft_keys_of<HEAD>(pieces, first + i), listed.seen, first + i, stages.to_fill());
        weft_commit_pieces();
        stages.next();
    }
    weft_queries<HEAD> q;
    const float *queries[2];
    weft_find_queries<HEAD>(argument, kv, segment, kv_head, first_pair, queries, q);
    weft_load_queries<HEAD>(argument, queries, q);
    keep_queries<HEAD>(q, shared_queries);
    sums<HEAD> all = {}, range;
    float weights[4];
    all.largest[0] = all.largest[1] = -WEFT_INFINITY;
    for (int i = first; i < end; i++) {
        float scores[PIECE / 8][4];
        uint32_t of_positions[PIECE / 8][2];
        int ahead = i + stages.n - 1;
        stages.wait();
        if (ahead < end) weft_copy_stage<HEAD>(pieces, weft_keys_of<HEAD>(pieces, ahead), listed.seen, ahead, stages.to_fill());
        weft_commit_pieces();
        bool begins = i == first || i % length == 0;
        if (begins) begin_range<HEAD>(range, weights);
        multiply_keys<HEAD>(shared_queries, stages.all[stages.now], scores);
        weigh<HEAD>(q, i * PIECE, !begins, scores, range, weights, of_positions);
        multiply_values<HEAD>(stages.all[stages.now], of_positions, range, weights);
        stages.next();
        if ((i + 1) % length == 0 || i + 1 == end) add_range<HEAD>(range, weights, all);
    }
    write<HEAD>(argument, segment, group, kv_head, params.n_heads, first_pair, all);
    __syncthreads();
}

/* ---- Segments of few rows ---- */

/* Sums of a warp's quarter of the values. Number 4 n + i of the pairs lane / 4 (i is 0 or 1) and 8 more (2 or 3) is what sum
 * `warp * HEAD / 32 + n`, place i, is in `sums`. */
template <int HEAD> struct few_sums { float largest[2], weights[4], places[HEAD / 32][4]; };

template <int HEAD> static __device__ inline void begin_few(few_sums<HEAD> &sums) {
    sums.largest[0] = sums.largest[1] = -WEFT_INFINITY;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sums.weights[i] = 0.0f;
        for (int n = 0; n < HEAD / 32; n++) sums.places[n][i] = 0.0f;
    }
}

template <int HEAD>
static __device__ inline void multiply_few_keys(const weft_queries<HEAD> &q, const weft_stage<HEAD> &from, float (&scores)[2][4]) {
    int lane = weft_lane(), first = (int)threadIdx.x / WEFT_LANES * 16 + lane / 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 4; i++) scores[half][i] = 0.0f;
#pragma unroll
        for (int i = 0; i < HEAD / 32; i++)
            weft_multiply_keys(q.steps[2 * i], q.steps[2 * i + 1],
                               from.keys[first + half * 8][weft_key_vector(first, i * 4 + lane % 4)], scores[half]);
    }
}

template <int HEAD>
static __device__ inline void multiply_few_values(const weft_stage<HEAD> &from, const weft_few_work &work, few_sums<HEAD> &range) {
    constexpr int WORDS = HEAD / 64; /* of each vector of 4 */
    int lane = weft_lane(), warp = (int)threadIdx.x / WEFT_LANES, position = lane % 4 * 2;
    const uint32_t *own =
        (const uint32_t *)&from.values[position][warp * WORDS / 4 * 8 + weft_value_vector(position, lane / 4)] + warp * WORDS % 4;
#pragma unroll
    for (int step = 0; step < PIECE / 16; step++) {
        uint32_t a[4], v[WORDS][4];
        weft_few_operand(work, step, a);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const uint32_t *words = own + (step * 16 + j / 2 * 8 + j % 2) * (HEAD / 2);
            if (WORDS == 2) {
                uint2 two = *(const uint2 *)words;
                v[0][j] = two.x, v[WORDS - 1][j] = two.y;
            } else {
                v[0][j] = *words;
            }
        }
        weft_mma(range.weights, a, ONES, ONES);
#pragma unroll
        for (int word = 0; word < WORDS; word++) {
            const uint32_t(&w)[4] = v[word];
            weft_mma(range.places[2 * word], a, weft_first_halves(w[0], w[1]), weft_first_halves(w[2], w[3]));
            weft_mma(range.places[2 * word + 1], a, weft_second_halves(w[0], w[1]), weft_second_halves(w[2], w[3]));
        }
    }
}

template <int HEAD> static __device__ inline void add_few(const few_sums<HEAD> &range, few_sums<HEAD> &all) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        weft_factors factors = weft_factors_of(all.largest[i], range.largest[i]);
        all.largest[i] = factors.largest;
        all.weights[2 * i] = weft_attention_add(all.weights[2 * i], range.weights[2 * i], factors);
#pragma unroll
        for (int n = 0; n < HEAD / 32; n++)
            for (int j = 2 * i; j < 2 * i + 2; j++)
                all.places[n][j] = weft_attention_add(all.places[n][j], range.places[n][j], factors);
    }
}

/* Results of one of a lane's pairs, a vector of HEAD / 32 for each of two places. */
template <int HEAD, typename DIVIDE>
static __device__ inline void write_few_pair(const few_sums<HEAD> &all, int first, float *y, const DIVIDE &divide) {
    struct alignas(HEAD / 32 * sizeof(float)) vector {
        float values[HEAD / 32];
    };
#pragma unroll
    for (int i = 0; i < 2; i++) {
        vector made;
#pragma unroll
        for (int n = 0; n < HEAD / 32; n++) made.values[n] = divide(all.places[n][first + i]);
        *(vector *)(y + i * 8) = made;
    }
}

template <int HEAD>
static __device__ inline void write_few(const weft_cuda_attention &argument, const weft_segment &segment, int group, int kv_head,
                                        int n_heads, const few_sums<HEAD> &all) {
    int first_sum = (int)threadIdx.x / WEFT_LANES * (HEAD / 32);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int pair = weft_lane() / 4 + i * 8, row = segment.first_row + pair / group;
        if (pair >= segment.n_rows * group) continue;
        float *y = weft_at<float>(argument.phase.outputs[WEFT_ATTENTION_OUT_Y]) +
                   ((int64_t)row * n_heads + kv_head * group + pair % group) * HEAD + first_sum / 8 * 64 + weft_lane() % 4 * 16 +
                   first_sum % 8;
        float weight = all.weights[2 * i];
        bool is_usual = weft_is_usual(weight) && weight != 0.0f;
#pragma unroll
        for (int n = 0; n < HEAD / 32; n++)
            is_usual &= weft_is_usual(all.places[n][2 * i]) && weft_is_usual(all.places[n][2 * i + 1]);
        if (is_usual) {
            weft_divisor divisor = weft_divisor_of(weight);
            write_few_pair<HEAD>(all, 2 * i, y, [&](float sum) { return weft_divide_by(sum, divisor); });
        } else {
            write_few_pair<HEAD>(all, 2 * i, y, [&](float sum) { return weft_attention_result(sum, weight); });
        }
    }
}

/* The piece of the block's segments that is copied next. Its page is looked up well before. */
struct few_cursor {
    const weft_listed *list;
    int n, item, piece;
    int32_t page;
};

template <int HEAD> static __device__ inline void find_page(const weft_kv &kv, int kv_head, few_cursor &cursor) {
    if (cursor.item >= cursor.n) return;
    weft_pieces pieces = weft_pieces_of<HEAD>(kv, cursor.list[cursor.item].segment.sequence, kv_head);
    cursor.page = pieces.table[cursor.piece / pieces.pieces_a_page];
}

/* From the first of an item's pieces. */
static __device__ inline void skip_empty(few_cursor &cursor) {
    while (cursor.item < cursor.n && cursor.list[cursor.item].seen.high == 0) cursor.item++;
    if (cursor.item < cursor.n) cursor.piece = cursor.list[cursor.item].seen.low / PIECE;
}

template <int HEAD>
static __device__ inline void copy_next(const weft_kv &kv, int kv_head, few_cursor &cursor, const weft_stages<HEAD> &stages) {
    if (cursor.item < cursor.n) {
        const weft_listed &listed = cursor.list[cursor.item];
        weft_pieces pieces = weft_pieces_of<HEAD>(kv, listed.segment.sequence, kv_head);
        weft_copy_stage<HEAD>(pieces, weft_keys_in<HEAD>(pieces, cursor.page, cursor.piece), listed.seen, cursor.piece,
                              stages.to_fill());
        if (++cursor.piece * PIECE >= listed.seen.high) {
            cursor.item++;
            skip_empty(cursor);
        }
        find_page<HEAD>(kv, kv_head, cursor);
    }
    weft_commit_pieces();
}

template <int HEAD>
static __device__ inline void attend_few(const weft_cuda_attention &argument, const weft_kv &kv, const weft_listed *list, int n,
                                         int kv_head, weft_stages<HEAD> &stages, weft_few_work &shared_work) {
    const weft_attention_params &params = weft_params<weft_attention_params>(argument.phase);
    int group = params.n_heads / (int)kv.n_kv_heads;
    few_cursor cursor = {list, n, 0, 0, -1};
    skip_empty(cursor);
    find_page<HEAD>(kv, kv_head, cursor);
    for (int i = 0; i < stages.n - 1; i++) {
        copy_next<HEAD>(kv, kv_head, cursor, stages);
        stages.next();
    }
    for (int item = 0; item < n; item++) {
        const weft_listed &listed = list[item];
        int first = listed.seen.low / PIECE, end = (listed.seen.high + PIECE - 1) / PIECE, length = listed.segment.range_pieces;
        weft_queries<HEAD> q;
        const float *queries[2];
        weft_find_queries<HEAD>(argument, kv, listed.segment, kv_head, 0, queries, q);
        weft_load_queries<HEAD>(argument, queries, q);
        few_sums<HEAD> all, range;
        begin_few<HEAD>(all);
        begin_few<HEAD>(range);
        for (int i = first; i < end; i++) {
            float scores[2][4];
            stages.wait();
            copy_next<HEAD>(kv, kv_head, cursor, stages);
            multiply_few_keys<HEAD>(q, stages.all[stages.now], scores);
            weft_weigh_few<HEAD>(q, i * PIECE, scores, range.largest, range.places, range.weights, shared_work);
            multiply_few_values<HEAD>(stages.all[stages.now], shared_work, range);
            stages.next();
            if ((i + 1) % length != 0 && i + 1 < end) continue;
            add_few<HEAD>(range, all);
            begin_few<HEAD>(range);
        }
        write_few<HEAD>(argument, listed.segment, group, kv_head, params.n_heads, all);
    }
    __syncthreads();
}

/* Asks for the pieces of the block's first segment, which may be far away. */
template <int HEAD> static __device__ inline void prefetch(const weft_kv &kv, const weft_listed &listed, int kv_head) {
    weft_pieces pieces = weft_pieces_of<HEAD>(kv, listed.segment.sequence, kv_head);
    int first = listed.seen.low / PIECE;
    for (int piece = first; piece * PIECE < listed.seen.high && piece < first + MOST_PREFETCHED; piece++) {
        const uint16_t *key = weft_keys_of<HEAD>(pieces, piece);
        if (key == nullptr) continue;
        for (int i = (int)threadIdx.x * LINE_HALVES; i < PIECE * HEAD; i += THREADS * LINE_HALVES) {
            weft_prefetch(key + i);
            weft_prefetch(key + pieces.to_values + i);
        }
    }
}

/* ---- Kernels ---- */

/* Grid: KV heads; blocks that share the segments. What a block needs to know of the rows, it finds out before it waits. Dynamic
 * shared memory: stages, and what is needed beside them. */
template <int HEAD> static __device__ inline void attend_segments(const weft_cuda_attention &argument) {
    weft_kv kv = weft_attention_kv(argument);
    weft_stages<HEAD> stages = {(weft_stage<HEAD> *)shared, argument.n_stages, 0};
    tile_queries<HEAD> &shared_queries = *(tile_queries<HEAD> *)(stages.all + stages.n);
    weft_few_work &shared_work = *(weft_few_work *)&shared_queries;
    weft_attention_lists &shared_lists = *(weft_attention_lists *)(&shared_queries + 1);
    weft_listed(&list)[WEFT_MOST_LISTED] = shared_lists.listed;
    int n_rows = (int)argument.phase.inputs[WEFT_ATTENTION_ROWS].shape[1], kv_head = (int)blockIdx.x;
    for (int first_row = 0; first_row < n_rows; first_row += WEFT_LANES * WEFT_MOST_WORDS) {
        int n = n_rows - first_row < WEFT_LANES * WEFT_MOST_WORDS ? n_rows - first_row : WEFT_LANES * WEFT_MOST_WORDS, n_own = 1;
        weft_mark_runs(argument, kv, first_row, n, weft_params<weft_attention_params>(argument.phase).window, shared_lists.marks);
        weft_mark_segments(argument, n, shared_lists.marks);
        for (int done = 0; n_own > 0; done += WEFT_MOST_LISTED, n_own -= WEFT_MOST_LISTED) {
            n_own = weft_list_segments(argument, kv, first_row, n, (int)blockIdx.y, (int)gridDim.y, done, shared_lists.marks, list);
            if (first_row == 0 && done == 0) {
                if (n_own > 0 && list[0].is_few) prefetch<HEAD>(kv, list[0], kv_head);
                if (weft_cancelled(argument.phase)) return;
            }
            int n_listed = n_own < WEFT_MOST_LISTED ? n_own : WEFT_MOST_LISTED, i = 0;
            for (; i < n_listed && !list[i].is_few; i++) attend_many<HEAD>(argument, kv, list[i], kv_head, stages, shared_queries);
            if (i < n_listed) attend_few<HEAD>(argument, kv, list + i, n_listed - i, kv_head, stages, shared_work);
        }
        __syncthreads();
    }
}

WEFT_KERNEL_OF(weft_attention_tiles_64, weft_cuda_attention, argument, THREADS, 3) {
    attend_segments<64>(argument);
}

WEFT_KERNEL_OF(weft_attention_tiles_128, weft_cuda_attention, argument, THREADS, 2) {
    attend_segments<128>(argument);
}
