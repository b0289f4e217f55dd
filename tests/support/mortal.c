#include "tests/support/mortal.h"

#include <string.h>

#include "core/runtime.h"
#include "weft/backend.h"

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
    return status == WEFT_OK ? original->plan_submit(device, plan, ticket, step_slot, result_slot, error) : status;
}

/* When the loss is heard of, nothing runs on the device any more. */
static weft_status wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_status status = call_device(MORTAL_WAIT, error);
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

static weft_status memory_info(weft_backend_device *device, uint64_t *total, uint64_t *free_bytes, weft_error *error) {
    weft_status status = original->memory_info(device, total, free_bytes, error);
    if (status == WEFT_OK && mortal.memory_free > 0) *total = *free_bytes = mortal.memory_free;
    return status;
}

void mortal_plant(weft_runtime *runtime, const char *name) {
    size_t place = 0;
    while (place < runtime->n_backends && runtime->backends[place] != &backend) place++;
    for (size_t i = 0; i < place; i++)
        if (strcmp(runtime->backends[i]->name, name) == 0) original = runtime->backends[i];
    backend = *original;
    backend.name = "mortal";
    backend.plan_submit = submit;
    backend.wait = wait;
    backend.memory_info = memory_info;
    backend.read = read_buffer;
    backend.write = write_buffer;
    runtime->backends[place] = &backend;
    if (place == runtime->n_backends) runtime->n_backends++;
}
