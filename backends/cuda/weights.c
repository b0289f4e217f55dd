/* The list of layouts, and packing. The device packs: it reads the file's rows from host memory. */
#include <string.h>

#include "backends/cuda/launch.h"
#include "kernels/units.h"

#define BLOCKS_EACH 8 /* of 256 threads, a multiprocessor */

static uint64_t measure_q6_k_planar(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)device;
    (void)n_weights;
    const int64_t *shape = weights[0]->shape;
    return (uint64_t)(shape[1] * shape[2] * shape[3] * weft_q6_k_row_bytes(shape[0] / 256));
}

/* The types in units, and how the file stores them. */
static const struct unit_type {
    weft_type type;
    int format;
    int64_t block_values, block_bytes;
} unit_types[] = {{WEFT_Q4_0, WEFT_UNIT_NIBBLES, 32, 18}, {WEFT_Q4_1, WEFT_UNIT_NIBBLES, 32, 20},
                  {WEFT_Q8_0, WEFT_UNIT_Q8_0, 32, 34},    {WEFT_Q4_K, WEFT_UNIT_Q4_K, 256, 144},
                  {WEFT_Q6_K, WEFT_UNIT_Q6_K, 256, 210},  {WEFT_F16, WEFT_UNIT_F16, 32, 64},
                  {WEFT_BF16, WEFT_UNIT_F16, 32, 64}};

static const struct unit_type *unit_type_of(weft_type type) {
    const struct unit_type *found = unit_types;
    while (found->type != type) found++;
    return found;
}

int weft_cuda_unit_format(weft_type type) {
    return unit_type_of(type)->format;
}

static uint64_t measure_units(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)device;
    (void)n_weights;
    const int64_t *shape = weights[0]->shape;
    if (shape[0] % 32 != 0 || shape[2] * shape[3] > 1) return 0;
    return (uint64_t)weft_unit_powers_at(unit_type_of(weights[0]->type)->format, shape[0], shape[1]) +
           (uint64_t)weft_unit_bands(shape[1]) * WEFT_UNIT_ROWS * sizeof(float);
}

const weft_kernel_layout weft_cuda_layouts[WEFT_CUDA_N_LAYOUTS] = {
    {.layout = {.id = WEFT_CUDA_UNITS, .rows_at_once = WEFT_UNIT_ROWS, .name = "units"},
     .types = WEFT_CUDA_UNIT_TYPES,
     .n_weights = 1,
     .measure = measure_units},
    {.layout = {.id = WEFT_CUDA_Q6_K_PLANAR, .name = "q6_k planar"},
     .types = WEFT_TYPE_BIT(WEFT_Q6_K),
     .n_weights = 1,
     .measure = measure_q6_k_planar},
};

/* ---- Packing ---- */

/* Rows to pack: `from` is the device's address of the first, `weight` that of the whole packed weight. */
typedef struct rows {
    const weft_tensor *tensor;
    uint64_t from, weight;
    int64_t first, n;
} rows;

static weft_status launch(weft_backend_device *device, const char *file, const char *entry, void *argument, int64_t n_threads,
                          uint32_t block, weft_error *error) {
    weft_cuda_function kernel = NULL;
    weft_status status = weft_cuda_find_kernel(device, file, entry, &kernel, error);
    if (status != WEFT_OK) return status;
    void *arguments[] = {argument};
    int64_t blocks = weft_cuda_ceil(n_threads, block), most = (int64_t)device->multiprocessors * BLOCKS_EACH;
    weft_cuda_result result = device->driver.launch(kernel, (unsigned)(blocks < most ? blocks : most), 1, 1, block, 1, 1, 0,
                                                    device->stream, arguments, NULL);
    return weft_cuda_result_of(device, result, "pack a weight", error);
}

static weft_status pack_q6_k_planar(weft_backend_device *device, const rows *r, weft_error *error) {
    const int64_t units_a_thread = 8; /* of 2 bytes: kernels/pack.cu */
    int64_t n_blocks = r->tensor->shape[0] / 256;
    weft_cuda_packing packing = {.from = r->from,
                                 .to = r->weight + (uint64_t)(r->first * weft_q6_k_row_bytes(n_blocks)),
                                 .n_rows = r->n,
                                 .n_blocks = n_blocks};
    int64_t n_units = r->n * n_blocks * WEFT_Q6_K_UNITS;
    return launch(device, "pack", "weft_pack_q6_k", &packing, weft_cuda_ceil(n_units, units_a_thread), 256, error);
}

