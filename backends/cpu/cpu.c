/* The CPU backend: devices, memory and weights. */
#include <stdio.h>
#include <string.h>

#include "backends/cpu/bandwidth.h"
#include "backends/cpu/queue.h"
#include "backends/cpu/table.h"
#include "os/os.h"

#define MAX_THREADS 1024

static void *allocate(const weft_host *host, size_t bytes) {
    void *memory = host->allocate(host->user, bytes, 64);
    if (memory != NULL) memset(memory, 0, bytes);
    return memory;
}

static weft_status cpu_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host;
    (void)error;
    *count = 1;
    if (capacity == 0) return WEFT_OK;
    weft_device_info *info = &list[0];
    memset(info, 0, sizeof *info);
    snprintf(info->backend, sizeof info->backend, "cpu");
    snprintf(info->id, sizeof info->id, "cpu:0");
    weft_os_cpu_name(info->name, sizeof info->name);
    size_t used = 0;
    for (size_t i = 0; weft_cpu_kernel_sets[i] != NULL; i++) {
        if (!weft_cpu_kernel_sets[i]->available()) continue;
        int n = snprintf(info->features + used, sizeof info->features - used, "%s%s", used == 0 ? "" : " ",
                         weft_cpu_kernel_sets[i]->name);
        if (n > 0 && used + (size_t)n < sizeof info->features) used += (size_t)n;
    }
    weft_os_memory(&info->memory_total, &info->memory_free);
    info->host_memory = info->host_processor = true;
    info->kind = WEFT_DEVICE_CPU;
    return WEFT_OK;
}

/* The set of that name, or the best one. */
static weft_status choose_kernels(const weft_host *host, const char *name, const weft_cpu_kernels **kernels, weft_error *error) {
    char known[128] = "";
    for (size_t i = 0; weft_cpu_kernel_sets[i] != NULL; i++) {
        const weft_cpu_kernels *set = weft_cpu_kernel_sets[i];
        bool available = set->available();
        if (available && (name == NULL || strcmp(name, set->name) == 0)) {
            *kernels = set;
            return WEFT_OK;
        }
        size_t used = strlen(known);
        if (available) snprintf(known + used, sizeof known - used, "%s%s", used == 0 ? "" : ", ", set->name);
    }
    return host->fail(error, WEFT_UNSUPPORTED, "cpu: no instruction set \"%.32s\" here; there are %s", name == NULL ? "" : name,
                      known);
}

static void cpu_close(weft_backend_device *device) {
    if (device == NULL) return;
    if (device->queue != NULL) weft_cpu_queue_destroy(device);
    weft_cpu_pool_destroy(device->pool);
    device->host->release(device->host->user, device, sizeof *device);
}

static weft_status cpu_open(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                            weft_error *error) {
    if (index != 0) return host->fail(error, WEFT_NOT_FOUND, "cpu: there is no device %zu, only device 0", index);
    uint32_t n_threads = options == NULL ? 0 : options->n_threads;
    if (n_threads > MAX_THREADS)
        return host->fail(error, WEFT_INVALID_ARGUMENT, "cpu: n_threads is %u; the maximum is %d", n_threads, MAX_THREADS);
    const weft_cpu_kernels *kernels = NULL;
    weft_status status = choose_kernels(host, options == NULL ? NULL : options->simd, &kernels, error);
    if (status != WEFT_OK) return status;
    weft_backend_device *opened = allocate(host, sizeof *opened);
    if (opened == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory to open the device");
    opened->host = host;
    opened->kernels = kernels;
    opened->exact = weft_cpu_exact_find(kernels->name);
    opened->n_threads = n_threads != 0 ? n_threads : weft_os_core_count();
    status = weft_cpu_pool_create(host, opened->n_threads, &opened->pool, error);
    if (status == WEFT_OK) status = weft_cpu_queue_create(opened, error);
    if (status != WEFT_OK) {
        cpu_close(opened);
        return status;
    }
    *device = opened;
    return WEFT_OK;
}

static weft_status cpu_memory_info(weft_backend_device *device, uint64_t *total, uint64_t *available, weft_error *error) {
    (void)device;
    (void)error;
    weft_os_memory(total, available);
    return WEFT_OK;
}

static weft_status cpu_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                     weft_error *error) {
    (void)memory;
    if (bytes == 0) bytes = 64;
    void *data = bytes > SIZE_MAX ? NULL : weft_os_pages_allocate((size_t)bytes);
    if (data == NULL)
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: the system cannot allocate %llu bytes",
                                  (unsigned long long)bytes);
    weft_backend_buffer *created = allocate(device->host, sizeof *created);
    if (created == NULL) {
        weft_os_pages_free(data, (size_t)bytes);
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory for a buffer");
    }
    *created = (weft_backend_buffer){data, bytes};
    *buffer = created;
    return WEFT_OK;
}

