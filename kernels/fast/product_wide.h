/* Products with many columns by wgmma. A block takes tiles in turn. Two warpgroups multiply: where a tile has 128 rows, each has 64
 * of them; where it has 64, each has half the columns. Two warps of a third copy weights and columns into rings of stages. Each
 * warp of the first two has a band, makes A fragments of its units, and drains its sums after each unit.
 */
#ifndef WEFT_KERNELS_FAST_PRODUCT_WIDE_H
#define WEFT_KERNELS_FAST_PRODUCT_WIDE_H

#include "kernels/common.h"
#include "kernels/fast/finish.h"
#include "kernels/fast/fragments.h"
#include "kernels/fast/warpgroup.h"

#if WEFT_HAS_WARPGROUPS

#define WEFT_WIDE_COMPUTING 8 /* warps */
#define WEFT_UNIT_STAGES 4    /* stages of columns of a unit */

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
    float *scales, *staged;
    uint64_t *columns_full, *columns_empty, *weights_full, *weights_empty, *met;
};

static __device__ inline weft_wide_memory weft_wide_memory_of(const weft_cuda_wide &wide, uint8_t *shared_memory) {
    weft_wide_places places = weft_wide_places_of(&wide);
    weft_wide_memory memory;
    memory.columns = shared_memory;
    memory.weights = shared_memory + places.weights;
    memory.scales = (float *)(shared_memory + places.scales);
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

/* ---- Copies ---- */

static __device__ inline int weft_wide_units_before(const weft_cuda_product &product, int slice) {
    return weft_slice_begin(product.n_units, product.n_slices, slice);
}

/* With one lane. A stage is 64 values of a tile's columns; the scales of a unit come with its last. */
template <int ROWS>
static __device__ inline void weft_wide_copy_columns(const weft_cuda_wide &wide, const weft_wide_memory &memory) {
    const weft_cuda_product &product = wide.product;
    weft_ring ring = {0, 1};
    for (int item = (int)blockIdx.x; item < wide.n_items; item += (int)gridDim.x) {
        weft_wide_tile tile = weft_wide_tile_of<ROWS>(wide, item);
        int left = wide.padded_columns - tile.first_column, n = left < wide.tile_columns ? left : wide.tile_columns;
        int first = weft_wide_units_before(product, tile.first_slice), end = weft_wide_units_before(product, tile.end_slice);
        int64_t next = (int64_t)wide.padded_columns * WEFT_WIDE_STAGE_BYTES;
        const uint8_t *from =
            (const uint8_t *)product.halves + first * WEFT_UNIT_STAGES * next + (int64_t)tile.first_column * WEFT_WIDE_STAGE_BYTES;
        const float *scales = (const float *)product.scales + (int64_t)first * wide.padded_columns + tile.first_column;
        for (int i = 0; i < (end - first) * WEFT_UNIT_STAGES; i++, from += next) {
            bool is_last = i % WEFT_UNIT_STAGES == WEFT_UNIT_STAGES - 1;
            uint64_t *full = memory.columns_full + ring.stage;
            weft_barrier_wait(memory.columns_empty + ring.stage, ring.parity);
            weft_barrier_expect(full, (uint32_t)(n * (is_last ? WEFT_WIDE_STAGE_BYTES + 4 : WEFT_WIDE_STAGE_BYTES)));
            weft_barrier_copy(memory.columns + ring.stage * wide.tile_columns * WEFT_WIDE_STAGE_BYTES, from,
                              (uint32_t)(n * WEFT_WIDE_STAGE_BYTES), full);
            if (is_last) {
                weft_barrier_copy(memory.scales + ring.stage * wide.tile_columns, scales, (uint32_t)(n * 4), full);
                scales += wide.padded_columns;
            }
            ring.advance(wide.n_column_stages);
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

/* Adds a unit's sums, in the columns' own size, which are powers of two. A sum is 0 or at least 2^-48. So the multiplication is
 * exact where no scale is below 2^-78, and fused operations give the same bits. */
template <int N>
static __device__ inline void weft_wide_drain(const float (&c)[N / 2], const float (&scales)[N / 4], float (&sums)[N / 2]) {
    float smallest = scales[0];
#pragma unroll
    for (int i = 1; i < N / 4; i++) smallest = scales[i] < smallest ? scales[i] : smallest;
    if (smallest >= 0x1p-78f) {
#pragma unroll
        for (int i = 0; i < N / 2; i++) sums[i] = fmaf(c[i], scales[i / 4 * 2 + i % 2], sums[i]);
    } else {
#pragma unroll
        for (int i = 0; i < N / 2; i++) sums[i] = __fadd_rn(sums[i], __fmul_rn(c[i], scales[i / 4 * 2 + i % 2]));
    }
}

/* Adds `n_units` units. While the four products of a stage of columns are under way, the next four's fragments are made. Those of a
 * unit's first stage are made before the sums of the unit before are drained. */
template <int FORMAT, int N>
static __device__ inline void weft_wide_multiply(const weft_cuda_wide &wide, const weft_wide_memory &memory, weft_wide_warp &warp,
                                                 int n_units, float (&sums)[N / 2]) {
    float c[N / 2], scales[N / 4];
    uint32_t a[2][4][4];
    weft_fragments<FORMAT> fragments;
    const uint8_t *unit = nullptr;
    auto make = [&](int stage) {
        uint32_t two[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (i % 2 == 0) fragments.group(unit, stage * 2 + i / 2, two);
#pragma unroll
            for (int j = 0; j < 4; j++) a[stage % 2][i][j] = two[i % 2][j];
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
#pragma unroll
        for (int stage = 0; stage < WEFT_UNIT_STAGES; stage++) {
            weft_barrier_wait(memory.columns_full + warp.columns.stage, warp.columns.parity);
            int place = warp.columns.stage * wide.tile_columns + warp.first_column;
            uint64_t columns = weft_columns_at(memory.columns + place * WEFT_WIDE_STAGE_BYTES);
            weft_products_begin();
            if (stage == 0)
                weft_multiply_columns<N, false>(c, a[0][0], columns);
            else
                weft_multiply_columns<N, true>(c, a[stage % 2][0], columns);
#pragma unroll
            for (int step = 1; step < 4; step++)
                weft_multiply_columns<N, true>(c, a[stage % 2][step], weft_columns_step(columns, step));
            weft_products_commit();
            if (stage < WEFT_UNIT_STAGES - 1) {
                weft_products_wait<1>();
                if (stage > 0) weft_wide_release_columns(wide, memory, warp);
                warp.columns.advance(wide.n_column_stages);
                make(stage + 1);
            }
        }
        weft_wide_release(memory.weights_empty + warp.weights.stage);
        warp.weights.advance(wide.n_weight_stages);
        weft_products_wait<1>();
        weft_wide_release_columns(wide, memory, warp);
        if (i + 1 < n_units) begin_unit();
        const float *from = memory.scales + warp.columns.stage * wide.tile_columns + warp.first_column + weft_lane() % 4 * 2;
#pragma unroll
        for (int j = 0; j < N / 4; j += 2) {
            const uint2 bits = *(const uint2 *)(from + j * 4);
            scales[j] = weft_bits_to_real((int32_t)bits.x);
            scales[j + 1] = weft_bits_to_real((int32_t)bits.y);
        }
        weft_products_wait<0>();
        weft_wide_release_columns(wide, memory, warp);
        warp.columns.advance(wide.n_column_stages);
        weft_wide_drain<N>(c, scales, sums);
    }
}

template <int N>
static __device__ inline void weft_wide_slice(const weft_cuda_wide &wide, const weft_wide_memory &memory, int format,
                                              weft_wide_warp &warp, int n_units, float (&sums)[N / 2]) {
    switch (format) {
    case WEFT_UNIT_NIBBLES:
        weft_wide_multiply<WEFT_UNIT_NIBBLES, N>(wide, memory, warp, n_units, sums);
        break;
    case WEFT_UNIT_Q4_K:
        weft_wide_multiply<WEFT_UNIT_Q4_K, N>(wide, memory, warp, n_units, sums);
        break;
    case WEFT_UNIT_Q6_K:
        weft_wide_multiply<WEFT_UNIT_Q6_K, N>(wide, memory, warp, n_units, sums);
        break;
    case WEFT_UNIT_Q8_0:
        weft_wide_multiply<WEFT_UNIT_Q8_0, N>(wide, memory, warp, n_units, sums);
        break;
    default:
        weft_wide_multiply<WEFT_UNIT_F16, N>(wide, memory, warp, n_units, sums);
        break;
    }
}

/* ---- Results ---- */

/* A thread's row of a tile, or of the gate's and that of `up`. */
struct weft_wide_row {
    bool present, has_bias;
    int place;        /* among those of the warpgroup */
    int column, step; /* its first column, and how far it is to the next */
    float power, up_power, bias;
    const float *residual;     /* or null */
    float *y, *kept, *kept_up; /* of column 0; `kept`: sums of slices */
    int64_t n, n_kept;         /* from one column to the next */
};

static __device__ inline weft_wide_row weft_wide_row_of(const weft_cuda_wide &wide, const weft_wide_tile &tile, int slice,
                                                        int first_band) {
    const weft_cuda_product &product = wide.product;
    int thread = (int)threadIdx.x % 128, rows = product.gated ? 32 : 64;
    weft_wide_row row;
    row.place = thread % rows;
    row.column = product.gated ? thread / 32 : thread / 64;
    row.step = 128 / rows;
    weft_band at = weft_wide_band(product, tile, first_band + row.place / WEFT_UNIT_ROWS);
    const weft_cuda_matrix &matrix = product.matrices[at.matrix], &up = product.matrices[1];
    int64_t own = (int64_t)at.band * WEFT_UNIT_ROWS + row.place % WEFT_UNIT_ROWS;
    row.present = own < matrix.n;
    row.power = row.present ? ((const float *)matrix.powers)[own] : 0.0f;
    row.up_power = row.present && product.gated ? ((const float *)up.powers)[own] : 0.0f;
    row.has_bias = matrix.bias != 0;
    row.bias = row.present && row.has_bias ? ((const float *)matrix.bias)[own] : 0.0f;
    row.residual = product.residual != 0 ? (const float *)product.residual + own : nullptr;
    row.y = (float *)matrix.y + own;
    row.n = matrix.n;
    for (int i = 0; i < at.matrix; i++) at.band += product.matrices[i].n_bands;
    row.kept = weft_slice_sum(product, wide.in_turn ? 0 : slice, 0, at.band, row.place % WEFT_UNIT_ROWS);
    row.kept_up = row.kept + product.n_bands * WEFT_UNIT_ROWS;
    row.n_kept = weft_slice_rows(product);
    return row;
}

/* As weft_finish_slice does it, for BATCH columns from `first` on, whose loads are under way together. Where a block computes all
 * slices, the sums of those before are in memory. */
template <bool GATED, int BATCH>
static __device__ inline void weft_wide_store(const weft_cuda_wide &wide, const weft_wide_row &row, int slice, int first,
                                              const float *staged) {
    const weft_cuda_product &product = wide.product;
    float sums[BATCH], ups[BATCH];
    bool present[BATCH], adds = wide.in_turn && slice > 0, is_last = wide.in_turn && slice + 1 == product.n_slices;
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
        int column = first + i * row.step;
        present[i] = row.present && column < (int)product.n_columns;
        float factor = present[i] && product.has_norm ? ((const float *)wide.factors)[column] : 1.0f;
        const float *from = staged + i * row.step * WEFT_WIDE_STAGED;
        sums[i] = __fmul_rn(__fmul_rn(from[0], row.power), factor);
        ups[i] = GATED ? __fmul_rn(__fmul_rn(from[32], row.up_power), factor) : 0.0f;
    }
    if (adds) {
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int64_t at = (first + i * row.step) * row.n_kept;
            if (present[i]) sums[i] = __fadd_rn(row.kept[at], sums[i]);
            if (present[i] && GATED) ups[i] = __fadd_rn(row.kept_up[at], ups[i]);
        }
    }
    if (!is_last && product.n_slices > 1) {
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int64_t at = (first + i * row.step) * row.n_kept;
            if (present[i]) row.kept[at] = sums[i];
            if (present[i] && GATED) row.kept_up[at] = ups[i];
        }
        return;
    }
    float others[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; i++)
        others[i] = present[i] && row.residual != nullptr ? row.residual[(first + i * row.step) * row.n] : 0.0f;
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
        if (GATED) sums[i] = weft_gate(sums[i], ups[i], product.activation);
        if (row.has_bias) sums[i] = __fadd_rn(sums[i], row.bias);
        if (row.residual != nullptr) sums[i] = __fadd_rn(sums[i], others[i]);
        if (present[i]) row.y[(first + i * row.step) * row.n] = sums[i];
    }
}

static __device__ inline void weft_wide_meet(const weft_wide_memory &memory, weft_wide_warp &warp) {
    int group = (int)threadIdx.x / 128;
    weft_wide_release(memory.met + group);
    weft_barrier_wait(memory.met + group, warp.meetings);
    warp.meetings ^= 1;
}

/* With a warpgroup. Sums go through shared memory, [column][row], some columns at a time, so that neighbouring threads store
 * neighbouring rows. `sums` is lost. */
template <int N>
static __device__ inline void weft_wide_finish(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                               const weft_wide_tile &tile, int slice, weft_wide_warp &warp, float (&sums)[N / 2]) {
    const int columns = N < WEFT_WIDE_FINISHED ? N : WEFT_WIDE_FINISHED;
    int warp_of_group = (int)threadIdx.x / WEFT_LANES % 4, lane = weft_lane();
    float *staged = memory.staged + (int)threadIdx.x / 128 * WEFT_WIDE_FINISHED * WEFT_WIDE_STAGED;
    float *to = staged + lane % 4 * 2 * WEFT_WIDE_STAGED + warp_of_group * WEFT_UNIT_ROWS + lane / 4;
    weft_wide_row row = weft_wide_row_of(wide, tile, slice, warp.band / 4 * 4);
    const float *from = staged + row.column * WEFT_WIDE_STAGED + row.place;
    int column = tile.first_column + warp.first_column + row.column;
#pragma unroll 1 /* code that is not in the cache yet costs more than moving registers */
    for (int first = 0; first < N; first += columns) {
#pragma unroll
        for (int i = 0; i < columns / 2; i++) to[(i / 4 * 8 + i % 2) * WEFT_WIDE_STAGED + i % 4 / 2 * 8] = sums[i];
#pragma unroll
        for (int i = columns / 2; i < N / 2; i++) sums[i - columns / 2] = sums[i];
        weft_wide_meet(memory, warp);
        if (wide.product.gated) {
#pragma unroll 1
            for (int i = 0; i < columns; i += 16)
                weft_wide_store<true, 4>(wide, row, slice, column + first + i, from + i * WEFT_WIDE_STAGED);
        } else {
#pragma unroll 1
            for (int i = 0; i < columns; i += 16)
                weft_wide_store<false, 8>(wide, row, slice, column + first + i, from + i * WEFT_WIDE_STAGED);
        }
        weft_wide_meet(memory, warp);
    }
}

/* ---- Tiles ---- */

template <int N>
static __device__ inline void weft_wide_compute(const weft_cuda_wide &wide, const weft_wide_memory &memory,
                                                const weft_wide_tile &tile, weft_wide_warp &warp) {
    for (int slice = tile.first_slice; slice < tile.end_slice; slice++) {
        int n_units = weft_wide_units_before(wide.product, slice + 1) - weft_wide_units_before(wide.product, slice);
        float sums[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++) sums[i] = 0.0f;
        weft_wide_slice<N>(wide, memory, wide.product.matrices[tile.matrix].format, warp, n_units, sums);
        weft_wide_finish<N>(wide, memory, tile, slice, warp, sums);
    }
}

/* N: columns of a warpgroup. */
template <int ROWS, int N> static __device__ inline void weft_product_wide(const weft_cuda_wide &wide, uint8_t *shared_memory) {
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
        for (int i = 0; i < 2; i++) weft_barrier_begin(memory.met + i, WEFT_WIDE_COMPUTING / 2);
        weft_barriers_begun();
    }
    __syncthreads();
    if (warp >= WEFT_WIDE_COMPUTING) {
        weft_give_registers<40>();
        if (warp == WEFT_WIDE_COMPUTING && weft_lane() == 0) weft_wide_copy_columns<ROWS>(wide, memory);
        if (warp == WEFT_WIDE_COMPUTING + 1) weft_wide_copy_weights<ROWS>(wide, memory);
    } else {
        weft_take_registers<232>();
        int group = warp / 4;
        weft_wide_warp own = {{0, 0}, {0, 0}, {0, 0}, ROWS == 64 ? warp % 4 : warp, ROWS == 64 ? group * N : 0, 0};
        for (int item = (int)blockIdx.x; item < wide.n_items; item += (int)gridDim.x)
            weft_wide_compute<N>(wide, memory, weft_wide_tile_of<ROWS>(wide, item), own);
    }
}

#endif
#endif
