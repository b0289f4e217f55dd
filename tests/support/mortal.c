#include "tests/support/mortal.h"

#include <string.h>

#include "core/runtime.h"
#include "weft/backend.h"

#include "os/os.h"

mortal_devices mortal;

static const weft_backend *original;
static weft_backend backend;

static weft_status call_device(mortal_call call, weft_error *error) {
    int *left = &mortal.calls_left[call];
    if (*left > 0 && --*left == 0) mortal.is_lost = true;
    return mortal.is_lost ? weft_fail(error, WEFT_DEVICE_LOST, "somebody pulled the plug") : WEFT_OK;
}

static weft_status submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                          uint32_t result_slot, weft_error *error) {
    weft_status status = call_device(MORTAL_SUBMIT, error);
    mortal.n_steps++;
    return status == WEFT_OK ? original->plan_submit(device, plan, ticket, step_slot, result_slot, error) : status;
}

static uint64_t left_until(uint64_t ns) {
    const uint64_t now = weft_os_now();
    return ns > now ? ns - now : 0;
}

/* When the loss is heard of, nothing runs on the device any more. */
static weft_status wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_status status = call_device(MORTAL_WAIT, error);
    const uint64_t held_ns = left_until(atomic_load(&mortal.held_until_ns));
    if (status == WEFT_OK && held_ns > 0) {
        weft_os_sleep(held_ns < timeout_ns ? held_ns : timeout_ns);
        return weft_fail(error, WEFT_TIMEOUT, "the device holds the step");
    }
    if (mortal.wait_ns > 0 && timeout_ns > 0) weft_os_sleep(mortal.wait_ns);
    if (mortal.in_wait && !atomic_load(&mortal.is_cancelled)) {
        mortal.in_wait(mortal.user);
        weft_os_sleep(1000000);
        return WEFT_TIMEOUT;
    }
    mortal.in_wait = NULL;
    if (status == WEFT_OK) return original->wait(device, ticket, timeout_ns, error);
    original->wait(device, ticket, UINT64_MAX, NULL);
    return status;
}

static weft_status read_buffer(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                               weft_error *error) {
    weft_status status = call_device(MORTAL_READ, error);
    return status == WEFT_OK ? original->read(device, buffer, offset, into, bytes, error) : status;
}

static weft_status write_buffer(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                                size_t bytes, weft_error *error) {
    weft_status status = call_device(MORTAL_WRITE, error);
    return status == WEFT_OK ? original->write(device, buffer, offset, from, bytes, error) : status;
}

static void cancel(weft_backend_device *device) {
    atomic_store(&mortal.is_cancelled, true);
    if (!mortal.in_wait) original->cancel(device);
}

static void change(weft_device_info *info) {
    if (mortal.memory_free > 0 && info->memory_total < mortal.memory_free) info->memory_total = mortal.memory_free;
    if (mortal.memory_free > 0) info->memory_free = mortal.memory_free;
    if (!mortal.is_card) return;
    info->kind = WEFT_DEVICE_GPU;
    info->rank = 1000;
    info->stable_id[0] = 0;
}

static weft_status list_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    weft_status status = original->devices(host, list, capacity, count, error);
    for (size_t i = 0; status == WEFT_OK && i < *count && i < capacity; i++) change(&list[i]);
    return status;
}

static weft_status memory_info(weft_backend_device *device, uint64_t *total, uint64_t *available, weft_error *error) {
    weft_device_info info = {0};
    weft_status status = original->memory_info(device, &info.memory_total, &info.memory_free, error);
    change(&info);
    *total = info.memory_total;
    *available = info.memory_free;
    return status;
}

static weft_status create_plan(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                               weft_error *error) {
    mortal.n_plans++;
    for (uint64_t end_ns = weft_os_now() + mortal.plan_ns; left_until(end_ns) > 0; weft_os_sleep(1000000))
        if (schedule->stops && schedule->stops(schedule->stops_user)) return weft_fail(error, WEFT_CANCELLED, "it was stopped");
    if (mortal.is_full) return weft_fail(error, WEFT_OUT_OF_MEMORY, "the device is full");
    return original->plan_create(device, schedule, plan, error);
}

static uint64_t bytes_used(weft_backend_device *device, weft_memory memory, uint64_t bytes) {
    if (original->buffer_bytes_used) bytes = original->buffer_bytes_used(device, memory, bytes);
    return mortal.granule > 0 ? (bytes + mortal.granule - 1) / mortal.granule * mortal.granule : bytes;
}

void mortal_plant(weft_runtime *runtime, const char *name) {
    size_t place = 0;
    while (place < runtime->n_backends && runtime->backends[place] != &backend) place++;
    for (size_t i = 0; i < place; i++)
        if (strcmp(runtime->backends[i]->name, name) == 0) original = runtime->backends[i];
    backend = *original;
    backend.buffer_bytes_used = bytes_used;
    backend.name = "mortal";
    backend.devices = list_devices;
    backend.memory_info = memory_info;
    backend.plan_create = create_plan;
    backend.plan_submit = submit;
    backend.wait = wait;
    backend.cancel = cancel;
    backend.read = read_buffer;
    backend.write = write_buffer;
    runtime->backends[place] = &backend;
    if (place == runtime->n_backends) runtime->n_backends++;
}

uint64_t mortal_set_grace(weft_runtime *runtime, uint64_t ns) {
    const uint64_t before = runtime->grace_ns;
    runtime->grace_ns = ns;
    return before;
}
