/* Products with few columns: up to 8 a block, which has some bands at a time. Each warp has one or two units of a band, which it
 * copies into slots of its own well before it needs them. A block prepares its columns itself. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_FEW_H
#define WEFT_KERNELS_FAST_PRODUCT_FEW_H

#include "kernels/fast/columns.h"
#include "kernels/fast/copy_async.h"
#include "kernels/fast/finish.h"
#include "kernels/fast/fragments.h"

/* What stays the same for a warp. */
struct weft_few {
    weft_few_places places;
    uint8_t *memory;                                  /* shared */
    int slice, first_unit, n_units;                   /* of the slice */
    int n_columns, first_column, column_bytes, units; /* `units`: of the longest slice */
    int warp, n_warps, n_own, own_band, own_unit;     /* units of a warp in a band; its first */
    uint32_t parities;                                /* of the slots' barriers */
};

/* A unit that a warp multiplies: item `i` of a round. */
struct weft_few_item {
    int matrix, band, unit; /* `band`: among those of the round */
    bool present;
};

static __device__ inline weft_few_item weft_few_item_of(const weft_cuda_product &product, const weft_few &few, int round, int i) {
    weft_few_item item;
    item.matrix = i >= few.n_own ? 1 : 0;
    item.band = few.own_band;
    item.unit = few.own_unit + (i & (few.n_own - 1)) * few.n_warps;
    item.present = item.unit < few.n_units && round + item.band < product.n_bands;
    return item;
}

/* Begins the copy of an item of the round whose first band is `round`, into slot `slot`. */
static __device__ inline void weft_few_fetch(const weft_cuda_product &product, const weft_few &few, int round, int i, int slot) {
    weft_few_item item = weft_few_item_of(product, few, round, i);
    if (!item.present || weft_lane() != 0) return;
    weft_band at = weft_band_of(product, round + item.band);
    const weft_cuda_matrix &matrix = product.matrices[product.gated ? item.matrix : at.matrix];
    uint32_t bytes = (uint32_t)weft_unit_bytes(matrix.format);
    const uint8_t *from = (const uint8_t *)matrix.units + ((int64_t)at.band * product.n_units + few.first_unit + item.unit) * bytes;
    int place = few.warp * product.n_slots + slot;
    weft_bulk_copy(few.memory + place * product.slot_bytes, from, bytes, (uint64_t *)(few.memory + few.places.barriers) + place);
}

/* Columns of this slice into shared memory; with a norm, the squares of whole columns. */
static __device__ inline void weft_few_prepare(const weft_cuda_product &product, const weft_few &few) {
    float *scales = (float *)(few.memory + few.places.scales), *squares = (float *)(few.memory + few.places.squares);
    for (int c = 0; c < few.n_columns; c++) {
        const float *x = (const float *)product.x + (few.first_column + c) * product.k;
        uint8_t *to = few.memory + few.places.halves + c * few.column_bytes;
        for (int u = few.warp; u < few.n_units; u += few.n_warps) {
            float scale, sum;
            weft_prepare_unit(x, (const float *)product.norm, product.k, few.first_unit + u, to + u * WEFT_COLUMN_UNIT_BYTES, scale,
                              sum);
            if (weft_lane() != 0) continue;
            scales[c * few.units + u] = scale;
            if (product.has_norm) squares[c * product.n_units + few.first_unit + u] = sum;
        }
        for (int u = few.warp; product.has_norm && u < product.n_units; u += few.n_warps) {
            if (u >= few.first_unit && u < few.first_unit + few.n_units) continue;
            float sum = weft_unit_squares(x, product.k, u);
            if (weft_lane() == 0) squares[c * product.n_units + u] = sum;
        }
    }
}

/* c += a unit times 8 columns. A lane has column l / 4 of the fragments; columns that are missing repeat the first. */
template <int FORMAT> static __device__ inline void weft_multiply_unit(const uint8_t *unit, const uint8_t *columns, float (&c)[4]) {
    weft_fragments<FORMAT> fragments;
    fragments.begin(unit);
#pragma unroll
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        uint32_t a[2][4];
        const uint4 b = *(const uint4 *)(columns + group * 64);
        fragments.group(unit, group, a);
        weft_mma(c, a[0], b.x, b.y);
        weft_mma(c, a[1], b.z, b.w);
    }
}

static __device__ inline void weft_few_multiply(int format, const uint8_t *unit, const uint8_t *columns, float (&c)[4]) {
    switch (format) {
    case WEFT_UNIT_NIBBLES:
        weft_multiply_unit<WEFT_UNIT_NIBBLES>(unit, columns, c);
        break;
    case WEFT_UNIT_Q4_K:
        weft_multiply_unit<WEFT_UNIT_Q4_K>(unit, columns, c);
        break;
    case WEFT_UNIT_Q6_K:
        weft_multiply_unit<WEFT_UNIT_Q6_K>(unit, columns, c);
        break;
    case WEFT_UNIT_Q8_0:
        weft_multiply_unit<WEFT_UNIT_Q8_0>(unit, columns, c);
        break;
    default:
        weft_multiply_unit<WEFT_UNIT_F16>(unit, columns, c);
        break;
    }
}