static void cpu_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer) {
    if (buffer == NULL) return;
    weft_cpu_queue_drain(device);
    weft_os_pages_free(buffer->data, (size_t)buffer->bytes);
    device->host->release(device->host->user, buffer, sizeof *buffer);
}

static uint64_t cpu_buffer_address(weft_backend_device *device, const weft_backend_buffer *buffer) {
    (void)device;
    return (uint64_t)(uintptr_t)buffer->data;
}

static void *cpu_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer) {
    (void)device;
    return buffer->data;
}

static weft_status cpu_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                             size_t bytes, weft_error *error) {
    (void)error;
    weft_cpu_queue_drain(device);
    memcpy(buffer->data + offset, from, bytes);
    return WEFT_OK;
}

static weft_status cpu_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                            weft_error *error) {
    (void)error;
    weft_cpu_queue_drain(device);
    memcpy(into, buffer->data + offset, bytes);
    return WEFT_OK;
}

/* ---- Kernels and weights ---- */

static void cpu_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    weft_kernel_supports(&weft_cpu_table, device, phase, support);
}

static bool cpu_kernel_at(weft_backend_device *device, uint32_t number, weft_kernel_info *info) {
    (void)device;
    return weft_kernel_describe(&weft_cpu_table, number, info);
}

static void cpu_weight_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights,
                              const weft_use *uses, size_t n_uses, weft_layout *layout) {
    weft_kernel_weight_layout(&weft_cpu_table, device, weights, n_weights, uses, n_uses, layout);
}

typedef struct pack_context {
    const weft_cpu_kernels *kernels;
    const weft_packing *packing;
    uint64_t row_bytes;
    int64_t rows_per_chunk;
} pack_context;

static void pack_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const pack_context *c = user;
    const weft_packing *p = c->packing;
    int64_t first = chunk * c->rows_per_chunk;
    int64_t count = weft_cpu_min(c->rows_per_chunk, p->n_rows - first);
    c->kernels->pack(p->weight, p->layout->id, p->buffer->data + p->offset, p->first_row + first, count,
                     (const char *)p->from + (uint64_t)first * c->row_bytes);
}

static weft_status cpu_weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error) {
    (void)error;
    const weft_type_info *type = device->host->type(packing->weight->type);
    int64_t k = packing->weight->shape[0], n_rows = packing->n_rows;
    pack_context context = {
        .kernels = device->kernels,
        .packing = packing,
        .row_bytes = (uint64_t)k / type->block_elements * type->block_bytes,
        .rows_per_chunk = weft_cpu_chunk(device, n_rows, weft_cpu_max(packing->layout->rows_at_once, 1), k),
    };
    weft_cpu_queue_lock_pool(device);
    weft_cpu_parallel(device->pool, pack_chunk, &context, (n_rows + context.rows_per_chunk - 1) / context.rows_per_chunk);
    weft_cpu_queue_unlock_pool(device);
    return WEFT_OK;
}

static void cpu_plan_destroy(weft_backend_device *device, weft_backend_plan *plan) {
    if (plan == NULL) return;
    weft_cpu_queue_drain(device);
    weft_cpu_plan_free(device, plan);
}

extern const weft_backend weft_cpu_backend;
const weft_backend weft_cpu_backend = {
    .abi = WEFT_BACKEND_ABI,
    .size = sizeof(weft_backend),
    .name = "cpu",
    .rank = 0,
    .devices = cpu_devices,
    .open = cpu_open,
    .close = cpu_close,
    .memory_info = cpu_memory_info,
    .buffer_create = cpu_buffer_create,
    .buffer_destroy = cpu_buffer_destroy,
    .buffer_address = cpu_buffer_address,
    .buffer_map = cpu_buffer_map,
    .write = cpu_write,
    .read = cpu_read,
    .supports = cpu_supports,
    .kernel_at = cpu_kernel_at,
    .weight_layout = cpu_weight_layout,
    .weight_pack = cpu_weight_pack,
    .plan_create = weft_cpu_plan_create,
    .plan_destroy = cpu_plan_destroy,
    .plan_submit = weft_cpu_plan_submit,
    .wait = weft_cpu_wait,
    .cancel = weft_cpu_cancel,
    .status = NULL,
    .read_bandwidth = weft_cpu_read_bandwidth,
};
