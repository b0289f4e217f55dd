#include "backends/cuda/products.h"

#include "backends/cuda/products_several.h"
#include "backends/cuda/products_wide.h"
#include "weft/ops/rope.h"

/* The kernel for few columns reads the weights once for each 8 columns. Up to here it is faster than tiles with mma; where there
 * are few weights, it is also faster than the kernels of capability 9.0. */
#define MOST_FEW 16
#define MOST_SLOTS 2
#define MOST_COLUMN_BYTES 65536 /* of a block's prepared columns; where all slices need more, a block has one slice */
#define MOST_ROUND_SUMS 128     /* units times columns of a round: 8 KiB of sums */
#define FEWEST_WARPS 8          /* that multiply */
#define SHORT_WARPS 12          /* where there are few units */
#define MOST_KEY_BLOCKS 1024    /* that find keys */
/* From so many bytes of units of a multiprocessor on, there are many: with one column, and with more. */
#define LONG_BYTES 90000
#define LONG_BYTES_OF_MANY 20000
/* From so many on, 9 columns and more are prepared in a launch of their own. */
#define LONG_BYTES_OF_SEVERAL 40000
/* Where there are many, a block has a multiprocessor alone from so many units of all its columns on, or, if a column has fewer than
 * SHORT_COLUMN, from the second number on. */
#define ALONE_UNITS 16
#define ALONE_SHORT_UNITS 40
#define SHORT_COLUMN 8

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

