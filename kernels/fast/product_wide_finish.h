/* Tiles of products with many columns by wgmma, and what becomes of their sums. kernels/fast/product_wide.h says who computes them.
 */
#ifndef WEFT_KERNELS_FAST_PRODUCT_WIDE_FINISH_H
#define WEFT_KERNELS_FAST_PRODUCT_WIDE_FINISH_H

#include "kernels/common.h"
#include "kernels/fast/finish.h"
#include "kernels/fast/usual.h"
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
    float *scales, *factors, *staged;
    uint64_t *columns_full, *columns_empty, *weights_full, *weights_empty, *met;
};

static __device__ inline weft_wide_memory weft_wide_memory_of(const weft_cuda_wide &wide, uint8_t *shared_memory) {
    weft_wide_places places = weft_wide_places_of(&wide);
    weft_wide_memory memory;
    memory.columns = shared_memory;
    memory.weights = shared_memory + places.weights;
    memory.scales = (float *)(shared_memory + places.scales);
    memory.factors = memory.scales + wide.n_column_stages * wide.tile_columns;
    memory.staged = (float *)(shared_memory + places.staged);
    memory.columns_full = (uint64_t *)(shared_memory + places.barriers);
    memory.columns_empty = memory.columns_full + wide.n_column_stages;
    memory.weights_full = memory.columns_empty + wide.n_column_stages;
    memory.weights_empty = memory.weights_full + wide.n_weight_stages;
    memory.met = memory.weights_empty + wide.n_weight_stages; /* one for each warpgroup */
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
    uint32_t meetings;
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
 * Code that runs once a tile waits for its instructions. So sums are finished in loops, some of a lane's at a time, and its other
 * sums move up.
 */

/* What a lane has of a tile: rows `lane / 4` and 8 more of its warp's band, and two of each 8 columns. Sums 4 i to 4 i + 3 are of
 * columns 8 i and on: of both columns of the first row, then of the second row. */
struct weft_wide_lane {
    bool rows[2]; /* whether there are such rows */
    int column, n_columns;

    __device__ inline bool has(int i) const { return rows[i / 2 % 2] && column + i / 4 * 8 + i % 2 < n_columns; }
};

/* As many sums as can be taken at a time: `most`, or half of it ... */
static __device__ constexpr int weft_wide_part(int all, int most) {
    return all % most == 0 ? most : weft_wide_part(all, most / 2);
}

/* Moves up `COUNT` of the sums FIRST and on, and the first ones to the end. */
template <int FIRST, int LENGTH, int COUNT, int ALL> static __device__ inline void weft_wide_rotate(float (&sums)[ALL]) {
    float first[COUNT];
#pragma unroll
    for (int i = 0; i < COUNT; i++) first[i] = sums[FIRST + i];
#pragma unroll
    for (int i = 0; i + COUNT < LENGTH; i++) sums[FIRST + i] = sums[FIRST + i + COUNT];
#pragma unroll
    for (int i = 0; i < COUNT; i++) sums[FIRST + LENGTH - COUNT + i] = first[i];
}

/* A lane's first COUNT values. `stride`: from one column to the next. */
template <int COUNT>
static __device__ inline void weft_wide_load(const weft_wide_lane &lane, const float *from, int64_t stride,
                                             float (&values)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        if (i > 0 && i % 4 == 0) from += 8 * stride;
        values[i] = lane.has(i) ? from[i % 2 * stride + i / 2 % 2 * 8] : 0.0f;
    }
}

template <int COUNT, int ALL>
static __device__ inline void weft_wide_store(const weft_wide_lane &lane, float *to, int64_t stride, const float (&values)[ALL]) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        if (i > 0 && i % 4 == 0) to += 8 * stride;
        if (lane.has(i)) to[i % 2 * stride + i / 2 % 2 * 8] = values[i];
    }
}

/* Multiplies a slice's sums with the powers of their rows and the norm's `factors`, if any. Adds what `kept` has, if `adds`, and
 * stores the result there, if `keeps`. */
