/* The buffers of a store: where its weights and states lie in them, and how much memory all of it needs. */
#include "core/store.h"

#include <string.h>

#include "core/place.h"

/* Weights and states are divided among buffers of at most this size, since some drivers limit the size of an allocation. Only a
 * single weight or state that is larger gets a larger buffer. */
#define LARGEST_BUFFER ((uint64_t)1 << 30)

uint64_t weft_aligned(uint64_t bytes) {
    return (bytes + WEFT_PLACE_ALIGNMENT - 1) / WEFT_PLACE_ALIGNMENT * WEFT_PLACE_ALIGNMENT;
}

double weft_mib(uint64_t bytes) {
    return (double)bytes / (1024.0 * 1024.0);
}

static weft_status out_of_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a store");
}

static size_t add_buffer(weft_store *store, weft_leaf holds, weft_memory memory, uint64_t bytes) {
    store->buffers[store->n_buffers] = (weft_store_buffer){.holds = holds, .memory = memory, .bytes = bytes};
    return store->n_buffers++;
}

static weft_status assign(weft_store *store, weft_leaf kind, uint64_t *total, weft_error *error) {
    size_t buffer = SIZE_MAX;
    for (size_t i = 0; i < store->residents.n; i++) {
        weft_resident *resident = &store->residents.items[i];
        if (resident->leaf != kind || resident->owner != i) continue;
        uint64_t bytes = weft_aligned(resident->layout.bytes);
        if (resident->layout.bytes > INT64_MAX / 4 || *total > INT64_MAX / 4) {
            return weft_fail(error, WEFT_UNSUPPORTED, "the weights and states are larger than can be addressed");
        }
        if (buffer == SIZE_MAX || store->buffers[buffer].bytes + bytes > LARGEST_BUFFER) {
            buffer = add_buffer(store, kind, WEFT_MEMORY_DEVICE, 0);
        }
        resident->buffer = buffer;
        resident->offset = store->buffers[buffer].bytes;
        store->buffers[buffer].bytes += bytes;
        *total += bytes;
    }
    for (size_t i = 0; i < store->residents.n; i++) { /* those that share the place of another */
        weft_resident *resident = &store->residents.items[i];
        resident->buffer = store->residents.items[resident->owner].buffer;
        resident->offset = store->residents.items[resident->owner].offset;
    }
    return WEFT_OK;
}

/* A buffer is never empty, nor is a slot of a ring. */
static uint64_t at_least_one(uint64_t bytes) {
    return bytes ? bytes : WEFT_PLACE_ALIGNMENT;
}

static void measure_buffers(weft_store *store) {
    weft_device *device = store->device;
    weft_os_mutex_lock(&device->mutex);
    for (size_t i = 0; i < store->n_buffers; i++) {
        weft_store_buffer *buffer = &store->buffers[i];
        buffer->bytes_used = device->backend->buffer_bytes_used
                                 ? device->backend->buffer_bytes_used(device->handle, buffer->memory, buffer->bytes)
                                 : buffer->bytes;
    }
    weft_os_mutex_unlock(&device->mutex);
}

weft_status weft_store_plan_buffers(weft_store *store, weft_error *error) {
    uint64_t total = 0, n_slots = store->options.n_slots;
    store->buffers = weft_allocate(store->device->runtime, (store->residents.n + 3) * sizeof *store->buffers);
    if (!store->buffers) return out_of_memory(error);
    weft_status status = assign(store, WEFT_LEAF_WEIGHT, &total, error);
    if (status == WEFT_OK) status = assign(store, WEFT_LEAF_STATE, &total, error);
    if (status != WEFT_OK) return status;
    store->step_stride = at_least_one(store->step_stride);
    store->result_stride = at_least_one(store->result_stride);
    if (store->step_stride > INT64_MAX / 4 / n_slots || store->result_stride > INT64_MAX / 4 / n_slots) {
        return weft_fail(error, WEFT_UNSUPPORTED, "the rings of %u steps are larger than can be addressed", (unsigned)n_slots);
    }
    store->arena = add_buffer(store, WEFT_LEAF_NOT, WEFT_MEMORY_DEVICE, at_least_one(store->arena_bytes));
    store->step_ring = add_buffer(store, WEFT_LEAF_NOT, WEFT_MEMORY_RING, store->step_stride * n_slots);
    store->result_ring = add_buffer(store, WEFT_LEAF_NOT, WEFT_MEMORY_RING, store->result_stride * n_slots);
    measure_buffers(store);
    return WEFT_OK;
}

void weft_store_measure(const weft_store *store, weft_store_bytes *bytes) {
    if (!bytes) return;
    *bytes = (weft_store_bytes){0};
    if (!store) return;
    for (size_t i = 0; i < store->n_buffers; i++) {
        const weft_store_buffer *buffer = &store->buffers[i];
        uint64_t *kind = buffer->holds == WEFT_LEAF_WEIGHT    ? &bytes->weights
                         : buffer->holds == WEFT_LEAF_STATE   ? &bytes->states
                         : buffer->memory == WEFT_MEMORY_RING ? &bytes->rings
                                                              : &bytes->arena;
        *kind += buffer->bytes;
        bytes->total += buffer->bytes;
        bytes->bytes_used += buffer->bytes_used;
    }
    for (size_t i = 0; i < store->residents.n; i++) {
        const weft_resident *resident = &store->residents.items[i];
        if (resident->layout.id != WEFT_LAYOUT_FILE && resident->owner == i) bytes->packed += resident->layout.bytes;
    }
}
