/* Giving a store its memory and its weights. */
#include "core/step.h"
#include "core/store.h"

/* Weights are read in pieces of about this size. A piece is small enough to stay in the CPU's cache until it is packed, and for
 * progress and cancelling to react quickly. It is large enough to be read at full speed. */
#define PIECE_BYTES ((uint64_t)4 << 20)

typedef struct loader {
    weft_store *store;
    const weft_weight_source *source;
    void *piece;  /* memory for the next piece; NULL while all weights are read directly into their places */
    void *memory; /* used if the device has no staging memory for this load; PIECE_BYTES or the largest piece */
    size_t memory_bytes;
    bool staged; /* the device's staging memory was used */
    uint64_t done, total;
} loader;

/* ---- Progress ---- */

static weft_status advance(loader *load, uint64_t bytes, weft_error *error) {
    const weft_store_options *options = &load->store->options;
    load->done += bytes;
    if (!options->progress || options->progress(options->progress_user, load->done, load->total)) return WEFT_OK;
    return weft_fail(error, WEFT_CANCELLED, "loading was cancelled after %.1f of %.1f MiB", weft_mib(load->done),
                     weft_mib(load->total));
}

/* ---- Memory ---- */

static weft_status check_memory(weft_store *store, weft_error *error) {
    weft_device *device = store->device;
    weft_error message = {0};
    weft_store_bytes need;
    uint64_t total = 0, free_bytes = 0;
    weft_store_measure(store, &need);
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK) status = device->backend->memory_info(device->handle, &total, &free_bytes, &message);
    status = weft_device_unlock(device, status, &message, error);
    if (status != WEFT_OK || total == 0 || need.bytes_used <= free_bytes) return status;
    return weft_fail(error, WEFT_OUT_OF_MEMORY,
                     "%s has %.1f MiB free and %.1f MiB are needed: weights %.1f + states %.1f + activations %.1f + rings %.1f%s",
                     device->info.id[0] ? device->info.id : device->info.backend, weft_mib(free_bytes), weft_mib(need.bytes_used),
                     weft_mib(need.weights), weft_mib(need.states), weft_mib(need.arena), weft_mib(need.rings),
                     need.bytes_used == need.total ? "" : ", as the device gives memory");
}

static weft_status create_buffer(weft_store *store, weft_store_buffer *buffer, weft_error *error) {
    weft_device *device = store->device;
    weft_error message = {0};
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK)
        status = device->backend->buffer_create(device->handle, buffer->memory, buffer->bytes, &buffer->handle, &message);
    if (status != WEFT_OK) buffer->handle = NULL;
    if (status == WEFT_OK && !buffer->handle) {
        status = weft_fail(&message, WEFT_FAILED, "the %s backend made no buffer", device->backend->name);
    }
    if (status == WEFT_OK && device->backend->buffer_address)
        buffer->address = device->backend->buffer_address(device->handle, buffer->handle);
    return weft_device_unlock(device, status, &message, error);
}

/* The host's view of a buffer, or NULL. */
static char *map(weft_store *store, size_t buffer) {
    weft_device *device = store->device;
    weft_os_mutex_lock(&device->mutex);
    char *view = device->backend->buffer_map(device->handle, store->buffers[buffer].handle);
    weft_os_mutex_unlock(&device->mutex);
    return view;
}

/* A driver may need long to clear a buffer. So a cancel is looked for before each of them. */
static weft_status create_buffers(loader *load, weft_error *error) {
    weft_store *store = load->store;
    for (size_t i = 0; i < store->n_buffers; i++) {
        weft_status status = advance(load, 0, error);
        if (status == WEFT_OK) status = create_buffer(store, &store->buffers[i], error);
        if (status != WEFT_OK) return status;
    }
    store->steps = map(store, store->step_ring);
    store->results = map(store, store->result_ring);
    if (store->steps && store->results) return WEFT_OK;
    return weft_fail(error, WEFT_FAILED, "the %s backend does not map its rings for the host", store->device->backend->name);
}

void weft_store_unload(weft_store *store) {
    weft_device *device = store->device;
    weft_os_mutex_lock(&device->mutex);
    for (size_t i = store->n_buffers; i-- > 0;) {
        if (store->buffers[i].handle) device->backend->buffer_destroy(device->handle, store->buffers[i].handle);
        store->buffers[i].handle = NULL;
    }
    weft_os_mutex_unlock(&device->mutex);
    store->loaded = false;
    store->steps = store->results = NULL;
}

/* ---- Weights ---- */

