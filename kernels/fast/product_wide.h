/* Products with many columns by wgmma. A block takes tiles in turn. Two warpgroups multiply: where a tile has 128 rows, each has 64
 * of them; where it has 64, each has half the columns. Two warps of a third copy weights and columns into rings of stages. Each
 * warp of the first two has a band, makes A fragments of its units, and drains its sums after each unit.
 */
#ifndef WEFT_KERNELS_FAST_PRODUCT_WIDE_H
#define WEFT_KERNELS_FAST_PRODUCT_WIDE_H

#include "kernels/common.h"
#include "kernels/fast/fragments.h"
#include "kernels/fast/product_wide_finish.h"

#if WEFT_HAS_WARPGROUPS

/* ---- Copies ---- */

static __device__ inline int weft_wide_units_before(const weft_cuda_product &product, int slice) {
    return weft_slice_begin(product.n_units, product.n_slices, slice);
}

/* With one lane. A stage is twice 64 values of a tile's columns; the scales of a unit come with its last, the norm's factors with
 * the last of a slice. */
template <int ROWS>
static __device__ inline void weft_wide_copy_columns(const weft_cuda_wide &wide, const weft_wide_memory &memory) {
    const weft_cuda_product &product = wide.product;
    const int64_t next = (int64_t)wide.padded_columns * WEFT_WIDE_PIECE_BYTES;
    const int piece = wide.tile_columns * WEFT_WIDE_PIECE_BYTES;
    weft_ring ring = {0, 1};
    for (int item = (int)blockIdx.x; item < wide.n_items; item += (int)gridDim.x) {
        weft_wide_tile tile = weft_wide_tile_of<ROWS>(wide, item);
        int left = wide.padded_columns - tile.first_column, n = left < wide.tile_columns ? left : wide.tile_columns;
        int slice = tile.first_slice, first = weft_wide_units_before(product, slice),
            end = weft_wide_units_before(product, tile.end_slice), end_of_slice = weft_wide_units_before(product, slice + 1);
        const uint8_t *from =
            (const uint8_t *)product.halves + first * WEFT_UNIT_PIECES * next + (int64_t)tile.first_column * WEFT_WIDE_PIECE_BYTES;
        const float *scales = (const float *)product.scales + (int64_t)first * wide.padded_columns + tile.first_column;
        for (int unit = first; unit < end; unit++, scales += wide.padded_columns) {
            bool has_factors = product.has_norm && unit + 1 == end_of_slice;
            for (int i = 0; i < WEFT_UNIT_PIECES; i += 2, from += 2 * next) {
                bool is_last = i == WEFT_UNIT_PIECES - 2;
                uint64_t *full = memory.columns_full + ring.stage;
                uint32_t bytes = (uint32_t)(n * WEFT_WIDE_PIECE_BYTES);
                uint8_t *to = memory.columns + ring.stage * 2 * piece;
                weft_barrier_wait(memory.columns_empty + ring.stage, ring.parity);
                weft_barrier_expect(full, 2 * bytes + (is_last ? (uint32_t)n * (has_factors ? 8 : 4) : 0));
                weft_barrier_copy(to, from, bytes, full);
                weft_barrier_copy(to + piece, from + next, bytes, full);
                if (is_last) weft_barrier_copy(memory.scales + ring.stage * wide.tile_columns, scales, (uint32_t)(n * 4), full);
                if (is_last && has_factors)
                    weft_barrier_copy(memory.factors + ring.stage * wide.tile_columns,
                                      (const float *)wide.factors + tile.first_column, (uint32_t)(n * 4), full);
                ring.advance(wide.n_column_stages);
            }
            if (unit + 1 == end_of_slice) end_of_slice = weft_wide_units_before(product, ++slice + 1);
        }
    }
}

