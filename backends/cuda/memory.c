/* Buffers, and copies between them and the host. */
#include <string.h>

#include "backends/cuda/cuda.h"

/* The driver maps device memory in pages of this size. Smaller blocks may share a page. Host memory does not count. */
#define PAGE_BYTES ((uint64_t)2 << 20)

uint64_t weft_cuda_buffer_address(weft_backend_device *device, const weft_backend_buffer *buffer) {
    (void)device;
    return buffer->address;
}

uint64_t weft_cuda_buffer_bytes_used(weft_backend_device *device, weft_memory memory, uint64_t bytes) {
    (void)device;
    return memory == WEFT_MEMORY_RING ? 0 : (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static weft_status allocate_memory(weft_backend_device *device, weft_memory kind, weft_backend_buffer *buffer, weft_error *error) {
    const weft_cuda_driver *driver = &device->driver;
    size_t bytes = (size_t)buffer->bytes;
    if (kind == WEFT_MEMORY_RING) {
        void *view = NULL;
        weft_status status = weft_cuda_result_of(device, driver->host_allocate(&view, bytes, WEFT_CUDA_HOST_MAPPED),
                                                 "allocate memory that host and device share", error);
        if (status != WEFT_OK) return status;
        buffer->view = view;
        memset(view, 0, bytes);
        return weft_cuda_result_of(device, driver->host_address(&buffer->address, view, 0), "map host memory", error);
    }
    weft_cuda_result result = driver->memory_allocate(&buffer->address, bytes);
    if (result == WEFT_CUDA_OUT_OF_MEMORY)
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: the device has no %.1f MiB of free memory",
                                  (double)bytes / 1048576.0);
    weft_status status = weft_cuda_result_of(device, result, "allocate memory", error);
    if (status != WEFT_OK) return status;
    return weft_cuda_result_of(device, driver->fill(buffer->address, 0, bytes, device->stream), "clear memory", error);
}

static void free_memory(weft_backend_device *device, const weft_backend_buffer *buffer) {
    if (buffer->view != NULL)
        device->driver.host_free(buffer->view);
    else if (buffer->address != 0)
        device->driver.memory_free(buffer->address);
}

weft_status weft_cuda_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                    weft_error *error) {
    const weft_host *host = device->host;
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    weft_backend_buffer *made = host->allocate(host->user, sizeof *made, 64);
    if (made == NULL) {
        weft_cuda_leave(device);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: no memory for a buffer's description");
    }
    *made = (weft_backend_buffer){.bytes = bytes > 0 ? bytes : 1};
    status = allocate_memory(device, memory, made, error);
    if (status == WEFT_OK) {
        *buffer = made;
    } else {
        free_memory(device, made);
        host->release(host->user, made, sizeof *made);
    }
    weft_cuda_leave(device);
    return status;
}

void weft_cuda_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer) {
    if (weft_cuda_enter_to_free(device)) {
        free_memory(device, buffer);
        weft_cuda_leave(device);
    }
    device->host->release(device->host->user, buffer, sizeof *buffer);
}

void *weft_cuda_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer) {
    (void)device;
    return buffer->view;
}

/* ---- Copies ---- */

/* For a piece of the staging ring, the copy may still run when this returns: stream order keeps it before later work. */
static weft_status write_staged(weft_backend_device *device, uint64_t to, const void *from, size_t bytes, size_t piece,
                                weft_error *error) {
    const weft_cuda_driver *driver = &device->driver;
    weft_cuda_result result = driver->copy_to_device(to, from, bytes, device->stream);
    if (result == WEFT_CUDA_SUCCESS) result = driver->event_record(device->staging.used[piece], device->stream);
    return weft_cuda_result_of(device, result, "write to the device", error);
}

/* All bytes have been read from the caller's memory when this returns. They reach the device in stream order, before all work that
 * is submitted later. */
static weft_status write_pieces(weft_backend_device *device, uint64_t to, const char *from, size_t bytes, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t done = 0, count; done < bytes && status == WEFT_OK; done += count) {
        size_t piece = 0;
        count = bytes - done < WEFT_CUDA_PIECE_BYTES ? bytes - done : WEFT_CUDA_PIECE_BYTES;
        status = weft_cuda_ring_take(device, &device->copies, count, &piece, error);
        if (status != WEFT_OK) break;
        char *memory = weft_cuda_ring_piece(&device->copies, piece);
        memcpy(memory, from + done, count);
        weft_cuda_result result = device->driver.copy_to_device(to + done, memory, count, device->stream);
        if (result == WEFT_CUDA_SUCCESS) result = device->driver.event_record(device->copies.used[piece], device->stream);
        status = weft_cuda_result_of(device, result, "write to the device", error);
    }
    return status;
}

weft_status weft_cuda_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                            size_t bytes, weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    size_t piece = 0;
    if (buffer->view != NULL) {
        status = weft_cuda_result_of(device, device->driver.stream_synchronise(device->stream), "wait for its work", error);
        if (status == WEFT_OK) memcpy(buffer->view + offset, from, bytes);
    } else if (weft_cuda_ring_find(&device->staging, from, &piece)) {
        status = write_staged(device, buffer->address + offset, from, bytes, piece, error);
    } else {
        status = write_pieces(device, buffer->address + offset, from, bytes, error);
    }
    weft_cuda_leave(device);
    return status;
}

static weft_status read_pieces(weft_backend_device *device, char *into, uint64_t from, size_t bytes, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t done = 0, count; done < bytes && status == WEFT_OK; done += count) {
        size_t piece = 0;
        count = bytes - done < WEFT_CUDA_PIECE_BYTES ? bytes - done : WEFT_CUDA_PIECE_BYTES;
        status = weft_cuda_ring_take(device, &device->copies, count, &piece, error);
        if (status != WEFT_OK) break;
        char *memory = weft_cuda_ring_piece(&device->copies, piece);
        weft_cuda_result result = device->driver.copy_to_host(memory, from + done, count, device->stream);
        if (result == WEFT_CUDA_SUCCESS) result = device->driver.stream_synchronise(device->stream);
        status = weft_cuda_result_of(device, result, "read from the device", error);
        if (status == WEFT_OK) memcpy(into + done, memory, count);
    }
    return status;
}

weft_status weft_cuda_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                           weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    if (buffer->view != NULL) {
        status = weft_cuda_result_of(device, device->driver.stream_synchronise(device->stream), "wait for its work", error);
        if (status == WEFT_OK) memcpy(into, buffer->view + offset, bytes);
    } else {
        status = read_pieces(device, into, buffer->address + offset, bytes, error);
    }
    weft_cuda_leave(device);
    return status;
}
