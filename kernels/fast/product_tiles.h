/* Products with many columns, in tiles of 8 bands and up to 128 columns. A warp has two bands, and half the columns. Where gate and
 * up are multiplied, these are a band of each. Units of weights and of prepared columns are copied into shared memory, one unit
 * ahead. */
#ifndef WEFT_KERNELS_FAST_PRODUCT_TILES_H
#define WEFT_KERNELS_FAST_PRODUCT_TILES_H

#include "kernels/fast/columns.h"
#include "kernels/fast/copy_async.h"
#include "kernels/fast/finish.h"
#include "kernels/fast/fragments.h"

/* A block's tile. Shared memory has two stages (weights, columns, scales), then the norm's factors. */
struct weft_tile {
    int matrix, first_band;         /* where gated: the first of both matrices */
    int slice, first_unit, n_units; /* of the slice */
    int first_column, left;         /* columns from there on */
};

static __device__ inline weft_tile weft_tile_of(const weft_cuda_product &product, int columns) {
    weft_tile tile;
    int bands = product.gated ? WEFT_TILE_BANDS / 2 : WEFT_TILE_BANDS, index = (int)blockIdx.x;
    tile.matrix = 0;
    while (tile.matrix + 1 < product.n_matrices && !product.gated) {
        int n_tiles = (product.matrices[tile.matrix].n_bands + bands - 1) / bands;
        if (index < n_tiles) break;
        index -= n_tiles;
        tile.matrix++;
    }
    tile.first_band = index * bands;
    tile.slice = (int)blockIdx.y % product.n_slices;
    tile.first_unit = weft_slice_begin(product.n_units, product.n_slices, tile.slice);
    tile.n_units = weft_slice_begin(product.n_units, product.n_slices, tile.slice + 1) - tile.first_unit;
    tile.first_column = (int)blockIdx.y / product.n_slices * columns;
    tile.left = (int)product.n_columns - tile.first_column;
    return tile;
}

/* Place `i` of the tile's bands: which matrix and band. Bands past the last repeat it. */
static __device__ inline weft_band weft_tile_band(const weft_cuda_product &product, const weft_tile &tile, int i) {
    weft_band at = {tile.matrix, tile.first_band + i};
    if (product.gated) at = {i % 2, tile.first_band + i / 2};
    int last = product.matrices[at.matrix].n_bands - 1;
    if (at.band > last) at.band = last;
    return at;
}

template <int FORMAT, int COLUMNS>
static __device__ inline void weft_tile_fetch(const weft_cuda_product &product, const weft_tile &tile, int unit, uint8_t *stage) {
    const int threads = WEFT_TILE_WARPS * WEFT_LANES, unit_pieces = weft_unit_bytes(FORMAT) / 16;
    for (int i = (int)threadIdx.x; i < WEFT_TILE_BANDS * unit_pieces; i += threads) {
        weft_band at = weft_tile_band(product, tile, i / unit_pieces);
        const uint8_t *from = (const uint8_t *)product.matrices[at.matrix].units +
                              ((int64_t)at.band * product.n_units + tile.first_unit + unit) * weft_unit_bytes(FORMAT);
        weft_copy_piece(stage + i * 16, from + i % unit_pieces * 16);
    }
    const int column_pieces = WEFT_COLUMN_UNIT_BYTES / 16;
    uint8_t *columns = stage + WEFT_TILE_BANDS * weft_unit_bytes(FORMAT);
    float *scales = (float *)(columns + COLUMNS * (WEFT_COLUMN_UNIT_BYTES + WEFT_COLUMN_PAD));
    for (int i = (int)threadIdx.x; i < COLUMNS * column_pieces; i += threads) {
        int c = i / column_pieces;
        if (c >= tile.left) continue;
        int64_t index = (int64_t)(tile.first_column + c) * product.n_units + tile.first_unit + unit;
        weft_copy_piece(columns + c * (WEFT_COLUMN_UNIT_BYTES + WEFT_COLUMN_PAD) + i % column_pieces * 16,
                        (const uint8_t *)product.halves + index * WEFT_COLUMN_UNIT_BYTES + i % column_pieces * 16);
        if (i % column_pieces == 0) scales[c] = ((const float *)product.scales)[index];
    }
    weft_commit_pieces();
}

