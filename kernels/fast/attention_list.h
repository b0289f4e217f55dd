/* Segments of up to 1,024 rows, found by a block together. A block of attention_tiles.cu lists its own. It takes a step of more
 * rows in parts of that size: where segments begin changes no bits. A block of attention_split.cu needs one segment.
 */
#ifndef WEFT_KERNELS_FAST_ATTENTION_LIST_H
#define WEFT_KERNELS_FAST_ATTENTION_LIST_H

#include "kernels/fast/attention.h"

#define WEFT_MOST_LISTED 8
#define WEFT_MOST_WORDS 32   /* of 32 rows each */
#define WEFT_ROWS_TOGETHER 4 /* that a thread looks at together, so that it waits for memory once */

struct weft_listed {
    weft_segment segment;
    weft_seen seen; /* by any row */
    bool is_few;    /* up to 16 pairs of a row and a head */
};

/* Of rows [first, first + n), a bit each: those that begin a run of one sequence and size of ranges, a segment of many rows, and
 * one of few. */
struct weft_marks {
    uint32_t runs[WEFT_MOST_WORDS], many[WEFT_MOST_WORDS], few[WEFT_MOST_WORDS];
};

/* In dynamic shared memory, as all of a kernel that asks for more than every device has. */
struct weft_attention_lists {
    weft_marks marks;
    weft_listed listed[WEFT_MOST_LISTED];
};

static_assert(sizeof(weft_attention_lists) <= WEFT_ATTENTION_LIST_BYTES, "the host counts this many bytes");

/* The end of the run that `row` is in, but at most row + most. */
static __device__ inline int weft_run_end(const weft_marks &marks, int n_words, int row, int most) {
    int word = row / WEFT_LANES;
    unsigned later = marks.runs[word] & ~((2u << row % WEFT_LANES) - 1u);
    while (later == 0 && word + 1 < n_words && (word + 1) * WEFT_LANES < row + most) later = marks.runs[++word];
    int end = later == 0 ? n_words * WEFT_LANES : word * WEFT_LANES + __ffs((int)later) - 1;
    return end < row + most ? end : row + most;
}

/* Marks rows. Those past the last one count as beginnings of runs. */
static __device__ inline void weft_mark_runs(const weft_cuda_attention &argument, const weft_kv &kv, int first_row, int n_rows,
                                             int window, weft_marks &marks) {
    int n_places = (n_rows + WEFT_LANES - 1) / WEFT_LANES * WEFT_LANES, n_threads = (int)blockDim.x;
    for (int first = (int)threadIdx.x; first < n_places; first += WEFT_ROWS_TOGETHER * n_threads) {
        int32_t sequences[WEFT_ROWS_TOGETHER][2], indices[WEFT_ROWS_TOGETHER][2]; /* of the row and of the one before */
#pragma unroll
        for (int i = 0; i < WEFT_ROWS_TOGETHER; i++)
#pragma unroll
            for (int j = 0; j < 2; j++) {
                int row = first + i * n_threads, read = (row < n_rows ? row : n_rows - 1) - j;
                int at = first_row + (read > 0 ? read : 0);
                sequences[i][j] = weft_kv_sequence(kv, at);
                indices[i][j] = kv.rows[at * WEFT_ROW_WORDS + WEFT_ROW_CACHE_INDEX];
            }
#pragma unroll
        for (int i = 0; i < WEFT_ROWS_TOGETHER; i++) {
            int row = first + i * n_threads, pieces[2];
            if (row >= n_places) break;
            for (int j = 0; j < 2; j++)
                pieces[j] = weft_range_pieces(weft_seen_at(kv, sequences[i][j], indices[i][j], window), argument.most_ranges);
            unsigned bits = weft_ballot(row == 0 || row >= n_rows || sequences[i][0] != sequences[i][1] || pieces[0] != pieces[1]);
            if (weft_lane() == 0) marks.runs[row / WEFT_LANES] = bits;
        }
    }
    __syncthreads();
}

/* Marks segments. Runs of up to few_rows rows are of few; so are all, if no segment may have more. */
static __device__ inline void weft_mark_segments(const weft_cuda_attention &argument, int n_rows, weft_marks &marks) {
    int n_words = (n_rows + WEFT_LANES - 1) / WEFT_LANES;
    bool all_are_few = argument.segment_rows <= argument.few_rows;
    for (int row = (int)threadIdx.x; row < n_words * WEFT_LANES; row += (int)blockDim.x) {
        int word = row / WEFT_LANES;
        unsigned until = marks.runs[word] & ((2u << weft_lane()) - 1u);
        while (until == 0) until = marks.runs[--word];
        int start = word * WEFT_LANES + 31 - __clz((int)until);
        bool begins = row < n_rows && (uint32_t)(row - start) % (uint32_t)argument.segment_rows == 0;
        bool is_few =
            all_are_few || (row == start && weft_run_end(marks, n_words, row, argument.few_rows + 1) - row <= argument.few_rows);
        unsigned many = weft_ballot(begins && !is_few), few = weft_ballot(begins && is_few);
        if (weft_lane() == 0) marks.many[row / WEFT_LANES] = many;
        if (weft_lane() == 0) marks.few[row / WEFT_LANES] = few;
    }
    __syncthreads();
}