/* The rows of a piece: as many as fit, but at least rows_at_once, and a multiple of it. */
static int64_t rows_of_piece(const weft_resident *weight) {
    int64_t unit = weight->layout.rows_at_once, n_rows = weft_tensor_rows(&weight->tensor);
    if (unit > n_rows) return n_rows;
    int64_t units = (int64_t)(PIECE_BYTES / weft_tensor_row_bytes(&weight->tensor)) / unit;
    int64_t rows = (units ? units : 1) * unit;
    return rows < n_rows ? rows : n_rows;
}

/* ---- Pieces on their way ---- */

static weft_status reserve_memory(loader *load, uint64_t bytes, weft_error *error) {
    const weft_host *host = &load->store->device->runtime->host;
    load->piece = load->memory;
    if (bytes <= load->memory_bytes) return WEFT_OK;
    if (load->memory) host->release(host->user, load->memory, load->memory_bytes);
    load->memory_bytes = 0;
    load->memory = bytes <= SIZE_MAX ? host->allocate(host->user, (size_t)bytes, 64) : NULL;
    if (!load->memory) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to read %.1f MiB of a weight", weft_mib(bytes));
    load->memory_bytes = (size_t)bytes;
    load->piece = load->memory;
    return WEFT_OK;
}

/* Memory for the next piece. The device's staging memory lets a piece travel while the next one is read. If there is none, or if
 * another load uses it, this is the loader's own memory. */
static weft_status take_piece(loader *load, uint64_t bytes, weft_error *error) {
    weft_device *device = load->store->device;
    if (!device->backend->stage) return reserve_memory(load, bytes, error);
    weft_error message = {0};
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK && !device->stager) device->stager = load;
    load->staged = device->stager == load;
    load->piece = NULL;
    if (status == WEFT_OK && load->staged) {
        status = device->backend->stage(device->handle, bytes, &load->piece, &message);
        if (status == WEFT_OK && !load->piece)
            status = weft_fail(&message, WEFT_FAILED, "the %s backend returned no staging memory", device->backend->name);
    }
    status = weft_device_unlock(device, status, &message, error);
    return status != WEFT_OK || load->staged ? status : reserve_memory(load, bytes, error);
}

/* Returns the device's staging memory, after failures too. A transfer that failed later is reported here. */
static weft_status end_pieces(loader *load, weft_status status, weft_error *error) {
    weft_device *device = load->store->device;
    const weft_host *host = &device->runtime->host;
    if (load->memory) host->release(host->user, load->memory, load->memory_bytes);
    if (!load->staged) return status;
    weft_error message = {0};
    weft_os_mutex_lock(&device->mutex);
    weft_status ending = device->backend->stage(device->handle, 0, NULL, &message);
    device->stager = NULL;
    ending = weft_device_unlock(device, ending, &message, status != WEFT_OK ? NULL : error);
    return status != WEFT_OK ? status : ending;
}

static weft_status read_rows(loader *load, const weft_resident *weight, int64_t first_row, int64_t n_rows, void *into,
                             weft_error *error) {
    return weft_slice_read(load->source, weight->name, &weight->tensor, weight->slice, first_row, n_rows, into, error);
}

/* One piece of a weight, from the file to its place. */
static weft_status put_piece(loader *load, const weft_resident *weight, int64_t first_row, int64_t n_rows, weft_error *error) {
    weft_device *device = load->store->device;
    weft_backend_buffer *buffer = load->store->buffers[weight->buffer].handle;
    uint64_t stride = weft_tensor_row_bytes(&weight->tensor), offset = (uint64_t)first_row * stride,
             bytes = (uint64_t)n_rows * stride;
    weft_status status = take_piece(load, bytes, error);
    if (status == WEFT_OK) status = read_rows(load, weight, first_row, n_rows, load->piece, error);
    if (status != WEFT_OK) return status;
    weft_error message = {0};
    status = weft_device_lock(device, &message);
    if (status == WEFT_OK && weight->layout.id == WEFT_LAYOUT_FILE) {
        status = device->backend->write(device->handle, buffer, weight->offset + offset, load->piece, (size_t)bytes, &message);
    } else if (status == WEFT_OK && !device->backend->weight_pack) {
        status = weft_fail(&message, WEFT_FAILED, "the %s backend chose a layout and cannot pack it", device->backend->name);
    } else if (status == WEFT_OK) {
        const weft_packing packing = {.weight = &weight->tensor,
                                      .layout = &weight->layout,
                                      .member = weight->member,
                                      .n_members = weight->n_members,
                                      .buffer = buffer,
                                      .offset = weight->offset,
                                      .first_row = first_row,
                                      .n_rows = n_rows,
                                      .from = load->piece};
        status = device->backend->weight_pack(device->handle, &packing, &message);
    }
    return weft_device_unlock(device, status, &message, error);
}

