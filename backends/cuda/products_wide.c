#include "backends/cuda/products_wide.h"

#define FILE_OF_KERNELS "products_wide"
#define THREADS 384
#define MOST_STAGES 8
#define PREPARING_WARPS 8

/* `unit_cost` and `tile_cost` are about how many cycles a block needs for a unit of a tile, and for the sums of a
 * slice: measured on an H200. Where a multiprocessor has two blocks, `shared_cost` is for a unit of both. */
static const struct tile {
    int rows, columns, blocks;
    int64_t unit_cost, shared_cost, tile_cost;
    const char *entry;
} tiles[] = {{128, 176, 1, 4900, 0, 4000, "weft_product_wide_128_176"},  {128, 128, 1, 3600, 0, 2500, "weft_product_wide_128_128"},
             {128, 64, 1, 2650, 0, 2000, "weft_product_wide_128_64"},    {64, 128, 1, 2700, 0, 2000, "weft_product_wide_64_64"},
             {128, 32, 2, 2000, 3800, 1500, "weft_product_wide_128_32"}, {64, 64, 2, 1950, 3800, 1500, "weft_product_wide_64_32"},
             {128, 16, 2, 1700, 3350, 1500, "weft_product_wide_128_16"}, {64, 32, 2, 1600, 3250, 1500, "weft_product_wide_64_16"}};
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

/* Of `items` on all multiprocessors, each of some units and one or more slices' sums. */
static int64_t cost_of(const struct tile *tile, int64_t items, int64_t units, int64_t slices, int multiprocessors) {
    int64_t slots = (int64_t)tile->blocks * multiprocessors, rounds = items / slots, left = items % slots;
    int64_t sums = slices * tile->tile_cost, whole = units * (tile->blocks == 1 ? tile->unit_cost : tile->shared_cost) + sums;
    if (left > multiprocessors) return (rounds + 1) * whole;
    return rounds * whole + (left > 0 ? units * tile->unit_cost + sums : 0);
}

static int64_t cost(const weft_cuda_product *product, const struct tile *tile, bool in_turn, int multiprocessors) {
    int64_t items = n_tiles(product, tile), units = product->n_units, slices = product->n_slices;
    if (in_turn) return cost_of(tile, items, units, slices, multiprocessors);
    units = weft_slice_units(product->n_units, product->n_slices);
    return cost_of(tile, items * slices, units, 1, multiprocessors) + ADDING_COST + ADDING_COLUMN * product->n_columns;
}

/* As many stages as there is room for. Returns the bytes of shared memory, or 0 if a tile needs more. */
static uint32_t choose_stages(const weft_backend_device *device, weft_cuda_wide *wide, const struct tile *tile) {
    int most = weft_cuda_shared_of(device, tile->blocks);
    wide->tile_columns = tile->columns;
    wide->weight_stage_bytes = weft_largest_unit(&wide->product) * tile->rows / WEFT_UNIT_ROWS;
    for (int units = MOST_STAGES; units > 1; units--) {
        wide->n_weight_stages = units;
        for (wide->n_column_stages = 2 * units; wide->n_column_stages >= units; wide->n_column_stages--) {
            int bytes = weft_wide_places_of(wide).end;
            if (bytes <= most) return (uint32_t)bytes;
        }
    }
    return 0;
}

/* Whether threads can finish four rows at a time. */
static bool in_fours(const weft_cuda_product *product) {
    if (product->residual % 16 != 0 || (product->gated && product->residual != 0)) return false;
    for (int i = 0; i < product->n_matrices; i++) {
        const weft_cuda_matrix *matrix = &product->matrices[i];
        if (matrix->n % 4 != 0 || matrix->y % 16 != 0 || matrix->bias % 16 != 0) return false;
    }
    return true;
}

/* The cheapest tile that fits. */
static const struct tile *choose_tile(const weft_backend_device *device, weft_cuda_wide *wide) {
    const weft_cuda_product *product = &wide->product;
    const struct tile *tile = NULL;
    int64_t lowest = 0;
    for (size_t i = 0; i < 2 * N_TILES; i++) {
        bool in_turn = i % 2 == 0;
        if (!in_turn && product->n_slices == 1) continue;
        if (in_turn && product->n_slices > 1 && !wide->in_fours) continue;
        if (product->gated && tiles[i / 2].columns > WEFT_WIDE_GATED) continue;
        int64_t found = cost(product, &tiles[i / 2], in_turn, device->multiprocessors);
        if ((tile != NULL && found >= lowest) || choose_stages(device, wide, &tiles[i / 2]) == 0) continue;
        lowest = found;
        tile = &tiles[i / 2];
        wide->in_turn = in_turn;
    }
    return tile;
}

void weft_cuda_record_prepare(weft_cuda_recorder *recorder, weft_cuda_wide *wide, uint64_t scratch) {
    const weft_cuda_product *product = &wide->product;
    wide->padded_columns = (int32_t)padded(product->n_columns);
    place_columns(wide, scratch);
    int most = product->has_norm ? 2 * PREPARING_WARPS : PREPARING_WARPS;
    int warps = product->n_units < most ? product->n_units : most;
    int64_t blocks = product->has_norm ? 1 : weft_cuda_ceil(product->n_units, warps);
    weft_cuda_launch(recorder, FILE_OF_KERNELS, "weft_prepare_wide",
                     weft_cuda_blocks(wide->padded_columns / WEFT_WIDE_PREPARED, blocks, (uint32_t)(warps * WEFT_CUDA_WARP)), wide);
}

bool weft_cuda_record_wide(weft_cuda_recorder *recorder, const weft_cuda_product *product, uint64_t scratch) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    weft_cuda_wide wide = {.product = *product, .in_fours = in_fours(product)};
    const struct tile *tile = choose_tile(device, &wide);
    weft_cuda_shape shape = {{1, 1}, THREADS, choose_stages(device, &wide, tile)};
    wide.n_column_tiles = (int32_t)weft_cuda_ceil(product->n_columns, tile->columns);
    wide.n_items = (int32_t)(n_tiles(product, tile) * (wide.in_turn ? 1 : product->n_slices));
    weft_cuda_record_prepare(recorder, &wide, scratch);
    int64_t blocks = (int64_t)tile->blocks * device->multiprocessors;
    shape.grid[0] = wide.n_items < blocks ? wide.n_items : blocks;
    weft_cuda_launch(recorder, FILE_OF_KERNELS, tile->entry, shape, &wide);
    return !wide.in_turn;
}