/* Multiplies an item, and keeps its sums for the end of the round: [matrix][band][unit][column][row]. */
static __device__ inline void weft_few_item_sums(const weft_cuda_product &product, weft_few &few, int round, int i, int slot,
                                                 float *partial) {
    weft_few_item item = weft_few_item_of(product, few, round, i);
    if (!item.present) return;
    int place = few.warp * product.n_slots + slot, lane = weft_lane();
    weft_bulk_wait((uint64_t *)(few.memory + few.places.barriers) + place, few.parities >> slot & 1);
    few.parities ^= 1u << slot;
    const weft_cuda_matrix &matrix =
        product.matrices[product.gated ? item.matrix : weft_band_of(product, round + item.band).matrix];
    int own = lane / 4 < few.n_columns ? lane / 4 : 0;
    const uint8_t *columns =
        few.memory + few.places.halves + own * few.column_bytes + item.unit * WEFT_COLUMN_UNIT_BYTES + lane % 4 * 16;
    float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    weft_few_multiply(matrix.format, few.memory + place * product.slot_bytes, columns, c);
    const float *scales = (const float *)(few.memory + few.places.scales) + item.unit;
    int index = (item.matrix * product.block_bands + item.band) * few.units + item.unit;
    float *to = partial + index * few.n_columns * WEFT_UNIT_ROWS + lane / 4;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        int column = lane % 4 * 2 + j % 2;
        if (column < few.n_columns) to[column * WEFT_UNIT_ROWS + j / 2 * 8] = __fmul_rn(c[j], scales[column * few.units]);
    }
    __syncwarp(); /* the slot has been read */
}

static __device__ inline float weft_few_sum(const weft_few &few, const float *partial, int index, int column, int row) {
    float sum = 0.0f;
    partial += (index * few.units * few.n_columns + column) * WEFT_UNIT_ROWS + row;
    for (int u = 0; u < few.n_units; u++) sum = __fadd_rn(sum, partial[u * few.n_columns * WEFT_UNIT_ROWS]);
    return sum;
}

/* Adds up the units of each row of the round's bands. */
static __device__ inline void weft_few_finish(const weft_cuda_product &product, const weft_few &few, int round,
                                              const float *partial) {
    const float *factors = (const float *)(few.memory + few.places.factors);
    for (int i = (int)threadIdx.x; i < product.block_bands * WEFT_FEW_COLUMNS * WEFT_UNIT_ROWS; i += (int)blockDim.x) {
        int row = i % WEFT_UNIT_ROWS, column = i / WEFT_UNIT_ROWS % WEFT_FEW_COLUMNS,
            band = i / (WEFT_UNIT_ROWS * WEFT_FEW_COLUMNS);
        if (column >= few.n_columns || round + band >= product.n_bands) continue;
        float sum = weft_few_sum(few, partial, band, column, row), up = 0.0f;
        if (product.gated) up = weft_few_sum(few, partial, product.block_bands + band, column, row);
        weft_finish_slice(product, few.slice, round + band, row, few.first_column + column,
                          product.has_norm ? factors[column] : 1.0f, sum, up);
    }
}

static __device__ inline weft_few weft_few_begin(const weft_cuda_product &product, uint8_t *memory) {
    weft_few few;
    few.memory = memory;
    few.slice = (int)blockIdx.y % product.n_slices;
    few.first_column = (int)blockIdx.y / product.n_slices * WEFT_FEW_COLUMNS;
    int64_t left = product.n_columns - few.first_column;
    few.n_columns = left < WEFT_FEW_COLUMNS ? (int)left : WEFT_FEW_COLUMNS;
    few.places = weft_few_places_of(&product, few.n_columns);
    few.first_unit = weft_slice_begin(product.n_units, product.n_slices, few.slice);
    few.n_units = weft_slice_begin(product.n_units, product.n_slices, few.slice + 1) - few.first_unit;
    few.units = weft_slice_units(product.n_units, product.n_slices);
    few.column_bytes = few.units * WEFT_COLUMN_UNIT_BYTES + WEFT_COLUMN_PAD;
    few.warp = (int)threadIdx.x / WEFT_LANES;
    few.n_warps = (int)blockDim.x / WEFT_LANES;
    few.n_own = few.units > WEFT_FEW_WARPS ? 2 : 1;
    few.own_band = few.n_own == 1 ? few.warp / few.units : 0;
    few.own_unit = few.n_own == 1 ? few.warp % few.units : few.warp;
    few.parities = 0;
    return few;
}

static __device__ inline void weft_product_in_bands(const weft_cuda_product &product, uint8_t *memory) {
    weft_few few = weft_few_begin(product, memory);
    int n_items = few.n_own * (product.gated ? 2 : 1), stride = (int)gridDim.x * product.block_bands;
    uint64_t *barriers = (uint64_t *)(few.memory + few.places.barriers) + few.warp * product.n_slots;
    if (weft_lane() < product.n_slots) weft_bulk_begin(barriers + weft_lane());
    __syncwarp();
    int first = (int)blockIdx.x * product.block_bands, ahead = first, ahead_item = 0, slot = 0;
    for (int i = 0; i < product.n_slots; i++) {
        weft_few_fetch(product, few, ahead, ahead_item, i);
        if (++ahead_item == n_items) ahead_item = 0, ahead += stride;
    }
    weft_few_prepare(product, few);
    __syncthreads();
    if (product.has_norm && (int)threadIdx.x < few.n_columns)
        ((float *)(few.memory + few.places.factors))[threadIdx.x] =
            weft_norm_factor((const float *)(few.memory + few.places.squares) + threadIdx.x * product.n_units, product.n_units,
                             product.k, product.epsilon);
    float *partial = (float *)(few.memory + few.places.partial);
    int other = few.places.partial_floats;
    for (int round = first; round < product.n_bands; round += stride) {
        for (int i = 0; i < n_items; i++) {
            weft_few_item_sums(product, few, round, i, slot, partial);
            weft_few_fetch(product, few, ahead, ahead_item, slot);
            if (++ahead_item == n_items) ahead_item = 0, ahead += stride;
            if (++slot == product.n_slots) slot = 0;
        }
        __syncthreads();
        weft_few_finish(product, few, round, partial);
        partial += other; /* threads may still read the round before the last */
        other = -other;
    }
}

#endif
