/* Products of weights in units with any number of columns: kernels/products.h says what they compute. */
#include "kernels/fast/product_few.h"
#include "kernels/fast/product_tiles.h"

extern __shared__ float shared[];

/* Grid: blocks that share the bands; slices, where a block has one, and groups of columns. Either two blocks fit on a
 * multiprocessor: one asks for its weights while the other, of the kernel before, still runs. Or one block has it alone: then many
 * columns are prepared once instead of twice. The code is the same, so that a step's kernels find it in the instruction caches. */
WEFT_KERNEL_OF(weft_product_few, weft_cuda_few, argument, (WEFT_FEW_WARPS_ALONE + WEFT_FEW_FINISHERS_ALONE) * WEFT_LANES, 1) {
#if WEFT_HAS_BULK_COPIES
    weft_product_in_bands(argument, (uint8_t *)shared);
#endif
}

WEFT_KERNEL_OF(weft_product_tiles_128, weft_cuda_product, product, WEFT_TILE_WARPS *WEFT_LANES, 1) {
#if WEFT_HAS_BULK_COPIES
    if (!weft_cancelled(product)) weft_product_in_tiles<128>(product, (uint8_t *)shared);
#endif
}

WEFT_KERNEL_OF(weft_product_tiles_64, weft_cuda_product, product, WEFT_TILE_WARPS *WEFT_LANES, 1) {
#if WEFT_HAS_BULK_COPIES
    if (!weft_cancelled(product)) weft_product_in_tiles<64>(product, (uint8_t *)shared);
#endif
}

WEFT_KERNEL_OF(weft_product_tiles_32, weft_cuda_product, product, WEFT_TILE_WARPS *WEFT_LANES, 1) {
#if WEFT_HAS_BULK_COPIES
    if (!weft_cancelled(product)) weft_product_in_tiles<32>(product, (uint8_t *)shared);
#endif
}

/* Columns for the kernels of tiles: a warp for each unit of each column. */
WEFT_KERNEL(weft_prepare_columns, weft_cuda_product, product) {
    if (weft_cancelled(product)) return;
    int64_t index = weft_thread() / WEFT_LANES, column = index / product.n_units;
    if (column >= product.n_columns) return;
    float scale, squares;
    weft_prepare_unit((const float *)product.x + column * product.k, (const float *)product.norm, product.k,
                      (int)(index % product.n_units), (uint8_t *)product.halves + index * WEFT_COLUMN_UNIT_BYTES, scale, squares);
    if (weft_lane() != 0) return;
    ((float *)product.scales)[index] = scale;
    if (product.has_norm) ((float *)product.squares)[index] = squares;
}

/* Of four rows. Slices are read together, before they are added in their order. */
static __device__ inline void add_slices(const weft_cuda_product &product, int64_t column, int band, int row, float (&sums)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) sums[i] = 0.0f;
#pragma unroll 4
    for (int slice = 0; slice < product.n_slices; slice++) {
        const weft_four own = *(const weft_four *)weft_slice_sum(product, slice, column, band, row);
#pragma unroll
        for (int i = 0; i < 4; i++) sums[i] = slice == 0 ? own.values[i] : __fadd_rn(sums[i], own.values[i]);
    }
}

/* Adds up the slices. Grid: rows, of which a thread has four; columns. */
WEFT_KERNEL(weft_add_slices, weft_cuda_product, product) {
    if (weft_cancelled(product)) return;
    int first = (int)weft_thread() * 4, band = first / WEFT_UNIT_ROWS, row = first % WEFT_UNIT_ROWS;
    int64_t column = blockIdx.y;
    if (band >= product.n_bands) return;
    const weft_band at = weft_band_of(product, band);
    const bool has_bias = product.matrices[at.matrix].bias != 0;
    float sums[4], ups[4] = {};
    weft_result results[4];
    add_slices(product, column, band, row, sums);
    if (product.gated) add_slices(product, column, product.n_bands + band, row, ups);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        results[i] = weft_result_begin(product, at, row + i, column);
        weft_result_residual(product, results[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) weft_result_end(product, has_bias, results[i], sums[i], ups[i]);
}
