#include "backends/cuda/products.h"

#include "backends/cuda/products_wide.h"

/* The kernel for few columns reads the weights once for each 8 columns; up to here it is faster than tiles. */
#define MOST_FEW 16
#define MOST_SLOTS 8

void weft_cuda_add_matrix(weft_cuda_product *product, const weft_place *weight, const weft_place *bias, uint64_t y) {
    int64_t k = weight->tensor.shape[0], n = weight->tensor.shape[1];
    int format = weft_cuda_unit_format(weight->tensor.type);
    product->matrices[product->n_matrices++] =
        (weft_cuda_matrix){.units = weight->address,
                           .powers = weight->address + (uint64_t)weft_unit_powers_at(format, k, n),
                           .bias = bias != NULL ? bias->address : 0,
                           .y = y,
                           .n = n,
                           .format = format,
                           .n_bands = (int32_t)weft_unit_bands(n)};
}

/* ---- Scratch: prepared columns for tiles, then the slices' sums ---- */

/* Enough for the kernels with wgmma, too. */
static uint64_t prepared_bytes(int64_t n_units, int64_t n_columns) {
    uint64_t bytes = (uint64_t)(n_columns * n_units) * (WEFT_COLUMN_UNIT_BYTES + 2 * sizeof(float));
    uint64_t wide = weft_cuda_wide_bytes(n_units, n_columns);
    return n_columns <= MOST_FEW ? 0 : bytes > wide ? bytes : wide;
}

uint64_t weft_cuda_product_bytes(int64_t k, int64_t n_rows, int64_t n_matrices, int64_t n_columns) {
    int64_t n_units = weft_units_of(k), n_slices = weft_slices_of((int)n_units);
    int64_t rows = n_rows + n_matrices * WEFT_UNIT_ROWS;
    uint64_t sums = n_slices == 1 ? 0 : (uint64_t)(n_slices * n_columns * rows) * sizeof(float);
    return prepared_bytes(n_units, n_columns) + sums;
}

static void place_scratch(weft_cuda_product *product, uint64_t scratch) {
    uint64_t n = (uint64_t)(product->n_columns * product->n_units);
    product->halves = scratch;
    product->scales = scratch + n * WEFT_COLUMN_UNIT_BYTES;
    product->squares = product->scales + n * sizeof(float);
    product->sums = scratch + prepared_bytes(product->n_units, product->n_columns);
}

/* ---- Few columns ---- */

static int largest_unit(const weft_cuda_product *product) {
    int largest = 0;
    for (int i = 0; i < product->n_matrices; i++) {
        int bytes = weft_unit_bytes(product->matrices[i].format);
        if (bytes > largest) largest = bytes;
    }
    return largest;
}

/* Chooses how many slots a warp has, with two blocks on a multiprocessor if they then have three or more. Returns how many blocks.
 */
static int choose_slots(const weft_backend_device *device, weft_cuda_product *product, int n_columns, uint32_t *shared_bytes) {
    const int reserved = 1024; /* of a multiprocessor's shared memory, for each block */
    for (int blocks = 2; blocks > 0; blocks--) {
        for (int slots = MOST_SLOTS; slots >= (blocks == 2 ? 3 : 1); slots--) {
            product->n_slots = slots;
            *shared_bytes = (uint32_t)weft_few_places_of(product, n_columns).end;
            if ((int)*shared_bytes <= device->shared_bytes / blocks - (blocks - 1) * reserved) return blocks;
        }
    }
    return 1;
}

static void record_few(weft_cuda_recorder *recorder, weft_cuda_product *product) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    int units = weft_slice_units(product->n_units, product->n_slices);
    int n_columns = product->n_columns < WEFT_FEW_COLUMNS ? (int)product->n_columns : WEFT_FEW_COLUMNS;
    weft_cuda_shape shape = {.block = (uint32_t)(weft_few_warps(units) * WEFT_CUDA_WARP)};
    product->block_bands = weft_few_bands(units);
    product->slot_bytes = largest_unit(product);
    int64_t most = (int64_t)device->multiprocessors * choose_slots(device, product, n_columns, &shape.shared_bytes);
    int64_t rounds = weft_cuda_ceil(product->n_bands, product->block_bands), groups = product->n_slices;
    groups *= weft_cuda_ceil(product->n_columns, WEFT_FEW_COLUMNS);
    int64_t share = most / groups > 0 ? most / groups : 1;
    shape.grid[0] = weft_cuda_ceil(rounds, weft_cuda_ceil(rounds, share)); /* as many rounds for each block */
    shape.grid[1] = groups;
    weft_cuda_launch(recorder, "products", "weft_product_few", shape, product);
}

