/* Tiles of products with many columns by wgmma, and what becomes of their sums. kernels/fast/product_wide.h says who computes them.
 */
#ifndef WEFT_KERNELS_FAST_PRODUCT_WIDE_FINISH_H
#define WEFT_KERNELS_FAST_PRODUCT_WIDE_FINISH_H

#include "kernels/common.h"
#include "kernels/fast/finish.h"
#include "kernels/fast/warpgroup.h"

#if WEFT_HAS_WARPGROUPS

#define WEFT_WIDE_COMPUTING 8 /* warps */
#define WEFT_UNIT_PIECES 4    /* of 64 values; a stage of columns has two */

/* What a tile of the kernel for `ROWS` rows has. */
template <int ROWS> struct weft_wide_shape {
    static const int bands = ROWS / WEFT_UNIT_ROWS, groups = 128 / ROWS; /* of columns: one for each warpgroup, or one for both */
};

/* A place in a ring: which stage, and the parity of its phase. */
struct weft_ring {
    int stage;
    uint32_t parity;

    __device__ inline void advance(int n_stages) {
        if (++stage < n_stages) return;
        stage = 0;
        parity ^= 1;
    }
};

/* Shared memory, by the places of kernels/products.h. */
struct weft_wide_memory {
    uint8_t *columns, *weights;
    float *scales, *factors;
    uint64_t *columns_full, *columns_empty, *weights_full, *weights_empty, *met;
};

static __device__ inline weft_wide_memory weft_wide_memory_of(const weft_cuda_wide &wide, uint8_t *shared_memory) {
    weft_wide_places places = weft_wide_places_of(&wide);
    weft_wide_memory memory;
    memory.columns = shared_memory;
    memory.weights = shared_memory + places.weights;
    memory.scales = (float *)(shared_memory + places.scales);
    memory.factors = memory.scales + wide.n_column_stages * wide.tile_columns;
    memory.columns_full = (uint64_t *)(shared_memory + places.barriers);
    memory.columns_empty = memory.columns_full + wide.n_column_stages;
    memory.weights_full = memory.columns_empty + wide.n_column_stages;
    memory.weights_empty = memory.weights_full + wide.n_weight_stages;
    memory.met = memory.weights_empty + wide.n_weight_stages; /* one for each warpgroup, and one for both */
    return memory;
}

/* Tile `item`, of all columns of a tile of rows in turn. A tile has some slices: one, or all one after the other. */
struct weft_wide_tile {
    int matrix, first_band, first_column;
    int first_slice, end_slice;
};

template <int ROWS> static __device__ inline weft_wide_tile weft_wide_tile_of(const weft_cuda_wide &wide, int item) {
    const weft_cuda_product &product = wide.product;
    weft_wide_tile tile;
    const int bands = product.gated ? weft_wide_shape<ROWS>::bands / 2 : weft_wide_shape<ROWS>::bands;
    tile.first_slice = wide.in_turn ? 0 : item % product.n_slices;
    tile.end_slice = wide.in_turn ? product.n_slices : tile.first_slice + 1;
    if (!wide.in_turn) item /= product.n_slices;
    tile.first_column = item % wide.n_column_tiles * wide.tile_columns;
    item /= wide.n_column_tiles;
    tile.matrix = 0;
    while (!product.gated && tile.matrix + 1 < product.n_matrices) {
        int n_tiles = (product.matrices[tile.matrix].n_bands + bands - 1) / bands;
        if (item < n_tiles) break;
        item -= n_tiles;
        tile.matrix++;
    }
    tile.first_band = item * bands;
    return tile;
}

/* Place `i` of a tile's bands, four for each warpgroup of rows: which matrix and band. Where gated, they are two of the gate and
 * two of `up`. The band may be past the last. */
static __device__ inline weft_band weft_wide_band(const weft_cuda_product &product, const weft_wide_tile &tile, int i) {
    weft_band at = {tile.matrix, tile.first_band + i};
    if (product.gated) at = {i / 2 % 2, tile.first_band + i / 4 * 2 + i % 2};
    return at;
}

