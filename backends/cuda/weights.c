/* Which layout a weight gets, and packing it: on the device, which reads the file's rows from host memory. */
#include <string.h>

#include "backends/cuda/launch.h"
#include "kernels/layout.h"

#define UNITS_A_THREAD 8 /* of 2 bytes: kernels/pack.cu */
#define BLOCKS_EACH 8    /* of 256 threads, a multiprocessor */

void weft_cuda_weight_layout(weft_backend_device *device, const weft_tensor *weight, const weft_use *uses, size_t n_uses,
                             weft_layout *layout) {
    (void)device;
    if (weight->type != WEFT_Q6_K) return;
    for (size_t i = 0; i < n_uses; i++) {
        const weft_cuda_op *op = weft_cuda_op_get(uses[i].op);
        if (op == NULL || !op->reads_layouts) return;
    }
    int64_t n_rows = weight->shape[1] * weight->shape[2] * weight->shape[3];
    *layout = (weft_layout){.id = WEFT_CUDA_Q6_K_PLANAR,
                            .bytes = (uint64_t)(n_rows * weft_q6_k_row_bytes(weight->shape[0] / 256)),
                            .name = "q6_k planar"};
}

/* Rows that are in a piece of `ring`. */
static weft_status pack_piece(weft_backend_device *device, weft_cuda_ring *ring, size_t piece, uint64_t to, int64_t n_rows,
                              int64_t n_blocks, weft_error *error) {
    weft_cuda_packing packing = {
        .from = ring->address + piece * ring->piece_bytes, .to = to, .n_rows = n_rows, .n_blocks = n_blocks};
    void *arguments[] = {&packing};
    weft_cuda_function kernel = NULL;
    weft_status status = weft_cuda_find_kernel(device, "pack", "weft_pack_q6_k", &kernel, error);
    if (status != WEFT_OK) return status;
    int64_t n_units = n_rows * n_blocks * WEFT_Q6_K_UNITS, most = (int64_t)device->multiprocessors * BLOCKS_EACH;
    int64_t blocks = weft_cuda_ceil(n_units, UNITS_A_THREAD * 256);
    weft_cuda_result result = device->driver.launch(kernel, (unsigned)(blocks < most ? blocks : most), 1, 1, 256, 1, 1, 0,
                                                    device->stream, arguments, NULL);
    if (result == WEFT_CUDA_SUCCESS) result = device->driver.event_record(ring->used[piece], device->stream);
    return weft_cuda_result_of(device, result, "pack a weight", error);
}

/* Rows that are anywhere: through pieces of the device's own. */
static weft_status pack_pageable(weft_backend_device *device, const char *from, uint64_t to, int64_t n_rows, int64_t n_blocks,
                                 weft_error *error) {
    size_t row_bytes = (size_t)(n_blocks * WEFT_Q6_K_UNITS * 2), fit = WEFT_CUDA_PIECE_BYTES / row_bytes;
    int64_t most = fit > 0 ? (int64_t)fit : 1;
    weft_status status = WEFT_OK;
    for (int64_t row = 0, count; row < n_rows && status == WEFT_OK; row += count) {
        size_t piece = 0, bytes;
        count = n_rows - row < most ? n_rows - row : most;
        bytes = (size_t)count * row_bytes;
        status = weft_cuda_ring_take(device, &device->copies, bytes, &piece, error);
        if (status != WEFT_OK) break;
        memcpy(weft_cuda_ring_piece(&device->copies, piece), from + (size_t)row * row_bytes, bytes);
        status = pack_piece(device, &device->copies, piece, to + (uint64_t)(row * weft_q6_k_row_bytes(n_blocks)), count, n_blocks,
                            error);
    }
    return status;
}

weft_status weft_cuda_weight_pack(weft_backend_device *device, const weft_tensor *weight, const weft_layout *layout,
                                  weft_backend_buffer *buffer, uint64_t offset, int64_t first_row, int64_t n_rows, const void *from,
                                  weft_error *error) {
    (void)layout; /* there is one */
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    int64_t n_blocks = weight->shape[0] / 256;
    uint64_t to = buffer->address + offset + (uint64_t)(first_row * weft_q6_k_row_bytes(n_blocks));
    size_t piece = 0;
    if (weft_cuda_ring_find(&device->staging, from, &piece))
        status = pack_piece(device, &device->staging, piece, to, n_rows, n_blocks, error);
    else
        status = pack_pageable(device, from, to, n_rows, n_blocks, error);
    weft_cuda_leave(device);
    return status;
}
