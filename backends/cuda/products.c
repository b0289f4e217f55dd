#include "backends/cuda/products.h"

#include "backends/cuda/products_wide.h"

/* The kernel for few columns reads the weights once for each 8 columns; up to here it is faster than tiles. */
#define MOST_FEW 16
#define MOST_SLOTS 2
#define MOST_COLUMN_BYTES 65536 /* of a block's prepared columns; where all slices need more, a block has one slice */
#define MOST_ROUND_SUMS 128     /* units times columns of a round: 8 KiB of sums */
#define FEWEST_WARPS 8          /* that multiply */
#define SHORT_WARPS 12          /* where there are few units */
#define ADDED_COLUMNS 4         /* whose slices a thread adds up, where there are many columns */
#define MOST_KEY_BLOCKS 1024    /* that find keys */
#define LONG_BYTES 90000        /* of units of a multiprocessor, from which there are many */

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

/* Bytes of shared memory for which two blocks fit on a multiprocessor. */
static int half_of_shared(const weft_backend_device *device) {
    const int reserved = 1024; /* for each block */
    return (device->shared_bytes + reserved) / 2 - reserved;
}

/* Bands of a round: no more results than there are threads that finish, and not too many sums to keep. */
static int round_bands(const weft_cuda_product *product, int n_columns) {
    int bands = WEFT_FEW_FINISHERS * WEFT_CUDA_WARP / (WEFT_UNIT_ROWS * n_columns);
    while (bands > 1 && bands * weft_few_units(product) * (product->gated ? 2 : 1) * n_columns > MOST_ROUND_SUMS) bands--;
    return bands > 1 ? bands : 1;
}

/* Chooses the slots of a warp, and fewer warps than `n_warps` where a unit is large. Returns the bytes of shared memory. */
static int choose_slots(const weft_backend_device *device, weft_cuda_product *product, int n_columns, int *n_warps) {
    for (; *n_warps >= FEWEST_WARPS; *n_warps -= 2) {
        for (product->n_slots = MOST_SLOTS; product->n_slots > 0; product->n_slots--) {
            int bytes = weft_few_places_of(product, n_columns, *n_warps).end;
            if (bytes <= half_of_shared(device)) return bytes;
        }
    }
    *n_warps = FEWEST_WARPS;
    product->n_slots = MOST_SLOTS;
    while (product->n_slots > 1 && weft_few_places_of(product, n_columns, *n_warps).end > device->shared_bytes) product->n_slots--;
    return weft_few_places_of(product, n_columns, *n_warps).end;
}

/* Only few columns have keys. */
uint64_t weft_cuda_key_bytes(int64_t n_rows, int64_t n_columns) {
    int64_t blocks = weft_unit_bands(n_rows) < MOST_KEY_BLOCKS ? weft_unit_bands(n_rows) : MOST_KEY_BLOCKS;
    return (uint64_t)(blocks * WEFT_FEW_KEYS * (n_columns < MOST_FEW ? n_columns : MOST_FEW)) * sizeof(uint64_t);
}

/* Returns whether the slices' sums are yet to be added up. */
static bool record_few(weft_cuda_recorder *recorder, weft_cuda_product *product) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    int n_columns = product->n_columns < WEFT_FEW_COLUMNS ? (int)product->n_columns : WEFT_FEW_COLUMNS;
    int64_t groups = weft_cuda_ceil(product->n_columns, WEFT_FEW_COLUMNS), n_bands = product->n_bands;
    product->slot_bytes = largest_unit(product);
    product->block_slices = product->n_slices;
    if (n_columns * weft_few_column_bytes(product) > MOST_COLUMN_BYTES) product->block_slices = 1;
    if (product->block_slices != product->n_slices) {
        groups *= product->n_slices;
        product->keys = 0; /* weft_add_slices makes the results */
    }
    product->round_bands = round_bands(product, n_columns);
    /* Many units want all warps that a multiprocessor can have. Few are over sooner if the next kernel's block fits beside this
     * one's, and has its first weights when it may begin. */
    int64_t units = n_bands * (product->gated ? 2 : 1) * weft_few_units(product) * groups;
    bool is_long = units * product->slot_bytes > (int64_t)device->multiprocessors * LONG_BYTES;
    int n_warps = is_long ? WEFT_FEW_WARPS : SHORT_WARPS, bytes = choose_slots(device, product, n_columns, &n_warps);
    int64_t blocks = device->multiprocessors * (is_long && bytes <= half_of_shared(device) ? 2 : 1) / groups;
    blocks = blocks < 1 ? 1 : blocks < n_bands ? blocks : n_bands;
    if (product->keys != 0 && blocks <= MOST_KEY_BLOCKS) product->n_keys = blocks * WEFT_FEW_KEYS;
    product->places = weft_few_places_of(product, n_columns, n_warps);
    product->block_bands = (int32_t)(n_bands / blocks);
    product->n_longer = (int32_t)(n_bands % blocks);
    uint32_t threads = (uint32_t)((n_warps + WEFT_FEW_FINISHERS) * WEFT_CUDA_WARP);
    weft_cuda_shape shape = {{blocks, groups}, threads, (uint32_t)bytes};
    weft_cuda_launch(recorder, "products", "weft_product_few", shape, product);
    return product->block_slices != product->n_slices;
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
        has_slices = record_few(recorder, product);
    else if (weft_cuda_has_wide(weft_cuda_recorder_device(recorder)))
        has_slices = weft_cuda_record_wide(recorder, product, scratch);
    else
        record_tiles(recorder, product);
    if (!has_slices) return;
    int64_t rows = (int64_t)product->n_bands * WEFT_UNIT_ROWS, n_groups = product->n_columns;
    if (n_groups > MOST_FEW) n_groups = weft_cuda_ceil(n_groups, ADDED_COLUMNS);
    weft_cuda_launch(recorder, "products", "weft_add_slices",
                     weft_cuda_blocks(weft_cuda_ceil(rows, threads), n_groups, (uint32_t)threads), product);
}
