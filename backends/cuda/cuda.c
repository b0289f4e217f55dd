/* The CUDA backend: opening devices, and the status of a lost device. Listing is in devices.c, memory in memory.c and staging.c,
 * weights in weights.c, the table of kernels in table.c, plans in plan.c and steps in queue.c. */
#include "backends/cuda/cuda.h"

#include <string.h>

/* ---- The context, and its loss ---- */

weft_status weft_cuda_device_status(weft_backend_device *device, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    bool lost = device->lost;
    if (lost && error != NULL) *error = device->loss;
    weft_os_mutex_unlock(&device->mutex);
    return lost ? WEFT_DEVICE_LOST : WEFT_OK;
}

weft_status weft_cuda_enter(weft_backend_device *device, weft_error *error) {
    weft_status status = weft_cuda_device_status(device, error);
    if (status != WEFT_OK) return status;
    return weft_cuda_result_of(device, device->driver.context_push(device->context), "use its context", error);
}

void weft_cuda_leave(weft_backend_device *device) {
    weft_cuda_context popped;
    device->driver.context_pop(&popped);
}

bool weft_cuda_enter_to_free(weft_backend_device *device) {
    if (device->driver.context_push(device->context) != WEFT_CUDA_SUCCESS) return false;
    device->driver.stream_synchronise(device->stream);
    return true;
}

weft_status weft_cuda_result_of(weft_backend_device *device, weft_cuda_result result, const char *what, weft_error *error) {
    if (result == WEFT_CUDA_SUCCESS) return WEFT_OK;
    weft_error message = {0};
    weft_status status = weft_cuda_check(device->host, &device->driver, result, what, &message);
    if (status == WEFT_DEVICE_LOST) {
        weft_os_mutex_lock(&device->mutex);
        if (!device->lost) device->loss = message;
        device->lost = true;
        weft_os_mutex_unlock(&device->mutex);
    }
    if (error != NULL) *error = message;
    return status;
}

/* ---- Opening and closing ---- */

/* Called with the context current. After a failure, tear_down undoes what was done. */
static weft_status set_up(weft_backend_device *device, int number, weft_error *error) {
    const weft_cuda_driver *driver = &device->driver;
    weft_cuda_result result = driver->stream_create(&device->stream, WEFT_CUDA_STREAM_NON_BLOCKING);
    if (result == WEFT_CUDA_SUCCESS) result = driver->stream_create(&device->side, WEFT_CUDA_STREAM_NON_BLOCKING);
    int major = 0, minor = 0;
    if (result == WEFT_CUDA_SUCCESS) result = driver->device_attribute(&device->multiprocessors, WEFT_CUDA_MULTIPROCESSORS, number);
    if (result == WEFT_CUDA_SUCCESS) result = driver->device_attribute(&major, WEFT_CUDA_CAPABILITY_MAJOR, number);
    if (result == WEFT_CUDA_SUCCESS) result = driver->device_attribute(&minor, WEFT_CUDA_CAPABILITY_MINOR, number);
    if (result == WEFT_CUDA_SUCCESS) result = driver->device_attribute(&device->shared_bytes, WEFT_CUDA_SHARED_BYTES, number);
    device->capability = 10 * major + minor;
    weft_status status = weft_cuda_check(device->host, driver, result, "make a stream", error);
    if (status == WEFT_OK) status = weft_cuda_queue_create(device, error);
    if (status == WEFT_OK) status = weft_cuda_load_modules(device, error);
    return status;
}

/* If the context cannot be made current, destroying it frees what is in it. */
static void forget(weft_backend_device *device) {
    device->stream = device->side = NULL;
    device->staging = device->copies = (weft_cuda_ring){0};
    if (device->modules != NULL) memset(device->modules, 0, weft_cuda_n_images * sizeof *device->modules);
    device->cancel_word = NULL;
    device->queue = NULL;
    device->control = 0;
}

static void tear_down(weft_backend_device *device) {
    const weft_cuda_driver *driver = &device->driver;
    if (device->side != NULL) driver->stream_synchronise(device->side);
    weft_cuda_unload_modules(device);
    weft_cuda_ring_destroy(device, &device->staging);
    weft_cuda_ring_destroy(device, &device->copies);
    weft_cuda_queue_destroy(device);
    if (device->side != NULL) driver->stream_destroy(device->side);
    if (device->stream != NULL) driver->stream_destroy(device->stream);
}