template <int N>
static __device__ inline void weft_wide_size(const weft_cuda_wide &wide, weft_wide_lane lane, const float *factors,
                                             const float (&powers)[2], float *kept, bool adds, bool keeps, float (&sums)[N / 2]) {
    const int count = weft_wide_part(N / 2, WEFT_WIDE_FINISHED);
    const int64_t stride = weft_slice_rows(wide.product);
#pragma unroll 1
    for (int done = 0; done < N / 2; done += count) {
        uint2 pairs[count / 4];
        float before[count];
#pragma unroll
        for (int i = 0; i < count / 4; i++)
            pairs[i] = wide.product.has_norm ? *(const uint2 *)(factors + 8 * i) : uint2{0x3f800000, 0x3f800000};
        if (adds) weft_wide_load<count>(lane, kept, stride, before);
#pragma unroll
        for (int i = 0; i < count; i++) {
            uint32_t factor = i % 2 == 0 ? pairs[i / 4].x : pairs[i / 4].y;
            sums[i] = weft_sized(sums[i], powers[i / 2 % 2], weft_bits_to_real((int32_t)factor));
            if (adds) sums[i] = __fadd_rn(before[i], sums[i]);
        }
        if (keeps) weft_wide_store<count>(lane, kept, stride, sums);
        weft_wide_rotate<0, N / 2, count>(sums);
        lane.column += count * 2;
        factors += count * 2;
        kept += count * 2 * stride;
    }
}

/* Where a lane's results go. */
struct weft_wide_results {
    const float *residual; /* or null */
    float *y;
    int64_t n;
    bool has_bias;
    float biases[2];

    __device__ inline void advance(int columns) {
        y += columns * n;
        if (residual != nullptr) residual += columns * n;
    }
};

/* Stores the first COUNT sums. */
template <int COUNT, int ALL>
static __device__ inline void weft_wide_put(const weft_wide_lane &lane, const weft_wide_results &to, float (&sums)[ALL]) {
    float others[COUNT];
    if (to.residual != nullptr) weft_wide_load<COUNT>(lane, to.residual, to.n, others);
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        if (to.has_bias) sums[i] = __fadd_rn(sums[i], to.biases[i / 2 % 2]);
        if (to.residual != nullptr) sums[i] = __fadd_rn(sums[i], others[i]);
    }
    weft_wide_store<COUNT>(lane, to.y, to.n, sums);
}

template <int N> static __device__ inline void weft_wide_put_all(weft_wide_lane lane, weft_wide_results to, float (&sums)[N / 2]) {
    const int count = weft_wide_part(N / 2, WEFT_WIDE_FINISHED);
#pragma unroll 1
    for (int done = 0; done < N / 2; done += count) {
        weft_wide_put<count>(lane, to, sums);
        weft_wide_rotate<0, N / 2, count>(sums);
        lane.column += count * 2;
        to.advance(count * 2);
    }
}

static __device__ inline void weft_wide_meet(const weft_wide_memory &memory, weft_wide_warp &warp) {
    int group = (int)threadIdx.x / 128;
    weft_wide_release(memory.met + group);
    weft_barrier_wait(memory.met + group, warp.meetings);
    warp.meetings ^= 1;
}

/* The same as weft_gate, for several pairs together: none waits for the one before. */
template <int COUNT>
static __device__ inline void weft_wide_gate(int activation, const float (&gates)[COUNT], const float (&ups)[COUNT],
                                             float (&results)[COUNT]) {
    bool is_usual = activation == WEFT_ACTIVATION_SILU;
#pragma unroll
    for (int i = 0; i < COUNT; i++) is_usual &= weft_is_usual(gates[i]) && weft_has_usual_exp(gates[i]);
    if (is_usual) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            weft_divisor divisor = weft_divisor_of(1.0f + weft_usual_exp(0.0f - gates[i]));
            results[i] = __fmul_rn(weft_divide_by(gates[i], divisor), ups[i]);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) results[i] = weft_gate(gates[i], ups[i], activation);
}

/* Of a warpgroup, two warps have sums of the gate and two the same of `up`. One lane of each finishes half of their columns: they
 * exchange the others through shared memory, some at a time, whose two halves are used in turn. */