/* `view`: the host's view of the weight's place, or NULL. */
static weft_status load_weight(loader *load, const weft_resident *weight, char *view, weft_error *error) {
    int64_t n_rows = weft_tensor_rows(&weight->tensor), piece = rows_of_piece(weight);
    uint64_t stride = weft_tensor_row_bytes(&weight->tensor);
    weft_status status = WEFT_OK;
    for (int64_t row = 0; row < n_rows && status == WEFT_OK; row += piece) {
        int64_t rows = n_rows - row < piece ? n_rows - row : piece;
        status = view ? read_rows(load, weight, row, rows, view + (uint64_t)row * stride, error)
                      : put_piece(load, weight, row, rows, error);
        if (status == WEFT_OK) status = advance(load, (uint64_t)rows * stride, error);
    }
    return status;
}

static weft_status load_weights(loader *load, weft_error *error) {
    weft_store *store = load->store;
    weft_status status = advance(load, 0, error);
    for (size_t i = 0; i < store->residents.n && status == WEFT_OK; i++) {
        const weft_resident *resident = &store->residents.items[i];
        if (resident->leaf != WEFT_LEAF_WEIGHT) continue;
        /* If the device uses host memory, a weight with the file's layout is read directly into its place. */
        bool direct = resident->layout.id == WEFT_LAYOUT_FILE && store->device->info.host_memory;
        char *view = direct ? map(store, resident->buffer) : NULL;
        status = load_weight(load, resident, view ? view + resident->offset : NULL, error);
    }
    return status;
}

weft_status weft_store_load(weft_store *store, const weft_weight_source *source, weft_error *error) {
    if (!store) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a store is needed");
    if (store->loaded) return weft_fail(error, WEFT_INVALID_ARGUMENT, "the store has been loaded already");
    if (source && weft_require_zero("source.reserved", source->reserved, sizeof source->reserved, error) != WEFT_OK)
        return WEFT_INVALID_ARGUMENT;
    loader load = {.store = store, .source = source};
    for (size_t i = 0; i < store->residents.n; i++) {
        if (store->residents.items[i].leaf == WEFT_LEAF_WEIGHT) load.total += weft_tensor_bytes(&store->residents.items[i].tensor);
    }
    if (load.total > 0 && (!source || !source->read)) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the store has weights: a source to read them from is needed");
    }
    weft_status status = check_memory(store, error);
    if (status != WEFT_OK) return status;
    status = create_buffers(&load, error);
    if (status == WEFT_OK) status = end_pieces(&load, load_weights(&load, error), error);
    if (status != WEFT_OK) {
        weft_store_unload(store);
        return status;
    }
    store->loaded = true;
    return WEFT_OK;
}

/* ---- States ---- */

static weft_status reach_state(weft_store *store, const char *name, uint64_t offset, const void *memory, size_t size,
                               const weft_resident **state, weft_error *error) {
    if (!store || !name || !store->loaded || (!memory && size > 0)) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a loaded store, a state's name and memory for its bytes are needed");
    }
    const weft_resident *found = weft_residents_find(&store->residents, name);
    if (!found || found->leaf != WEFT_LEAF_STATE) {
        return weft_fail(error, WEFT_NOT_FOUND, "the store has no state \"%.60s\"", name);
    }
    uint64_t bytes = found->layout.bytes;
    if (offset > bytes || size > bytes - offset) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "bytes %llu to %llu are outside state \"%s\" of %llu bytes",
                         (unsigned long long)offset, (unsigned long long)(offset + size), name, (unsigned long long)bytes);
    }
    *state = found;
    return weft_steps_drain(store, error);
}

weft_status weft_store_read_state(weft_store *store, const char *name, uint64_t offset, void *into, size_t size,
                                  weft_error *error) {
    const weft_resident *state = NULL;
    weft_status status = reach_state(store, name, offset, into, size, &state, error);
    if (status != WEFT_OK || size == 0) return status;
    weft_device *device = store->device;
    weft_error message = {0};
    status = weft_device_lock(device, &message);
    if (status == WEFT_OK) {
        status = device->backend->read(device->handle, store->buffers[state->buffer].handle, state->offset + offset, into, size,
                                       &message);
    }
    return weft_device_unlock(device, status, &message, error);
}

weft_status weft_store_write_state(weft_store *store, const char *name, uint64_t offset, const void *from, size_t size,
                                   weft_error *error) {
    const weft_resident *state = NULL;
    weft_status status = reach_state(store, name, offset, from, size, &state, error);
    if (status != WEFT_OK || size == 0) return status;
    weft_device *device = store->device;
    weft_error message = {0};
    status = weft_device_lock(device, &message);
    if (status == WEFT_OK) {
        status = device->backend->write(device->handle, store->buffers[state->buffer].handle, state->offset + offset, from, size,
                                        &message);
    }
    return weft_device_unlock(device, status, &message, error);
}