/* With a warp, whose lanes copy one band each. A stage is a unit of each band. Bands past the last repeat it. */
template <int ROWS>
static __device__ inline void weft_wide_copy_weights(const weft_cuda_wide &wide, const weft_wide_memory &memory) {
    const weft_cuda_product &product = wide.product;
    const int bands = weft_wide_shape<ROWS>::bands;
    weft_ring ring = {0, 1};
    for (int item = (int)blockIdx.x; item < wide.n_items; item += (int)gridDim.x) {
        weft_wide_tile tile = weft_wide_tile_of<ROWS>(wide, item);
        weft_band at = weft_wide_band(product, tile, weft_lane() % bands);
        const weft_cuda_matrix &matrix = product.matrices[at.matrix];
        uint32_t bytes = (uint32_t)weft_unit_bytes(matrix.format);
        int band = at.band < matrix.n_bands ? at.band : matrix.n_bands - 1;
        int first = weft_wide_units_before(product, tile.first_slice), end = weft_wide_units_before(product, tile.end_slice);
        const uint8_t *from = (const uint8_t *)matrix.units + ((int64_t)band * product.n_units + first) * bytes;
        uint8_t *to = memory.weights + weft_lane() % bands * bytes;
        for (int i = first; i < end; i++, from += bytes) {
            weft_barrier_wait(memory.weights_empty + ring.stage, ring.parity);
            if (weft_lane() == 0) weft_barrier_expect(memory.weights_full + ring.stage, bands * bytes);
            __syncwarp();
            if (weft_lane() < bands)
                weft_barrier_copy(to + ring.stage * wide.weight_stage_bytes, from, bytes, memory.weights_full + ring.stage);
            ring.advance(wide.n_weight_stages);
        }
    }
}

/* ---- Sums ---- */

/* Whether any of a warpgroup's N columns has a scale with which a sum may not be exact any more: a sum is 0 or at least 2^-48. */
template <int N> static __device__ inline bool weft_wide_has_small(const float *scales) {
    bool is_small = false;
#pragma unroll
    for (int i = 0; i < N; i += WEFT_LANES) is_small |= scales[(i + weft_lane()) % N] < 0x1p-78f;
    return __any_sync(WEFT_ALL_LANES, is_small);
}

/* Adds a unit's sums, in the columns' own size, which are powers of two. Where the multiplications are exact, fused operations give
 * the same bits. `scales` are in shared memory: a few at a time, since a lane has no registers for all. */
template <int N, bool HAS_SMALL>
static __device__ inline void weft_wide_drain(const float (&c)[N / 2], const float *scales, float (&sums)[N / 2]) {
#pragma unroll
    for (int i = 0; i < N / 2; i += 4) {
        const uint2 bits = *(const uint2 *)(scales + i * 2);
        const float own[2] = {weft_bits_to_real((int32_t)bits.x), weft_bits_to_real((int32_t)bits.y)};
#pragma unroll
        for (int j = i; j < i + 4; j++)
            sums[j] = HAS_SMALL ? __fadd_rn(sums[j], __fmul_rn(c[j], own[j % 2])) : fmaf(c[j], own[j % 2], sums[j]);
    }
}

/* Adds `n_units` units. While the four products of a piece of columns are under way, the next four's fragments are made. Those of a
 * unit's first piece are made before the sums of the unit before are drained. The last stage of columns is not given back. */
template <int FORMAT, int N>
static __device__ inline void weft_wide_multiply(const weft_cuda_wide &wide, const weft_wide_memory &memory, weft_wide_warp &warp,
                                                 int n_units, float (&sums)[N / 2]) {
    float c[N / 2];
    uint32_t a[2][4][4];
    weft_fragments<FORMAT> fragments;
    const uint8_t *unit = nullptr;
    auto make = [&](int piece) {
        uint32_t two[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (i % 2 == 0) fragments.group(unit, piece * 2 + i / 2, two);
#pragma unroll
            for (int j = 0; j < 4; j++) a[piece % 2][i][j] = two[i % 2][j];
        }
    };
    auto begin_unit = [&]() {
        weft_barrier_wait(memory.weights_full + warp.weights.stage, warp.weights.parity);
        unit = memory.weights + warp.weights.stage * wide.weight_stage_bytes + warp.band * weft_unit_bytes(FORMAT);
        fragments.begin(unit);
        make(0);
    };
    begin_unit();
    for (int i = 0; i < n_units; i++) {
        weft_columns columns = 0;
#pragma unroll
        for (int piece = 0; piece < WEFT_UNIT_PIECES; piece++) {
            if (piece % 2 == 0) {
                weft_barrier_wait(memory.columns_full + warp.columns.stage, warp.columns.parity);
                int place = warp.columns.stage * 2 * wide.tile_columns + warp.first_column;
                columns = weft_columns_at(memory.columns + place * WEFT_WIDE_PIECE_BYTES);
            } else {
                columns = weft_columns_after(columns, wide.tile_columns * WEFT_WIDE_PIECE_BYTES);
            }
            weft_products_begin();
            if (piece == 0)
                weft_multiply_columns<N, false>(c, a[0][0], columns);
            else
                weft_multiply_columns<N, true>(c, a[piece % 2][0], columns);
#pragma unroll
            for (int step = 1; step < 4; step++)
                weft_multiply_columns<N, true>(c, a[piece % 2][step], weft_columns_after(columns, step * 256));
            weft_products_commit();
            if (piece < WEFT_UNIT_PIECES - 1) {
                weft_products_wait<1>();
                if (piece == 2) weft_wide_release_columns(wide, memory, warp);
                if (piece == 1) warp.columns.advance(wide.n_column_stages);
                make(piece + 1);
            }
        }
        weft_wide_release(memory.weights_empty + warp.weights.stage);
        warp.weights.advance(wide.n_weight_stages);
        weft_products_wait<1>();
        if (i + 1 < n_units) begin_unit();
        const float *scales = memory.scales + warp.columns.stage * wide.tile_columns + warp.first_column;
        bool has_small = weft_wide_has_small<N>(scales);
        weft_products_wait<0>();
        if (has_small)
            weft_wide_drain<N, true>(c, scales + weft_lane() % 4 * 2, sums);
        else
            weft_wide_drain<N, false>(c, scales + weft_lane() % 4 * 2, sums);
        if (i + 1 < n_units) weft_wide_release_columns(wide, memory, warp);
        warp.columns.advance(wide.n_column_stages);
    }
}

