#include "backends/cuda/products_wide.h"

#define FILE_OF_KERNELS "products_wide"
#define THREADS 384
#define MOST_STAGES 8
#define PREPARING_WARPS 8

/* `unit_cost` and `tile_cost` are about how many cycles a block needs for a unit of a tile, and for the sums of a
 * slice: measured on an H200. */
static const struct tile {
    int rows, columns;
    int64_t unit_cost, tile_cost;
    const char *entry;
} tiles[] = {{128, 176, 4900, 11000, "weft_product_wide_128_176"}, {128, 128, 3600, 9000, "weft_product_wide_128_128"},
             {128, 64, 2650, 4500, "weft_product_wide_128_64"},    {64, 128, 2700, 4500, "weft_product_wide_64_64"},
             {64, 64, 2300, 2500, "weft_product_wide_64_32"},      {64, 32, 2100, 2000, "weft_product_wide_64_16"}};
#define N_TILES (sizeof tiles / sizeof *tiles)
#define ADDING_COST 5000 /* of a launch that adds up slices, */
#define ADDING_COLUMN 20 /* and of each column */

bool weft_cuda_has_wide(const weft_backend_device *device) {
    return device->capability == 90 && weft_cuda_has_file(FILE_OF_KERNELS);
}

/* ---- Scratch: halves, scales, factors ---- */

static int64_t padded(int64_t n_columns) {
    return weft_cuda_ceil(n_columns, 8) * 8;
}

uint64_t weft_cuda_wide_bytes(int64_t n_units, int64_t n_columns) {
    return (uint64_t)padded(n_columns) * ((uint64_t)n_units * (WEFT_COLUMN_UNIT_BYTES + sizeof(float)) + sizeof(float));
}

static void place_columns(weft_cuda_wide *wide, uint64_t scratch) {
    uint64_t n = (uint64_t)wide->padded_columns * (uint64_t)wide->product.n_units;
    wide->product.halves = scratch;
    wide->product.scales = scratch + n * WEFT_COLUMN_UNIT_BYTES;
    wide->factors = wide->product.scales + n * sizeof(float);
}

/* ---- Tiles ---- */

static int64_t row_tiles(const weft_cuda_product *product, int rows) {
    int bands = rows / WEFT_UNIT_ROWS;
    if (product->gated) return weft_cuda_ceil(product->n_bands, bands / 2);
    int64_t n = 0;
    for (int i = 0; i < product->n_matrices; i++) n += weft_cuda_ceil(product->matrices[i].n_bands, bands);
    return n;
}

static int64_t n_tiles(const weft_cuda_product *product, const struct tile *tile) {
    return row_tiles(product, tile->rows) * weft_cuda_ceil(product->n_columns, tile->columns);
}

static int64_t cost(const weft_cuda_product *product, const struct tile *tile, bool in_turn, int multiprocessors) {
    int64_t items = n_tiles(product, tile), units = product->n_units, slices = product->n_slices;
    if (in_turn) return weft_cuda_ceil(items, multiprocessors) * (units * tile->unit_cost + slices * tile->tile_cost);
    units = weft_slice_units(product->n_units, product->n_slices);
    return weft_cuda_ceil(items * slices, multiprocessors) * (units * tile->unit_cost + tile->tile_cost) + ADDING_COST +
           ADDING_COLUMN * product->n_columns;
}

/* As many stages as there is room for. */
static uint32_t choose_stages(const weft_backend_device *device, weft_cuda_wide *wide, int rows) {
    int largest = 0;
    for (int i = 0; i < wide->product.n_matrices; i++) {
        int bytes = weft_unit_bytes(wide->product.matrices[i].format);
        if (bytes > largest) largest = bytes;
    }
    wide->weight_stage_bytes = largest * rows / WEFT_UNIT_ROWS;
    for (int units = MOST_STAGES; units > 1; units--) {
        wide->n_weight_stages = units;
        for (wide->n_column_stages = 4 * units; wide->n_column_stages > 3; wide->n_column_stages--)
            if (weft_wide_places_of(wide).end <= device->shared_bytes && wide->n_column_stages >= 2 * units) break;
        if (wide->n_column_stages > 3) break;
    }
    return (uint32_t)weft_wide_places_of(wide).end;
}

bool weft_cuda_record_wide(weft_cuda_recorder *recorder, const weft_cuda_product *product, uint64_t scratch) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    weft_cuda_wide wide = {.product = *product, .padded_columns = (int32_t)padded(product->n_columns)};
    const struct tile *tile = NULL;
    int64_t lowest = 0;
    for (size_t i = 0; i < 2 * N_TILES; i++) {
        bool in_turn = i % 2 == 0;
        if (!in_turn && product->n_slices == 1) continue;
        if (product->gated && tiles[i / 2].columns > WEFT_WIDE_GATED) continue;
        int64_t found = cost(product, &tiles[i / 2], in_turn, device->multiprocessors);
        if (tile != NULL && found >= lowest) continue;
        lowest = found;
        tile = &tiles[i / 2];
        wide.in_turn = in_turn;
    }
    place_columns(&wide, scratch);
    wide.tile_columns = tile->columns;
    wide.n_column_tiles = (int32_t)weft_cuda_ceil(product->n_columns, tile->columns);
    wide.n_items = (int32_t)(n_tiles(product, tile) * (wide.in_turn ? 1 : product->n_slices));
    int warps = product->n_units < PREPARING_WARPS ? product->n_units : PREPARING_WARPS;
    if (product->has_norm) warps = product->n_units < 2 * PREPARING_WARPS ? product->n_units : 2 * PREPARING_WARPS;
    weft_cuda_launch(recorder, FILE_OF_KERNELS, "weft_prepare_wide",
                     weft_cuda_blocks(wide.padded_columns / WEFT_WIDE_PREPARED,
                                      product->has_norm ? 1 : weft_cuda_ceil(product->n_units, warps),
                                      (uint32_t)(warps * WEFT_CUDA_WARP)),
                     &wide);
    weft_cuda_shape shape = {{wide.n_items < device->multiprocessors ? wide.n_items : device->multiprocessors, 1}, THREADS, 0};
    shape.shared_bytes = choose_stages(device, &wide, tile->rows);
    weft_cuda_launch(recorder, FILE_OF_KERNELS, tile->entry, shape, &wide);
    return !wide.in_turn;
}