/* Adds a unit's sums to the slice's: `N` column groups of 8, two bands. */
template <int FORMAT, int COLUMNS>
static __device__ inline void weft_tile_multiply(const uint8_t *stage, float (&sums)[2][COLUMNS / 16][4]) {
    const int n = COLUMNS / 16, column_bytes = WEFT_COLUMN_UNIT_BYTES + WEFT_COLUMN_PAD, lane = weft_lane();
    int warp = (int)threadIdx.x / WEFT_LANES, first_column = warp / 4 * (COLUMNS / 2);
    const uint8_t *units = stage + warp % 4 * 2 * weft_unit_bytes(FORMAT);
    const uint8_t *all = stage + WEFT_TILE_BANDS * weft_unit_bytes(FORMAT);
    const uint8_t *columns = all + (first_column + lane / 4) * column_bytes + lane % 4 * 16;
    const float *scales = (const float *)(all + COLUMNS * column_bytes) + first_column + lane % 4 * 2;
    float c[2][COLUMNS / 16][4] = {};
    weft_fragments<FORMAT> fragments[2];
    fragments[0].begin(units);
    fragments[1].begin(units + weft_unit_bytes(FORMAT));
#pragma unroll
    for (int group = 0; group < WEFT_UNIT_GROUPS; group++) {
        uint32_t a[2][2][4];
        fragments[0].group(units, group, a[0]);
        fragments[1].group(units + weft_unit_bytes(FORMAT), group, a[1]);
#pragma unroll
        for (int i = 0; i < n; i++) {
            const uint4 b = *(const uint4 *)(columns + i * 8 * column_bytes + group * 64);
            weft_mma(c[0][i], a[0][0], b.x, b.y);
            weft_mma(c[1][i], a[1][0], b.x, b.y);
            weft_mma(c[0][i], a[0][1], b.z, b.w);
            weft_mma(c[1][i], a[1][1], b.z, b.w);
        }
    }
#pragma unroll
    for (int i = 0; i < n; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            sums[j / 4][i][j % 4] = __fadd_rn(sums[j / 4][i][j % 4], __fmul_rn(c[j / 4][i][j % 4], scales[i * 8 + j % 2]));
}

/* Sums go through shared memory, [column][row of the tile], so that neighbouring threads store neighbouring rows. */
#define WEFT_TILE_SUMS (WEFT_TILE_BANDS * WEFT_UNIT_ROWS + 4) /* floats of a column: stores come from all banks */

template <int COLUMNS> static __device__ inline void weft_tile_keep(const float (&sums)[2][COLUMNS / 16][4], float *memory) {
    int warp = (int)threadIdx.x / WEFT_LANES, lane = weft_lane();
    float *to = memory + (warp / 4 * (COLUMNS / 2) + lane % 4 * 2) * WEFT_TILE_SUMS + warp % 4 * 32 + lane / 4;
#pragma unroll
    for (int i = 0; i < COLUMNS / 16; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) to[(i * 8 + j % 2) * WEFT_TILE_SUMS + j / 4 * 16 + j % 4 / 2 * 8] = sums[j / 4][i][j % 4];
}

static __device__ inline void weft_tile_finish(const weft_cuda_product &product, const weft_tile &tile, const float *factors,
                                               const float *sums, int n_columns) {
    int first = tile.first_band, n_bands = product.matrices[tile.matrix].n_bands;
    for (int i = 0; i < tile.matrix; i++) first += product.matrices[i].n_bands;
    if (n_columns > tile.left) n_columns = tile.left;
    int rows = (product.gated ? WEFT_TILE_BANDS / 2 : WEFT_TILE_BANDS) * WEFT_UNIT_ROWS;
    for (int i = (int)threadIdx.x; i < n_columns * rows; i += WEFT_TILE_WARPS * WEFT_LANES) {
        int column = i / rows, band = i % rows / WEFT_UNIT_ROWS, row = i % WEFT_UNIT_ROWS;
        if (tile.first_band + band >= n_bands) continue;
        const float *from = sums + column * WEFT_TILE_SUMS + (product.gated ? 2 * band : band) * WEFT_UNIT_ROWS + row;
        weft_finish_slice(product, tile.slice, first + band, row, tile.first_column + column,
                          product.has_norm ? factors[column] : 1.0f, from[0], product.gated ? from[WEFT_UNIT_ROWS] : 0.0f);
    }
}

template <int FORMAT, int COLUMNS>
static __device__ inline void weft_product_tile(const weft_cuda_product &product, const weft_tile &tile, uint8_t *memory) {
    const int stage_bytes = weft_tile_stage_bytes(FORMAT, COLUMNS);
    float *factors = (float *)(memory + 2 * stage_bytes), sums[2][COLUMNS / 16][4] = {};
    weft_tile_fetch<FORMAT, COLUMNS>(product, tile, 0, memory);
    if (product.has_norm && (int)threadIdx.x < COLUMNS && (int)threadIdx.x < tile.left)
        factors[threadIdx.x] =
            weft_norm_factor((const float *)product.squares + (int64_t)(tile.first_column + (int)threadIdx.x) * product.n_units,
                             product.n_units, product.k, product.epsilon);
    for (int unit = 0; unit < tile.n_units; unit++) {
        if (unit + 1 < tile.n_units) {
            weft_tile_fetch<FORMAT, COLUMNS>(product, tile, unit + 1, memory + (unit + 1) % 2 * stage_bytes);
            weft_wait_pieces<1>();
        } else {
            weft_wait_pieces<0>();
        }
        __syncthreads();
        weft_tile_multiply<FORMAT, COLUMNS>(memory + unit % 2 * stage_bytes, sums);
        __syncthreads();
    }
    weft_tile_keep<COLUMNS>(sums, (float *)memory);
    __syncthreads();
    weft_tile_finish(product, tile, factors, (const float *)memory, COLUMNS);
}

/* Grid: tiles of bands of each matrix; slices, and tiles of columns. */
template <int COLUMNS> static __device__ inline void weft_product_in_tiles(const weft_cuda_product &product, uint8_t *memory) {
    weft_tile tile = weft_tile_of(product, COLUMNS);
    weft_with_format(product.matrices[tile.matrix].format, [&](auto known) {
        const int format = decltype(known)::value, columns = format == WEFT_UNIT_F16 && COLUMNS > 64 ? 64 : COLUMNS;
        weft_product_tile<format, columns>(product, tile, memory);
    });
}

#endif