/* ---- Many columns ---- */

static const struct tile {
    int n_columns;
    const char *entry;
} tiles[] = {{128, "weft_product_tiles_128"}, {64, "weft_product_tiles_64"}, {32, "weft_product_tiles_32"}};

static int tile_bytes(const weft_cuda_product *product, int n_columns) {
    int largest = 0;
    for (int i = 0; i < product->n_matrices; i++) {
        int bytes = weft_tile_bytes(product->matrices[i].format, n_columns);
        if (bytes > largest) largest = bytes;
    }
    return largest;
}

static int64_t row_tiles(const weft_cuda_product *product) {
    if (product->gated) return weft_cuda_ceil(product->n_bands, WEFT_TILE_BANDS / 2);
    int64_t n = 0;
    for (int i = 0; i < product->n_matrices; i++) n += weft_cuda_ceil(product->matrices[i].n_bands, WEFT_TILE_BANDS);
    return n;
}

static int64_t n_tiles(const weft_cuda_product *product, int n_columns) {
    return row_tiles(product) * product->n_slices * weft_cuda_ceil(product->n_columns, n_columns);
}

static void record_tiles(weft_cuda_recorder *recorder, weft_cuda_product *product) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    const int64_t threads = 256;
    int64_t n_units = product->n_columns * product->n_units;
    const struct tile *tile = tiles, *last = tiles + sizeof tiles / sizeof *tiles - 1;
    while (tile < last && (tile_bytes(product, tile->n_columns) > device->shared_bytes || tile[1].n_columns >= product->n_columns ||
                           n_tiles(product, tile->n_columns) < device->multiprocessors))
        tile++;
    weft_cuda_shape shape = {{row_tiles(product), product->n_slices * weft_cuda_ceil(product->n_columns, tile->n_columns)},
                             WEFT_TILE_WARPS * WEFT_CUDA_WARP,
                             (uint32_t)tile_bytes(product, tile->n_columns)};
    weft_cuda_launch(recorder, "products", "weft_prepare_columns",
                     weft_cuda_blocks(weft_cuda_ceil(n_units * WEFT_CUDA_WARP, threads), 1, (uint32_t)threads), product);
    weft_cuda_launch(recorder, "products", tile->entry, shape, product);
}

void weft_cuda_record_units(weft_cuda_recorder *recorder, weft_cuda_product *product, uint64_t scratch) {
    const int64_t threads = 128;
    product->control = weft_cuda_recorder_control(recorder);
    product->has_norm = product->norm != 0;
    product->n_units = (int32_t)weft_units_of(product->k);
    product->n_slices = weft_slices_of(product->n_units);
    product->n_bands = 0;
    for (int i = 0; i < (product->gated ? 1 : product->n_matrices); i++) product->n_bands += product->matrices[i].n_bands;
    place_scratch(product, scratch);
    bool has_slices = product->n_slices > 1;
    if (product->n_columns <= MOST_FEW)
        record_few(recorder, product);
    else if (weft_cuda_has_wide(weft_cuda_recorder_device(recorder)))
        has_slices = weft_cuda_record_wide(recorder, product, scratch);
    else
        record_tiles(recorder, product);
    if (!has_slices) return;
    int64_t rows = (int64_t)product->n_bands * WEFT_UNIT_ROWS;
    weft_cuda_launch(recorder, "products", "weft_add_slices",
                     weft_cuda_blocks(weft_cuda_ceil(rows, threads), product->n_columns, (uint32_t)threads), product);
}
