#include "core/runtime.h"

#include <stddef.h>
#include <string.h>

/* weft_backends.def is written by CMake from WEFT_BACKENDS: one WEFT_BACKEND(name) a backend that is compiled in. */
#define WEFT_BACKEND(name) extern const weft_backend weft_##name##_backend;
#include "weft_backends.def"
#undef WEFT_BACKEND

static const weft_backend *const built_in[] = {
#define WEFT_BACKEND(name) &weft_##name##_backend,
#include "weft_backends.def"
#undef WEFT_BACKEND
    NULL};

_Static_assert(sizeof built_in / sizeof *built_in <= WEFT_MAX_BACKENDS, "a runtime has room for every built-in backend");

void weft_registry_add_built_in(weft_runtime *runtime) {
    for (size_t i = 0; built_in[i]; i++) runtime->backends[runtime->n_backends++] = built_in[i];
}

/* The size of the struct in the first version of the ABI. */
#define SMALLEST offsetof(weft_backend, read_bandwidth)

/* The slots that have no meaning for NULL. */
static bool complete(const weft_backend *backend) {
    return backend->name && backend->name[0] && memchr(backend->name, 0, WEFT_NAME_SIZE) && backend->devices && backend->open &&
           backend->close && backend->memory_info && backend->buffer_create && backend->buffer_destroy && backend->buffer_map &&
           backend->write && backend->read && backend->supports && backend->plan_create && backend->plan_destroy &&
           backend->plan_submit && backend->wait && backend->cancel;
}

static weft_status check_backend(const weft_backend *backend, const char *path, weft_error *error) {
    if (!backend) {
        return weft_fail(error, WEFT_UNSUPPORTED, "%s does not work with this version of weft (backend ABI %d)", path,
                         WEFT_BACKEND_ABI);
    }
    if (backend->abi != WEFT_BACKEND_ABI) {
        return weft_fail(error, WEFT_UNSUPPORTED, "%s was built for backend ABI %u, this library has %d: build it again", path,
                         (unsigned)backend->abi, WEFT_BACKEND_ABI);
    }
    /* Slots are only ever appended. A backend with more slots is newer than this library. The slots that a smaller backend lacks
     * must be optional ones. */
    if (backend->size < SMALLEST) {
        return weft_fail(error, WEFT_UNSUPPORTED, "the backend of %s has %u bytes of slots and needs %zu: build it again", path,
                         (unsigned)backend->size, SMALLEST);
    }
    if (!complete(backend)) {
        return weft_fail(error, WEFT_UNSUPPORTED, "the backend of %s has no name or leaves a slot out that it must fill", path);
    }
    return WEFT_OK;
}

static weft_status add(weft_runtime *runtime, const weft_backend *backend, weft_os_library library, const char *path,
                       weft_error *error) {
    for (size_t i = 0; i < runtime->n_backends; i++) {
        if (strcmp(runtime->backends[i]->name, backend->name) == 0) {
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: there is already a backend \"%s\"", path, backend->name);
        }
    }
    if (runtime->n_backends == WEFT_MAX_BACKENDS) {
        return weft_fail(error, WEFT_FULL, "%s: a runtime holds %d backends at most", path, WEFT_MAX_BACKENDS);
    }
    weft_backend *copy = &runtime->plug_ins[runtime->n_backends];
    *copy = (weft_backend){0};
    memcpy(copy, backend, backend->size < sizeof *copy ? backend->size : sizeof *copy);
    runtime->backends[runtime->n_backends] = copy;
    runtime->libraries[runtime->n_backends++] = library;
    return WEFT_OK;
}

weft_status weft_runtime_load_backend(weft_runtime *runtime, const char *path, weft_error *error) {
    if (!runtime || !path) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a runtime and a path are needed");
    weft_os_library library;
    weft_status status = weft_os_library_open(&library, path, error);
    if (status != WEFT_OK) return status;
    void *symbol = weft_os_library_symbol(&library, WEFT_BACKEND_ENTRY);
    if (!symbol) {
        weft_os_library_close(&library);
        return weft_fail(error, WEFT_UNSUPPORTED, "%s is not a weft backend: it has no symbol %s", path, WEFT_BACKEND_ENTRY);
    }
    weft_backend_entry_function entry; /* C has no cast from an object pointer to a function's */
    memcpy(&entry, &symbol, sizeof entry);
    const weft_backend *backend = entry(&runtime->host);
    status = check_backend(backend, path, error);
    if (status == WEFT_OK) {
        weft_os_mutex_lock(&runtime->mutex);
        status = add(runtime, backend, library, path, error);
        weft_os_mutex_unlock(&runtime->mutex);
    }
    if (status != WEFT_OK) weft_os_library_close(&library);
    return status;
}