/* What stays the same for a warp that multiplies. */
struct weft_wide_warp {
    weft_ring weights, columns;
    weft_ring freed;        /* the next stage of columns to be given back */
    int band, first_column; /* in a tile */
    uint32_t meetings;      /* parity */
};

/* By all lanes. */
static __device__ inline void weft_wide_release(uint64_t *barrier) {
    __syncwarp();
    if (weft_lane() == 0) weft_barrier_arrive(barrier);
}

static __device__ inline void weft_wide_release_columns(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                                        weft_wide_warp &warp) {
    weft_wide_release(memory.columns_empty + warp.freed.stage);
    warp.freed.advance(wide.n_column_stages);
}

/* ---- Results ----
 *
 * A lane has sums of two rows and of many columns. So a warpgroup's sums go through shared memory, half of its columns at a time:
 * then a thread has four rows of a column, and of some more columns. They lie in the warpgroup's half of the last stage of columns,
 * which is not given back before. Code that runs once a tile waits for its instructions, so it is short.
 */

#define WEFT_WIDE_ROWS 64 /* of a warpgroup */

/* With a warpgroup. */
static __device__ inline void weft_wide_meet(const weft_wide_memory &memory, uint32_t thread, weft_wide_warp &warp) {
    uint64_t *met = memory.met + thread / 128;
    weft_wide_release(met);
    weft_barrier_wait(met, warp.meetings);
    warp.meetings ^= 1;
}

/* A lane's sums FIRST and on, as [columns][64 rows]. Sums 4 i to 4 i + 3 are of columns 8 i and on: of both columns of the first
 * row, then of the second row, 8 further on. Pairs of columns have their rows in different orders, so that a warp uses all banks.
 */
template <int FIRST, int COUNT, int ALL>
static __device__ inline void weft_wide_stage(float *staged, uint32_t thread, const float (&sums)[ALL]) {
    uint32_t row = (thread % 128 / WEFT_LANES * WEFT_UNIT_ROWS + thread % WEFT_LANES / 4) ^ thread % 4 * 8;
    float *first = staged + thread % 4 * 2 * WEFT_WIDE_ROWS, *to[2] = {first + row, first + (row ^ 8)};
#pragma unroll
    for (int i = 0; i < COUNT; i++) to[i / 2 % 2][(i / 4 * 8 + i % 2) * WEFT_WIDE_ROWS] = sums[FIRST + i];
}

static __device__ inline float *weft_wide_staged(float *staged, uint32_t row, uint32_t column) {
    return staged + column * WEFT_WIDE_ROWS + (row ^ column / 2 % 4 * 8);
}

/* `ask` and `finish` get the first column of each half: the first loads what does not need the sums. */
template <int ROWS, int N, typename Ask, typename Finish>
static __device__ inline void weft_wide_halves(const weft_wide_memory &memory, uint32_t thread, weft_wide_warp &warp, float *staged,
                                               const float (&sums)[N / 2], Ask ask, Finish finish) {
    ask(0);
    if (ROWS == 128) /* both warpgroups multiply with all of the stage */
        weft_barrier_wait(memory.met + 2, warp.meetings);
    else
        weft_wide_meet(memory, thread, warp);
    weft_wide_stage<0, N / 4>(staged, thread, sums);
#pragma unroll 1
    for (int first = 0;; first = N / 2) {
        weft_wide_meet(memory, thread, warp);
        finish(first);
        if (first > 0) return;
        ask(N / 2);
        weft_wide_meet(memory, thread, warp);
        weft_wide_stage<N / 4, N / 4>(staged, thread, sums);
    }
}

/* Four rows of columns 0, STEP and so on, of which those below `left` are there. `stride`: from one of them to the next. All values
 * are set, as those that are set in a branch alone would have registers in all of the kernel. */
template <int STEP, int COUNT>
static __device__ inline void weft_wide_load(const float *from, int64_t stride, int left, weft_four (&fours)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++, from += stride) {
        fours[i] = {};
        if (STEP * i < left) fours[i] = *(const weft_four *)from;
    }
}