static weft_status pack_units(weft_backend_device *device, const rows *r, weft_error *error) {
    const uint32_t block = 128; /* kernels/fast/pack_units.cu */
    const struct unit_type *type = unit_type_of(r->tensor->type);
    int64_t k = r->tensor->shape[0], n_units = weft_units_of(k), n_bands = weft_unit_bands(r->n);
    weft_cuda_unit_packing packing = {
        .from = r->from,
        .to = r->weight + (uint64_t)(r->first / WEFT_UNIT_ROWS * n_units * weft_unit_bytes(type->format)),
        .powers =
            r->weight + (uint64_t)weft_unit_powers_at(type->format, k, r->tensor->shape[1]) + (uint64_t)r->first * sizeof(float),
        .n_rows = r->n,
        .k = k,
        .row_bytes = k / type->block_values * type->block_bytes,
        .type = (int32_t)type->type,
        .format = type->format,
    };
    weft_status status =
        launch(device, "pack_units", "weft_pack_units", &packing, n_bands * n_units * WEFT_CUDA_WARP, block, error);
    if (status != WEFT_OK) return status;
    return launch(device, "pack_units", "weft_scale_units", &packing, n_bands * WEFT_UNIT_ROWS * WEFT_CUDA_WARP, block, error);
}

/* How rows are packed into a layout. The first row is a multiple of rows_at_once. */
typedef weft_status (*pack_function)(weft_backend_device *device, const rows *r, weft_error *error);
static const pack_function packers[] = {[WEFT_CUDA_Q6_K_PLANAR] = pack_q6_k_planar, [WEFT_CUDA_UNITS] = pack_units};

/* Packs rows that are in a piece of `ring`. */
static weft_status pack_piece(weft_backend_device *device, pack_function pack, weft_cuda_ring *ring, size_t piece, const rows *r,
                              weft_error *error) {
    rows here = *r;
    here.from = ring->address + piece * ring->piece_bytes;
    weft_status status = pack(device, &here, error);
    if (status != WEFT_OK) return status;
    weft_cuda_result result = device->driver.event_record(ring->used[piece], device->stream);
    return weft_cuda_result_of(device, result, "pack a weight", error);
}

/* Packs rows that are anywhere in host memory: copies them into pieces, in whole groups of rows_at_once rows. */
static weft_status pack_pageable(weft_backend_device *device, pack_function pack, const weft_packing *packing, const rows *all,
                                 weft_error *error) {
    const struct unit_type *type = unit_type_of(all->tensor->type);
    size_t row_bytes = (size_t)(all->tensor->shape[0] / type->block_values * type->block_bytes),
           fit = WEFT_CUDA_PIECE_BYTES / row_bytes;
    int64_t unit = packing->layout->rows_at_once > 0 ? packing->layout->rows_at_once : 1, most = (int64_t)fit / unit * unit;
    if (most == 0) most = unit;
    weft_status status = WEFT_OK;
    for (int64_t row = 0; row < all->n && status == WEFT_OK; row += most) {
        rows some = *all;
        some.first += row;
        some.n = all->n - row < most ? all->n - row : most;
        size_t piece = 0, bytes = (size_t)some.n * row_bytes;
        status = weft_cuda_ring_take(device, &device->copies, bytes, &piece, error);
        if (status != WEFT_OK) break;
        memcpy(weft_cuda_ring_piece(&device->copies, piece), (const char *)packing->from + (size_t)row * row_bytes, bytes);
        status = pack_piece(device, pack, &device->copies, piece, &some, error);
    }
    return status;
}

weft_status weft_cuda_weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    pack_function pack = packers[packing->layout->id];
    rows r = {.tensor = packing->weight,
              .weight = packing->buffer->address + packing->offset,
              .first = packing->first_row,
              .n = packing->n_rows};
    size_t piece = 0;
    if (weft_cuda_ring_find(&device->staging, packing->from, &piece))
        status = pack_piece(device, pack, &device->staging, piece, &r, error);
    else
        status = pack_pageable(device, pack, packing, &r, error);
    weft_cuda_leave(device);
    return status;
}