/* Enough for the kernels with wgmma, too. A multiple of 16, since some of these read four sums at once. */
static uint64_t prepared_bytes(int64_t n_units, int64_t n_columns) {
    uint64_t bytes = (uint64_t)(n_columns * n_units) * (WEFT_COLUMN_UNIT_BYTES + 2 * sizeof(float));
    uint64_t wide = weft_cuda_wide_bytes(n_units, n_columns);
    return n_columns <= WEFT_FEW_COLUMNS ? 0 : ((bytes > wide ? bytes : wide) + 15) / 16 * 16;
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

/* Bands of a round: results for all threads that finish, but not too many sums to keep, and units for all warps in two rounds. */
static int round_bands(const weft_cuda_product *product, int n_columns, int n_warps) {
    int units = weft_few_units(product) * weft_few_pair(product);
    int bands = product->n_finishers * WEFT_CUDA_WARP / (WEFT_UNIT_ROWS * n_columns),
        fewest = (int)weft_cuda_ceil(n_warps, 2 * units);
    while (bands > fewest && bands * units * n_columns > MOST_ROUND_SUMS) bands--;
    return bands > fewest ? bands : fewest;
}

/* With `n_warps` warps that multiply: the most slots that fit, or 0. Returns the bytes of shared memory. */
static int choose_slots(weft_cuda_product *product, int n_columns, int n_warps, int most_bytes) {
    product->round_bands = round_bands(product, n_columns, n_warps);
    for (product->n_slots = MOST_SLOTS; product->n_slots > 0; product->n_slots--) {
        int bytes = weft_few_places_of(product, n_columns, n_warps).end;
        if (bytes <= most_bytes) return bytes;
    }
    return 0;
}

/* Chooses the warps of a block that multiply, fewer than `n_warps` where a unit is large. One block has a multiprocessor alone if
 * two do not fit, or if `alone`. Returns the bytes of shared memory. */
static int choose_warps(const weft_backend_device *device, weft_cuda_product *product, int n_columns, bool alone, int *n_warps) {
    product->n_finishers = WEFT_FEW_FINISHERS;
    for (; !alone && *n_warps >= FEWEST_WARPS; *n_warps -= 2) {
        int bytes = choose_slots(product, n_columns, *n_warps, weft_cuda_shared_of(device, 2));
        if (bytes > 0) return bytes;
    }
    product->n_finishers = WEFT_FEW_FINISHERS_ALONE;
    for (*n_warps = WEFT_FEW_WARPS_ALONE; *n_warps > FEWEST_WARPS; *n_warps -= 2) {
        int bytes = choose_slots(product, n_columns, *n_warps, device->shared_bytes);
        if (bytes > 0) return bytes;
    }
    product->n_slots = 1;
    return weft_few_places_of(product, n_columns, *n_warps).end;
}

/* Only few columns have keys. */
uint64_t weft_cuda_key_bytes(int64_t n_rows, int64_t n_columns) {
    int64_t blocks = weft_unit_bands(n_rows) < MOST_KEY_BLOCKS ? weft_unit_bands(n_rows) : MOST_KEY_BLOCKS;
    return (uint64_t)(blocks * WEFT_FEW_FINISHERS_ALONE * WEFT_FEW_KEYS * (n_columns < MOST_FEW ? n_columns : MOST_FEW)) *
           sizeof(uint64_t);
}

/* Returns whether the slices' sums are yet to be added up. A block that adds up all slices rotates the results. */
static bool record_few(weft_cuda_recorder *recorder, weft_cuda_product *product, const weft_cuda_rotation *rotation) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    int n_columns = product->n_columns < WEFT_FEW_COLUMNS ? (int)product->n_columns : WEFT_FEW_COLUMNS;
    int64_t groups = weft_cuda_ceil(product->n_columns, WEFT_FEW_COLUMNS), n_bands = product->n_bands;
    product->slot_bytes = weft_largest_unit(product);
    product->block_slices = product->n_slices;
    if (n_columns * weft_few_column_bytes(product) > MOST_COLUMN_BYTES) product->block_slices = 1;
    if (product->block_slices != product->n_slices) {
        groups *= product->n_slices;
        product->keys = 0; /* weft_add_slices makes the results */
    } else if (rotation != NULL) {
        product->rotates = 1;
        if (rotation->order == WEFT_ROPE_HALVES) product->pair_bands = rotation->head_dim / 2 / WEFT_UNIT_ROWS;
        if (product->pair_bands > 0) n_bands /= 2;
    }
    /* Many units want all warps that a multiprocessor can have. Few are over sooner if the next kernel's block fits beside this
     * one's, and has its first weights when it may begin. */
    int64_t units = n_bands * weft_few_pair(product) * weft_few_units(product) * groups;
    int64_t of_multiprocessor = units * product->slot_bytes / device->multiprocessors;
    bool is_long = of_multiprocessor > (n_columns == 1 ? LONG_BYTES : LONG_BYTES_OF_MANY);
    int of_columns = n_columns * weft_few_units(product);
    bool alone = is_long && of_columns >= (weft_few_units(product) < SHORT_COLUMN ? ALONE_SHORT_UNITS : ALONE_UNITS);
    int n_warps = is_long ? WEFT_FEW_WARPS : SHORT_WARPS, bytes = choose_warps(device, product, n_columns, alone, &n_warps);
    bool in_pairs = is_long && product->n_finishers == WEFT_FEW_FINISHERS;
    int64_t blocks = device->multiprocessors * (in_pairs ? 2 : 1) / groups;
    blocks = blocks < 1 ? 1 : blocks < n_bands ? blocks : n_bands;
    if (product->keys != 0 && blocks <= MOST_KEY_BLOCKS) product->n_keys = blocks * product->n_finishers * WEFT_FEW_KEYS;
    bool is_whole = product->block_slices == product->n_slices;
    product->fewest_units = is_whole ? product->n_units : product->n_units / product->n_slices;
    product->of_slices = weft_reciprocal_of(product->n_slices);
    for (int i = 0; i < 2; i++) product->of_units[i] = weft_reciprocal_of(product->fewest_units + i);
    product->places = weft_few_places_of(product, n_columns, n_warps);
    product->block_bands = (int32_t)(n_bands / blocks);
    product->n_longer = (int32_t)(n_bands % blocks);
    uint32_t threads = (uint32_t)((n_warps + product->n_finishers) * WEFT_CUDA_WARP);
    weft_cuda_shape shape = {{blocks, groups}, threads, (uint32_t)bytes};
    weft_cuda_few few = {.product = *product};
    if (product->rotates) few.rotation = *rotation;
    weft_cuda_launch(recorder, "products", "weft_product_few", shape, &few);
    return !is_whole;
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

/* Returns whether the slices' sums are yet to be added up. */
static bool record_columns(weft_cuda_recorder *recorder, weft_cuda_product *product, const weft_cuda_rotation *rotation,
                           uint64_t scratch) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    bool has_wide = weft_cuda_has_wide(device);
    int64_t units = (int64_t)product->n_bands * (product->gated ? 2 : 1) * product->n_units;
    bool is_long = units * weft_largest_unit(product) / device->multiprocessors > LONG_BYTES_OF_SEVERAL;
    if (product->n_columns <= WEFT_FEW_COLUMNS || (product->n_columns <= MOST_FEW && !(has_wide && is_long)))
        return record_few(recorder, product, rotation);
    if (weft_cuda_wants_several(device, product)) return weft_cuda_record_several(recorder, product, scratch);
    if (has_wide) return weft_cuda_record_wide(recorder, product, scratch);
    record_tiles(recorder, product);
    return product->n_slices > 1;
}

bool weft_cuda_record_rotated(weft_cuda_recorder *recorder, weft_cuda_product *product, const weft_cuda_rotation *rotation,
                              uint64_t scratch) {
    const int64_t threads = 128;
    product->control = weft_cuda_recorder_control(recorder);
    product->has_norm = product->norm != 0;
    product->n_units = (int32_t)weft_units_of(product->k);
    product->n_slices = weft_slices_of(product->n_units);
    product->n_bands = 0;
    for (int i = 0; i < (product->gated ? 1 : product->n_matrices); i++) product->n_bands += product->matrices[i].n_bands;
    place_scratch(product, scratch);
    bool has_slices = record_columns(recorder, product, rotation, scratch);
    if (!has_slices) return product->rotates != 0;
    int64_t fours = (int64_t)product->n_bands * WEFT_UNIT_ROWS / 4;
    weft_cuda_launch(recorder, "products", "weft_add_slices",
                     weft_cuda_blocks(weft_cuda_ceil(fours, threads), product->n_columns, (uint32_t)threads), product);
    return false;
}

void weft_cuda_record_units(weft_cuda_recorder *recorder, weft_cuda_product *product, uint64_t scratch) {
    weft_cuda_record_rotated(recorder, product, NULL, scratch);
}
