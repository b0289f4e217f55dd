/* The runtime: allocator, logger and backends; nothing else is shared between devices. */
#include "core/runtime.h"

#include <stdint.h>
#include <string.h>

#include "core/runtime.h"

static void *default_allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    return weft_os_aligned_allocate(size, alignment);
}

static void default_release(void *user, void *memory, size_t size) {
    (void)user;
    (void)size;
    weft_os_aligned_free(memory);
}

/* ---- What backends are handed ---- */

static void *host_allocate(void *user, size_t size, size_t alignment) {
    weft_runtime *runtime = user;
    return runtime->allocator.allocate(runtime->allocator.user, size, alignment);
}

static void host_release(void *user, void *memory, size_t size) {
    weft_runtime *runtime = user;
    if (memory) runtime->allocator.release(runtime->allocator.user, memory, size);
}

static void host_log(void *user, weft_log_level level, const char *message) {
    weft_log(user, level, message);
}

weft_status weft_runtime_create(const weft_runtime_options *options, weft_runtime **runtime, weft_error *error) {
    if (!runtime) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a place for the runtime is needed");
    weft_allocator allocator = {.allocate = default_allocate, .release = default_release};
    if (options && options->allocator) allocator = *options->allocator;
    weft_status status =
        options ? weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error) : WEFT_OK;
    if (status == WEFT_OK) status = weft_require_zero("allocator.reserved", allocator.reserved, sizeof allocator.reserved, error);
    if (status != WEFT_OK) return status;
    if (!allocator.allocate || !allocator.release) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "an allocator needs both allocate and release");
    }
    weft_runtime *made = allocator.allocate(allocator.user, sizeof *made, _Alignof(max_align_t));
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a runtime (%zu bytes)", sizeof *made);
    *made = (weft_runtime){
        .allocator = allocator,
        .log = options ? options->log : NULL,
        .log_user = options ? options->log_user : NULL,
        .grace_ns = WEFT_CANCEL_GRACE_NS,
        .host = {.size = sizeof made->host,
                 .abi = WEFT_BACKEND_ABI,
                 .user = made,
                 .allocate = host_allocate,
                 .release = host_release,
                 .log = host_log,
                 .fail = weft_fail,
                 .type = weft_type_get,
                 .op_name = weft_op_name,
                 .dequantise = weft_dequantise},
    };
    if (!weft_os_mutex_init(&made->mutex)) {
        allocator.release(allocator.user, made, sizeof *made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "the system has no room for another mutex");
    }
    weft_registry_add_built_in(made);
    *runtime = made;
    return WEFT_OK;
}

void weft_runtime_destroy(weft_runtime *runtime) {
    if (!runtime) return;
    for (size_t i = runtime->n_backends; i-- > 0;) weft_os_library_close(&runtime->libraries[i]);
    weft_os_mutex_destroy(&runtime->mutex);
    weft_allocator allocator = runtime->allocator;
    allocator.release(allocator.user, runtime, sizeof *runtime);
}

void weft_log(weft_runtime *runtime, weft_log_level level, const char *message) {
    if (runtime && runtime->log && message) runtime->log(runtime->log_user, level, message);
}