template <int STEP, int COUNT>
static __device__ inline void weft_wide_store(float *to, int64_t stride, int left, const weft_four (&fours)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++, to += stride)
        if (STEP * i < left) *(weft_four *)to = fours[i];
}

template <int STEP, int COUNT>
static __device__ inline void weft_wide_size(const float *staged, const weft_four &powers, const float (&factors)[COUNT],
                                             weft_four (&fours)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        fours[i] = *(const weft_four *)(staged + STEP * i * WEFT_WIDE_ROWS);
#pragma unroll
        for (int j = 0; j < 4; j++) fours[i].values[j] = weft_sized(fours[i].values[j], powers.values[j], factors[i]);
    }
}

/* `from`: the norm's, or null. */
template <int STEP, int COUNT> static __device__ inline void weft_wide_load_factors(const float *from, float (&factors)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) factors[i] = 1.0f;
    if (from == nullptr) return;
#pragma unroll
    for (int i = 0; i < COUNT; i++) factors[i] = from[STEP * i];
}

template <int COUNT> static __device__ inline void weft_wide_add(weft_four (&fours)[COUNT], const weft_four (&others)[COUNT]) {
#pragma unroll
    for (int i = 0; i < 4 * COUNT; i++)
        fours[i / 4].values[i % 4] = __fadd_rn(fours[i / 4].values[i % 4], others[i / 4].values[i % 4]);
}

template <int COUNT> static __device__ inline void weft_wide_add_bias(weft_four (&fours)[COUNT], uint64_t bias, int row, int left) {
    if (bias == 0 || left <= 0) return;
    const weft_four four = *(const weft_four *)((const float *)bias + row);
#pragma unroll
    for (int i = 0; i < 4 * COUNT; i++) fours[i / 4].values[i % 4] = __fadd_rn(fours[i / 4].values[i % 4], four.values[i % 4]);
}

/* What weft_wide_finish knows of a thread. */
struct weft_wide_place {
    uint32_t thread;
    int first_column, n_columns; /* of the warpgroup's tile */
    bool adds, keeps;            /* adds to the sums of the slices before; keeps sums for those that come, or for a later launch */
    float *staged;
    const float *factors; /* or null */
};

/* Rows of one matrix each: results without a gate, or slices' sums. */
template <int ROWS, int N>
static __device__ inline void weft_wide_finish_sums(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                                    const weft_wide_tile &tile, int slice, weft_wide_warp &warp,
                                                    const weft_wide_place &place, const float (&sums)[N / 2]) {
    const int step = 8, count = N / 2 / step;
    const weft_cuda_product &product = wide.product;
    uint32_t staged_row = place.thread % 16 * 4, column = place.thread % 128 / 16;
    weft_band at =
        weft_wide_band(product, tile, (ROWS == 128 ? (int)(place.thread / 128) * 4 : 0) + (int)staged_row / WEFT_UNIT_ROWS);
    const weft_cuda_matrix &matrix = product.matrices[at.matrix];
    const int in_band = (int)staged_row % WEFT_UNIT_ROWS, row = at.band * WEFT_UNIT_ROWS + in_band, n = (int)matrix.n;
    const int left = row < n ? place.n_columns - (int)column : 0;
    const bool has_residual = product.residual != 0 && !place.keeps;
    const int64_t first = (int64_t)(place.first_column + (int)column) * n + row;
    const float *residual = (const float *)(has_residual ? product.residual : matrix.y) + first, *before = residual;
    float *to = (float *)matrix.y + first;
    int stride = n, stride_before = n;
    if (product.n_slices > 1) {
        int band = at.band;
#pragma unroll 1
        for (int i = 0; i < at.matrix; i++) band += product.matrices[i].n_bands;
        float *kept = weft_slice_sum(product, wide.in_turn ? 0 : slice, place.first_column + (int)column, band, in_band);
        int kept_stride = (int)weft_slice_rows(product);
        if (place.keeps) {
            to = kept;
            stride = kept_stride;
        }
        if (place.adds) {
            before = kept;
            stride_before = kept_stride;
        }
    }
    weft_four powers = {}, others[count];
    if (left > 0) powers = *(const weft_four *)((const float *)matrix.powers + row);
    const float *staged = weft_wide_staged(place.staged, staged_row, column);
    auto ask = [&](int begin) {
        int there = place.adds || has_residual ? left - begin : 0;
        weft_wide_load<step>(before + (int64_t)stride_before * begin, (int64_t)stride_before * step, there, others);
    };
    auto finish = [&](int begin) {
        weft_four fours[count];
        float factors[count];
        weft_wide_load_factors<step>(place.factors == nullptr ? nullptr : place.factors + begin + column, factors);
        weft_wide_size<step>(staged, powers, factors, fours);
        if (place.adds) {
            weft_wide_add(fours, others);
            if (has_residual) weft_wide_load<step>(residual + (int64_t)n * begin, (int64_t)n * step, left - begin, others);
        }
        if (!place.keeps) weft_wide_add_bias(fours, matrix.bias, row, left);
        if (has_residual) weft_wide_add(fours, others);
        weft_wide_store<step>(to + (int64_t)stride * begin, (int64_t)stride * step, left - begin, fours);
    };
    weft_wide_halves<ROWS, N>(memory, place.thread, warp, place.staged, sums, ask, finish);
}