template <int N>
static __device__ inline void weft_wide_put_gated(const weft_cuda_wide &wide, const weft_wide_memory &memory, weft_wide_lane lane,
                                                  weft_wide_results to, weft_wide_warp &warp, float (&sums)[N / 2]) {
    const int half = N / 4, count = weft_wide_part(half, WEFT_WIDE_EXCHANGED);
    int thread = (int)threadIdx.x % 128;
    bool is_up = thread >= 64;
    weft_four *staged = (weft_four *)memory.staged + (int)threadIdx.x / 128 * (WEFT_WIDE_EXCHANGED / 2) * 128;
    if (is_up) {
        lane.column += N / 2;
        to.advance(N / 2);
    }
#pragma unroll 1
    for (int done = 0; done < half; done += count) {
        weft_four *own = staged + warp.meetings * (WEFT_WIDE_EXCHANGED / 4) * 128;
        float gates[count], ups[count], results[count];
#pragma unroll
        for (int i = 0; i < count; i += 4) {
            weft_four given;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                gates[i + j] = sums[i + j];
                ups[i + j] = sums[half + i + j];
                given.values[j] = is_up ? gates[i + j] : ups[i + j];
            }
            own[i / 4 * 128 + thread] = given;
        }
        weft_wide_meet(memory, warp);
#pragma unroll
        for (int i = 0; i < count; i += 4) {
            const weft_four other = own[i / 4 * 128 + (thread ^ 64)];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                gates[i + j] = is_up ? other.values[j] : gates[i + j];
                ups[i + j] = is_up ? ups[i + j] : other.values[j];
            }
        }
        weft_wide_gate<count>(wide.product.activation, gates, ups, results);
        weft_wide_put<count>(lane, to, results);
        weft_wide_rotate<0, half, count>(sums);
        weft_wide_rotate<half, half, count>(sums);
        lane.column += count * 2;
        to.advance(count * 2);
    }
}

/* With a warpgroup, as weft_finish_slice does it. Where a block computes all slices, the sums of those before are in memory. `sums`
 * is lost. */
template <int N>
static __device__ inline void weft_wide_finish(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                               const weft_wide_tile &tile, int slice, weft_wide_warp &warp, float (&sums)[N / 2]) {
    const weft_cuda_product &product = wide.product;
    weft_band at = weft_wide_band(product, tile, warp.band);
    const weft_cuda_matrix &own = product.matrices[at.matrix], &of_results = product.matrices[product.gated ? 0 : at.matrix];
    int64_t row = (int64_t)at.band * WEFT_UNIT_ROWS + weft_lane() / 4;
    weft_wide_lane lane = {
        {row < own.n, row + 8 < own.n}, tile.first_column + warp.first_column + weft_lane() % 4 * 2, (int)product.n_columns};
    weft_wide_results to = {nullptr, (float *)of_results.y + lane.column * own.n + row, own.n, of_results.bias != 0, {}};
    if (product.residual != 0) to.residual = (const float *)product.residual + lane.column * own.n + row;
    float powers[2];
    for (int i = 0; i < 2; i++) {
        powers[i] = lane.rows[i] ? ((const float *)own.powers)[row + i * 8] : 0.0f;
        to.biases[i] = to.has_bias && lane.rows[i] ? ((const float *)of_results.bias)[row + i * 8] : 0.0f;
    }
    for (int i = 0; i < at.matrix; i++) at.band += product.matrices[i].n_bands;
    float *kept = weft_slice_sum(product, wide.in_turn ? 0 : slice, lane.column, at.band, weft_lane() / 4);
    bool adds = wide.in_turn && slice > 0, keeps = product.n_slices > 1 && (!wide.in_turn || slice + 1 < product.n_slices);
    const float *factors =
        memory.factors + warp.freed.stage * wide.tile_columns + warp.first_column + weft_lane() % 4 * 2; /* of the last stage */
    weft_wide_size<N>(wide, lane, factors, powers, kept, adds, keeps, sums);
    weft_wide_release_columns(wide, memory, warp);
    if (keeps) return;
    if constexpr (N <= WEFT_WIDE_GATED) {
        if (product.gated) {
            weft_wide_put_gated<N>(wide, memory, lane, to, warp, sums);
            return;
        }
    }
    weft_wide_put_all<N>(lane, to, sums);
}

#endif
#endif