template <int N>
static __device__ inline void weft_wide_slice(const weft_cuda_wide &wide, const weft_wide_memory &memory, int format,
                                              weft_wide_warp &warp, int n_units, float (&sums)[N / 2]) {
    weft_with_format(format, [&](auto known) { weft_wide_multiply<decltype(known)::value, N>(wide, memory, warp, n_units, sums); });
}

/* ---- Tiles ---- */

template <int ROWS, int N>
static __device__ inline void weft_wide_compute(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                                const weft_wide_tile &tile, weft_wide_warp &warp) {
    for (int slice = tile.first_slice; slice < tile.end_slice; slice++) {
        int n_units = weft_wide_units_before(wide.product, slice + 1) - weft_wide_units_before(wide.product, slice);
        float sums[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++) sums[i] = 0.0f;
        weft_wide_slice<N>(wide, memory, wide.product.matrices[tile.matrix].format, warp, n_units, sums);
        weft_wide_finish<ROWS, N>(wide, memory, tile, slice, warp, sums);
    }
}

/* N: columns of a warpgroup. `BLOCKS` share a multiprocessor. Weights are asked for before the kernel before has ended. */
template <int ROWS, int N, int BLOCKS>
static __device__ inline void weft_product_wide(const weft_cuda_wide &wide, uint8_t *shared_memory) {
    weft_wide_memory memory = weft_wide_memory_of(wide, shared_memory);
    int warp = (int)threadIdx.x / WEFT_LANES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < wide.n_column_stages; i++) {
            weft_barrier_begin(memory.columns_full + i, 1);
            weft_barrier_begin(memory.columns_empty + i, WEFT_WIDE_COMPUTING);
        }
        for (int i = 0; i < wide.n_weight_stages; i++) {
            weft_barrier_begin(memory.weights_full + i, 1);
            weft_barrier_begin(memory.weights_empty + i, WEFT_WIDE_COMPUTING);
        }
        for (int i = 0; i < 3; i++) weft_barrier_begin(memory.met + i, i < 2 ? WEFT_WIDE_COMPUTING / 2 : WEFT_WIDE_COMPUTING);
        weft_barriers_begun();
    }
    __syncthreads();
    bool copies_weights = warp == WEFT_WIDE_COMPUTING + 1 && !weft_will_be_cancelled(wide.product);
    if (!copies_weights && weft_cancelled(wide.product)) return;
    if (warp >= WEFT_WIDE_COMPUTING) {
        weft_give_registers<BLOCKS == 1 ? 40 : 32>();
        if (warp == WEFT_WIDE_COMPUTING && weft_lane() == 0) weft_wide_copy_columns<ROWS>(wide, memory);
        if (copies_weights) weft_wide_copy_weights<ROWS>(wide, memory);
    } else {
        weft_take_registers<BLOCKS == 1 ? 232 : 104>();
        int group = warp / 4;
        weft_wide_warp own = {{0, 0}, {0, 0}, {0, 0}, ROWS == 64 ? warp % 4 : warp, ROWS == 64 ? group * N : 0, 0};
        for (int item = (int)blockIdx.x; item < wide.n_items; item += (int)gridDim.x)
            weft_wide_compute<ROWS, N>(wide, memory, weft_wide_tile_of<ROWS>(wide, item), own);
    }
}

#endif
#endif
