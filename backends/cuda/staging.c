/* Host memory that the device reads directly: a ring of pieces, each with an event of its last use. */
#include "backends/cuda/cuda.h"

static weft_cuda_result make(weft_backend_device *device, weft_cuda_ring *ring, size_t piece_bytes) {
    const weft_cuda_driver *driver = &device->driver;
    void *memory = NULL;
    weft_cuda_result result = driver->host_allocate(&memory, WEFT_CUDA_N_PIECES * piece_bytes, WEFT_CUDA_HOST_MAPPED);
    if (result != WEFT_CUDA_SUCCESS) return result;
    ring->memory = memory;
    ring->piece_bytes = piece_bytes;
    result = driver->host_address(&ring->address, memory, 0);
    for (size_t i = 0; i < WEFT_CUDA_N_PIECES && result == WEFT_CUDA_SUCCESS; i++)
        result = driver->event_create(&ring->used[i], WEFT_CUDA_EVENT_BLOCKING | WEFT_CUDA_EVENT_NO_TIMING);
    return result;
}

void weft_cuda_ring_destroy(weft_backend_device *device, weft_cuda_ring *ring) {
    for (size_t i = 0; i < WEFT_CUDA_N_PIECES; i++)
        if (ring->used[i] != NULL) device->driver.event_destroy(ring->used[i]);
    if (ring->memory != NULL) device->driver.host_free(ring->memory);
    *ring = (weft_cuda_ring){0};
}

/* Allocates the ring when it is first needed, so a device without weights has none. Allocates it again if its pieces are too
 * small. */
static weft_cuda_result prepare(weft_backend_device *device, weft_cuda_ring *ring, size_t bytes) {
    if (ring->memory != NULL && bytes <= ring->piece_bytes) return WEFT_CUDA_SUCCESS;
    weft_cuda_result result = WEFT_CUDA_SUCCESS;
    if (ring->memory != NULL) result = device->driver.stream_synchronise(device->stream);
    weft_cuda_ring_destroy(device, ring);
    size_t piece_bytes = bytes < WEFT_CUDA_PIECE_BYTES ? WEFT_CUDA_PIECE_BYTES : (bytes + 4095) / 4096 * 4096;
    if (result == WEFT_CUDA_SUCCESS) result = make(device, ring, piece_bytes);
    if (result != WEFT_CUDA_SUCCESS) weft_cuda_ring_destroy(device, ring);
    return result;
}

weft_status weft_cuda_ring_take(weft_backend_device *device, weft_cuda_ring *ring, size_t bytes, size_t *piece, weft_error *error) {
    weft_cuda_result result = bytes > SIZE_MAX / 8 ? WEFT_CUDA_OUT_OF_MEMORY : prepare(device, ring, bytes);
    if (result == WEFT_CUDA_SUCCESS) {
        *piece = ring->next;
        ring->next = (ring->next + 1) % WEFT_CUDA_N_PIECES;
        result = device->driver.event_synchronise(ring->used[*piece]);
    }
    return weft_cuda_result_of(device, result, "use host memory to copy through", error);
}

bool weft_cuda_ring_find(const weft_cuda_ring *ring, const void *memory, size_t *piece) {
    uintptr_t first = (uintptr_t)ring->memory, place = (uintptr_t)memory;
    if (ring->memory == NULL || place < first || place - first >= WEFT_CUDA_N_PIECES * ring->piece_bytes) return false;
    *piece = (place - first) / ring->piece_bytes;
    return true;
}

static weft_status end(weft_backend_device *device, weft_error *error) {
    if (device->staging.memory == NULL) return WEFT_OK;
    weft_cuda_result result = device->driver.context_push(device->context);
    if (result == WEFT_CUDA_SUCCESS) {
        result = device->driver.stream_synchronise(device->stream);
        weft_cuda_ring_destroy(device, &device->staging);
        weft_cuda_leave(device);
    }
    return weft_cuda_result_of(device, result, "copy to the device", error);
}

weft_status weft_cuda_stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error) {
    if (bytes == 0) return end(device, error);
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    size_t piece = 0, size = bytes > SIZE_MAX ? SIZE_MAX : (size_t)bytes;
    status = weft_cuda_ring_take(device, &device->staging, size, &piece, error);
    if (status == WEFT_OK) *memory = weft_cuda_ring_piece(&device->staging, piece);
    weft_cuda_leave(device);
    return status;
}