/* Rows of a gate and of `up`: results. */
template <int ROWS, int N>
static __device__ inline void weft_wide_finish_gated(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                                     const weft_wide_tile &tile, weft_wide_warp &warp, const weft_wide_place &place,
                                                     const float (&sums)[N / 2]) {
    const int step = 16, count = (N / 2 + step - 1) / step;
    const weft_cuda_product &product = wide.product;
    const weft_cuda_matrix &matrix = product.matrices[0];
    uint32_t staged_row = place.thread % 8 * 4, column = place.thread % 128 / 8;
    const int band = tile.first_band + (ROWS == 128 ? (int)(place.thread / 128) * 2 : 0) + (int)staged_row / WEFT_UNIT_ROWS;
    const int row = band * WEFT_UNIT_ROWS + (int)staged_row % WEFT_UNIT_ROWS, n = (int)matrix.n;
    const int left = row < n && column < N / 2 ? place.n_columns - (int)column : 0;
    float *y = (float *)matrix.y + (int64_t)(place.first_column + (int)column) * n + row;
    weft_four powers = {}, up_powers = {};
    if (left > 0) {
        powers = *(const weft_four *)((const float *)matrix.powers + row);
        up_powers = *(const weft_four *)((const float *)product.matrices[1].powers + row);
    }
    const float *staged = weft_wide_staged(place.staged, staged_row, N / 2 < step ? column % (N / 2) : column);
    auto finish = [&](int begin) {
        weft_four fours[count], ups[count];
        float factors[count];
        weft_wide_load_factors<step>(place.factors == nullptr ? nullptr : place.factors + begin + column, factors);
        weft_wide_size<step>(staged, powers, factors, fours);
        weft_wide_size<step>(staged + WEFT_WIDE_ROWS / 2, up_powers, factors, ups);
        if (place.adds) {
            const float *kept = weft_slice_sum(product, 0, place.first_column + (int)column + begin, 0, row);
            int64_t stride = weft_slice_rows(product);
            weft_four others[count], other_ups[count];
            weft_wide_load<step>(kept, stride * step, left - begin, others);
            weft_wide_load<step>(kept + stride / 2, stride * step, left - begin, other_ups);
            weft_wide_add(fours, others);
            weft_wide_add(ups, other_ups);
        }
        bool is_silu = product.activation == WEFT_ACTIVATION_SILU;
        auto each = [&](auto gate) {
#pragma unroll
            for (int i = 0; i < 4 * count; i++)
                fours[i / 4].values[i % 4] = gate(fours[i / 4].values[i % 4]) * ups[i / 4].values[i % 4];
        };
        if (is_silu)
            each([](float x) { return weft_nearly_silu(x); });
        else
            each([](float x) { return weft_nearly_gelu(x); });
        weft_wide_add_bias(fours, matrix.bias, row, left);
        weft_wide_store<step>(y + (int64_t)n * begin, (int64_t)n * step, left - begin, fours);
    };
    weft_wide_halves<ROWS, N>(
        memory, place.thread, warp, place.staged, sums, [](int) {}, finish);
}