/* How many bits the lanes before have, and all. */
static __device__ inline int weft_bits_before(unsigned bits, int &all) {
    int own = __popc(bits), until = own;
    for (int distance = 1; distance < WEFT_LANES; distance *= 2) {
        int other = __shfl_sync(WEFT_ALL_LANES, until, (weft_lane() + WEFT_LANES - distance) % WEFT_LANES);
        if (weft_lane() >= distance) until += other;
    }
    all = __shfl_sync(WEFT_ALL_LANES, until, WEFT_LANES - 1);
    return until - own;
}

/* ---- One segment ---- */

/* Finds number `wanted` of the bits that the lanes have, and the next. 32 * WEFT_MOST_WORDS: there is no such bit. */
static __device__ inline void weft_find_bits(unsigned bits, int wanted, int (&found)[2]) {
    int all, own = __popc(bits), before = weft_bits_before(bits, all);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int number = wanted + i;
        bool is_own = number >= before && number < before + own;
        unsigned owners = weft_ballot(is_own), left = bits;
        for (int skipped = before; is_own && skipped < number; skipped++) left &= left - 1u;
        int owner = owners == 0 ? 0 : __ffs((int)owners) - 1;
        int bit = __shfl_sync(WEFT_ALL_LANES, __ffs((int)left) - 1, owner);
        found[i] = owners == 0 ? WEFT_LANES * WEFT_MOST_WORDS : owner * WEFT_LANES + bit;
    }
}

/* The same as weft_find_segment, where all segments are of few rows: faster where there are many rows, and at most
 * 32 * WEFT_MOST_WORDS. */
static __device__ inline weft_segment weft_find_segment_together(const weft_cuda_attention &argument, const weft_kv &kv, int n_rows,
                                                                 int window, int wanted, weft_marks &marks) {
    int n_words = (n_rows + WEFT_LANES - 1) / WEFT_LANES, found[2];
    weft_mark_runs(argument, kv, 0, n_rows, window, marks);
    weft_mark_segments(argument, n_rows, marks);
    weft_find_bits(weft_lane() < n_words ? marks.few[weft_lane()] : 0, wanted, found);
    int first = found[0], end = found[1] < n_rows ? found[1] : n_rows;
    return first < n_rows ? weft_segment_of(argument, kv, first, end, window) : weft_segment{0, 0, -1, 1};
}

/* ---- A block's list ---- */

/* Lists, of the segments of many rows and then of few, every n_slots-th from `slot` on, without the first `done` of these. Returns
 * how many there are from there on, of which the list has WEFT_MOST_LISTED at most. Segments of many rows are in an order in which
 * long ones and short ones are together on a multiprocessor, if it has two blocks. */
static __device__ inline int weft_list_segments(const weft_cuda_attention &argument, const weft_kv &kv, int first_row, int n_rows,
                                                int slot, int n_slots, int done, const weft_marks &marks,
                                                weft_listed (&list)[WEFT_MOST_LISTED]) {
    int lane = weft_lane(), n_words = (n_rows + WEFT_LANES - 1) / WEFT_LANES, n_many, n_few;
    int window = weft_params<weft_attention_params>(argument.phase).window;
    int many_before = weft_bits_before(lane < n_words ? marks.many[lane] : 0, n_many),
        few_before = weft_bits_before(lane < n_words ? marks.few[lane] : 0, n_few);
    int n_own = n_many + n_few > slot ? (n_many + n_few - slot + n_slots - 1) / n_slots - done : 0;
    for (int word = (int)threadIdx.x / WEFT_LANES; word < n_words; word += WARPS) {
        int before = __shfl_sync(WEFT_ALL_LANES, many_before, word), before_few = __shfl_sync(WEFT_ALL_LANES, few_before, word);
        unsigned many = marks.many[word], few = marks.few[word], lower = (1u << lane) - 1u;
        int number = before + __popc(many & lower), row = word * WEFT_LANES + lane;
        int place = number >= n_many / 2 ? n_many - 1 - number : (n_many + 1) / 2 + number;
        if (few >> lane & 1u) place = n_many + before_few + __popc(few & lower);
        if (((many | few) >> lane & 1u) == 0 || place % n_slots != slot) continue;
        int own = place / n_slots - done;
        if (own < 0 || own >= WEFT_MOST_LISTED) continue;
        weft_segment segment = {first_row + row, weft_run_end(marks, n_words, row, argument.segment_rows) - row, -1, 1};
        list[own].segment = segment;
        list[own].is_few = (few >> lane & 1u) != 0;
    }
    __syncthreads();
    int n_listed = n_own < WEFT_MOST_LISTED ? n_own : WEFT_MOST_LISTED;
    for (int i = (int)threadIdx.x / WEFT_LANES; i < n_listed; i += WARPS) {
        int first = list[i].segment.first_row, end = first + list[i].segment.n_rows;
        weft_segment segment = weft_segment_of(argument, kv, first, end, window);
        weft_seen seen = weft_seen_by_all(kv, segment, window);
        if (lane != 0) continue;
        list[i].segment = segment;
        list[i].seen = seen;
    }
    __syncthreads();
    return n_own;
}

#endif