/* After a kernel's fault the driver refuses every new context in the process; only the process's end clears that (CUDA driver API,
 * CUresult 700, 702, 710, 714 to 719). */
static weft_status fail_after_fault(weft_backend_device *device, weft_cuda_result result, weft_error *error) {
    char text[160];
    weft_cuda_describe(&device->driver, result, text, sizeof text);
    return device->host->fail(error, WEFT_DEVICE_LOST,
                              "cuda: the driver does not open the device again in this process after a fault (%s): restart the "
                              "program, or go on with another device",
                              text);
}

static weft_status open_context(weft_backend_device *device, size_t index, weft_error *error) {
    const weft_cuda_driver *driver = &device->driver;
    int number = 0;
    weft_cuda_result result = driver->device_get(&number, (int)index);
    if (result == WEFT_CUDA_SUCCESS)
        result = driver->context_create(&device->context, WEFT_CUDA_CONTEXT_BLOCKING | WEFT_CUDA_CONTEXT_MAP_HOST, number);
    weft_status status = weft_cuda_check(device->host, driver, result, "open the device", error);
    if (status == WEFT_DEVICE_LOST) return fail_after_fault(device, result, error);
    if (status != WEFT_OK) return status;
    status = set_up(device, number, error); /* the context is current from its creation on */
    if (status == WEFT_OK) {
        weft_cuda_leave(device);
        return WEFT_OK;
    }
    tear_down(device);
    weft_cuda_leave(device);
    driver->context_destroy(device->context);
    return status;
}

static void release(weft_backend_device *device) {
    weft_os_mutex_destroy(&device->mutex);
    device->host->release(device->host->user, device, sizeof *device);
}

static weft_status cuda_open(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                             weft_error *error) {
    (void)options;
    weft_backend_device *made = host->allocate(host->user, sizeof *made, 64);
    if (made == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: no memory for a device");
    memset(made, 0, sizeof *made);
    made->host = host;
    if (!weft_os_mutex_init(&made->mutex)) {
        host->release(host->user, made, sizeof *made);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: the system cannot create another mutex");
    }
    weft_status status = weft_cuda_driver_open(host, &made->driver, error);
    if (status == WEFT_OK) status = open_context(made, index, error);
    if (status != WEFT_OK) {
        release(made);
        return status;
    }
    *device = made;
    return WEFT_OK;
}

static void cuda_close(weft_backend_device *device) {
    if (device == NULL) return;
    bool entered = weft_cuda_enter_to_free(device);
    if (!entered) forget(device);
    tear_down(device);
    if (entered) weft_cuda_leave(device);
    device->driver.context_destroy(device->context);
    release(device);
}

static weft_status cuda_memory_info(weft_backend_device *device, uint64_t *total, uint64_t *free, weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    size_t total_bytes = 0, free_bytes = 0;
    status = weft_cuda_result_of(device, device->driver.memory_info(&free_bytes, &total_bytes), "ask for its memory", error);
    weft_cuda_leave(device);
    *total = total_bytes;
    *free = free_bytes;
    return status;
}

const weft_backend weft_cuda_backend = {
    .abi = WEFT_BACKEND_ABI,
    .size = sizeof(weft_backend),
    .name = "cuda",
    .rank = 100,
    .devices = weft_cuda_devices,
    .open = cuda_open,
    .close = cuda_close,
    .memory_info = cuda_memory_info,
    .buffer_create = weft_cuda_buffer_create,
    .buffer_destroy = weft_cuda_buffer_destroy,
    .buffer_address = weft_cuda_buffer_address,
    .buffer_map = weft_cuda_buffer_map,
    .write = weft_cuda_write,
    .read = weft_cuda_read,
    .supports = weft_cuda_supports,
    .kernel_at = weft_cuda_kernel_at,
    .weight_layout = weft_cuda_weight_layout,
    .weight_pack = weft_cuda_weight_pack,
    .plan_create = weft_cuda_plan_create,
    .plan_destroy = weft_cuda_plan_destroy,
    .plan_submit = weft_cuda_plan_submit,
    .wait = weft_cuda_wait,
    .cancel = weft_cuda_cancel,
    .status = weft_cuda_device_status,
    .read_bandwidth = weft_cuda_read_bandwidth,
    .stage = weft_cuda_stage,
    .plan_dispatches = weft_cuda_plan_dispatches,
    .buffer_bytes_used = weft_cuda_buffer_bytes_used,
    .plan_bytes_used = weft_cuda_plan_bytes_used,
};