/* One value at a time. */
template <int ROWS, int N>
static __device__ inline void weft_wide_finish_values(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                                      const weft_wide_tile &tile, int slice, weft_wide_warp &warp,
                                                      const weft_wide_place &place, const float (&sums)[N / 2]) {
    const weft_cuda_product &product = wide.product;
    auto ask = [](int) {};
    auto finish = [&](int begin) {
        uint32_t row = place.thread % (product.gated ? 32 : 64), column = place.thread % 128 / (product.gated ? 32 : 64);
        weft_band at = weft_wide_band(product, tile, (ROWS == 128 ? (int)(place.thread / 128) * 4 : 0) + (int)row / WEFT_UNIT_ROWS);
        if (at.band >= product.matrices[at.matrix].n_bands) return;
#pragma unroll 1
        for (int i = 0; i < at.matrix; i++) at.band += product.matrices[i].n_bands;
#pragma unroll 1
        for (; column < N / 2 && begin + (int)column < place.n_columns; column += product.gated ? 4 : 2) {
            const float *from = weft_wide_staged(place.staged, row, column);
            weft_finish_slice(product, slice, at.band, (int)row % WEFT_UNIT_ROWS, place.first_column + begin + (int)column,
                              place.factors == nullptr ? 1.0f : place.factors[begin + column], from[0],
                              product.gated ? from[WEFT_WIDE_ROWS / 2] : 0.0f);
        }
    };
    weft_wide_halves<ROWS, N>(memory, place.thread, warp, place.staged, sums, ask, finish);
}

/* The number of a thread, of which the compiler knows nothing before: it would compute much from it before the loop over tiles,
 * which takes registers from the products. */
static __device__ inline uint32_t weft_wide_thread() {
    uint32_t thread = threadIdx.x;
    weft_forget(thread);
    return thread;
}

/* With a warpgroup, as weft_finish_slice does it. Where a block computes all slices, the sums of those before are in memory. */
template <int ROWS, int N>
static __device__ inline void weft_wide_finish(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                               const weft_wide_tile &tile, int slice, weft_wide_warp &warp,
                                               const float (&sums)[N / 2]) {
    const weft_cuda_product &product = wide.product;
    if (ROWS == 128) weft_wide_release(memory.met + 2);
    weft_wide_place place;
    place.thread = weft_wide_thread();
    place.first_column = tile.first_column + warp.first_column;
    place.n_columns = (int)product.n_columns - place.first_column;
    place.adds = wide.in_turn && slice > 0;
    place.keeps = product.n_slices > 1 && (!wide.in_turn || slice + 1 < product.n_slices);
    place.staged = (float *)(memory.columns + warp.freed.stage * 2 * wide.tile_columns * WEFT_WIDE_PIECE_BYTES) +
                   place.thread / 128 * (N / 2 * WEFT_WIDE_ROWS);
    place.factors = product.has_norm ? memory.factors + warp.freed.stage * wide.tile_columns + warp.first_column : nullptr;
    if (!wide.in_fours)
        weft_wide_finish_values<ROWS, N>(wide, memory, tile, slice, warp, place, sums);
    else if (N > WEFT_WIDE_GATED || !product.gated || place.keeps)
        weft_wide_finish_sums<ROWS, N>(wide, memory, tile, slice, warp, place, sums);
    else if constexpr (N <= WEFT_WIDE_GATED)
        weft_wide_finish_gated<ROWS, N>(wide, memory, tile, warp, place, sums);
    weft_copies_follow();
    weft_wide_release_columns(wide, memory, warp);
}

#endif
#endif
