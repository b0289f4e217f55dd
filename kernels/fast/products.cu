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

static __device__ inline float add_slices(const weft_cuda_product &product, int64_t column, int band, int row) {
    float sum = *weft_slice_sum(product, 0, column, band, row);
    for (int slice = 1; slice < product.n_slices; slice++) sum = __fadd_rn(sum, *weft_slice_sum(product, slice, column, band, row));
    return sum;
}

/* Adds up the slices. Grid: rows; columns, of which a thread may have several. */
WEFT_KERNEL(weft_add_slices, weft_cuda_product, product) {
    if (weft_cancelled(product)) return;
    int index = (int)weft_thread(), band = index / WEFT_UNIT_ROWS, row = index % WEFT_UNIT_ROWS;
    if (band >= product.n_bands) return;
    for (int64_t column = blockIdx.y; column < product.n_columns; column += gridDim.y) {
        float sum = add_slices(product, column, band, row), up = 0.0f;
        if (product.gated) up = add_slices(product, column, product.n_bands + band, row);
        weft_finish(product, weft_band_of(product, band), row, column, sum, up);
    }
}
