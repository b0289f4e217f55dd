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

static uint64_t measure_q8_0_units(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)device;
    (void)n_weights;
    const int64_t *shape = weights[0]->shape;
    if (shape[0] % WEFT_UNIT_VALUES != 0 || shape[2] * shape[3] > 1) return 0;
    return (uint64_t)(weft_unit_bands(shape[1]) * (shape[0] / WEFT_UNIT_VALUES) * WEFT_Q8_0_UNIT_BYTES);
}

const weft_kernel_layout weft_cuda_layouts[WEFT_CUDA_N_LAYOUTS] = {
    {.layout = {.id = WEFT_CUDA_Q6_K_PLANAR, .name = "q6_k planar"},
     .types = WEFT_TYPE_BIT(WEFT_Q6_K),
     .n_weights = 1,
     .measure = measure_q6_k_planar},
    {.layout = {.id = WEFT_CUDA_Q8_0_UNITS, .rows_at_once = WEFT_UNIT_ROWS, .name = "q8_0 units"},
     .types = WEFT_TYPE_BIT(WEFT_Q8_0),
     .n_weights = 1,
     .measure = measure_q8_0_units},
};

/* ---- Packing ---- */

/* Rows to pack: the device's addresses of the source and the destination. */
typedef struct rows {
    uint64_t from, to;
    int64_t n, k;
} rows;

static weft_status launch(weft_backend_device *device, const char *entry, void *argument, int64_t n_threads, weft_error *error) {
    weft_cuda_function kernel = NULL;
    weft_status status = weft_cuda_find_kernel(device, "pack", entry, &kernel, error);
    if (status != WEFT_OK) return status;
    void *arguments[] = {argument};
    int64_t blocks = weft_cuda_ceil(n_threads, 256), most = (int64_t)device->multiprocessors * BLOCKS_EACH;
    weft_cuda_result result = device->driver.launch(kernel, (unsigned)(blocks < most ? blocks : most), 1, 1, 256, 1, 1, 0,
                                                    device->stream, arguments, NULL);
    return weft_cuda_result_of(device, result, "pack a weight", error);
}

static weft_status pack_q6_k_planar(weft_backend_device *device, const rows *r, weft_error *error) {
    const int64_t units_a_thread = 8; /* of 2 bytes: kernels/pack.cu */
    weft_cuda_packing packing = {.from = r->from, .to = r->to, .n_rows = r->n, .n_blocks = r->k / 256};
    int64_t n_units = r->n * packing.n_blocks * WEFT_Q6_K_UNITS;
    return launch(device, "weft_pack_q6_k", &packing, weft_cuda_ceil(n_units, units_a_thread), error);
}

static int64_t q6_k_planar_bytes(int64_t k, int64_t n_rows) {
    return n_rows * weft_q6_k_row_bytes(k / 256);
}

static weft_status pack_q8_0_units(weft_backend_device *device, const rows *r, weft_error *error) {
    weft_cuda_unit_packing packing = {.from = r->from, .to = r->to, .n_rows = r->n, .n_units = r->k / WEFT_UNIT_VALUES};
    return launch(device, "weft_pack_q8_0_units", &packing, r->n * r->k / 32, error);
}

static int64_t q8_0_units_bytes(int64_t k, int64_t n_rows) {
    return n_rows / WEFT_UNIT_ROWS * (k / WEFT_UNIT_VALUES) * WEFT_Q8_0_UNIT_BYTES;
}

/* How rows are packed into a layout. The first row is a multiple of rows_at_once. */
static const struct packer {
    weft_status (*pack)(weft_backend_device *device, const rows *r, weft_error *error);
    int64_t (*bytes)(int64_t k, int64_t n_rows); /* of n_rows packed rows */
    int64_t block_values, block_bytes;           /* in the file */
} packers[] = {
    [WEFT_CUDA_Q6_K_PLANAR] = {pack_q6_k_planar, q6_k_planar_bytes, 256, 210},
    [WEFT_CUDA_Q8_0_UNITS] = {pack_q8_0_units, q8_0_units_bytes, 32, WEFT_Q8_0_BLOCK_BYTES},
};

/* Packs rows that are in a piece of `ring`. */
static weft_status pack_piece(weft_backend_device *device, const struct packer *packer, weft_cuda_ring *ring, size_t piece,
                              const rows *r, weft_error *error) {
    rows here = *r;
    here.from = ring->address + piece * ring->piece_bytes;
    weft_status status = packer->pack(device, &here, error);
    if (status != WEFT_OK) return status;
    weft_cuda_result result = device->driver.event_record(ring->used[piece], device->stream);
    return weft_cuda_result_of(device, result, "pack a weight", error);
}

/* Packs rows that are anywhere in host memory: copies them into pieces, in whole groups of rows_at_once rows. */
static weft_status pack_pageable(weft_backend_device *device, const struct packer *packer, const weft_packing *packing,
                                 const rows *all, weft_error *error) {
    size_t row_bytes = (size_t)(all->k / packer->block_values * packer->block_bytes), fit = WEFT_CUDA_PIECE_BYTES / row_bytes;
    int64_t unit = packing->layout->rows_at_once > 0 ? packing->layout->rows_at_once : 1, most = (int64_t)fit / unit * unit;
    if (most == 0) most = unit;
    weft_status status = WEFT_OK;
    for (int64_t row = 0; row < all->n && status == WEFT_OK; row += most) {
        rows some = {
            .to = all->to + (uint64_t)packer->bytes(all->k, row), .n = all->n - row < most ? all->n - row : most, .k = all->k};
        size_t piece = 0, bytes = (size_t)some.n * row_bytes;
        status = weft_cuda_ring_take(device, &device->copies, bytes, &piece, error);
        if (status != WEFT_OK) break;
        memcpy(weft_cuda_ring_piece(&device->copies, piece), (const char *)packing->from + (size_t)row * row_bytes, bytes);
        status = pack_piece(device, packer, &device->copies, piece, &some, error);
    }
    return status;
}

weft_status weft_cuda_weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    const struct packer *packer = &packers[packing->layout->id];
    int64_t k = packing->weight->shape[0];
    rows r = {.to = packing->buffer->address + packing->offset + (uint64_t)packer->bytes(k, packing->first_row),
              .n = packing->n_rows,
              .k = k};
    size_t piece = 0;
    if (weft_cuda_ring_find(&device->staging, packing->from, &piece))
        status = pack_piece(device, packer, &device->staging, piece, &r, error);
    else
        status = pack_pageable(device, packer, packing, &r, error);
    weft_cuda_leave(device);
    return status;
}
