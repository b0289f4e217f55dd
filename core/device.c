/* Listing and opening devices. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/runtime.h"

#define MAX_LISTED 4096 /* devices of one backend; more mean a faulty backend */
#define MAX_ASKED 8     /* calls for a backend's list, which may grow between two calls */

typedef struct listed {
    weft_device_info info;
    const weft_backend *backend;
    size_t index; /* in the backend's own list */
} listed;

typedef struct listing {
    weft_runtime *runtime;
    listed *devices;
    size_t n, capacity;
} listing;

static weft_status out_of_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to list the devices");
}

static int64_t rank_of(const listed *device) {
    return (int64_t)device->backend->rank + device->info.rank;
}

/* Best first: usable before unusable, then by rank; otherwise as they were listed. */
static bool better(const listed *a, const listed *b) {
    bool a_usable = !a->info.unusable[0], b_usable = !b->info.unusable[0];
    return a_usable != b_usable ? a_usable : rank_of(a) > rank_of(b);
}

/* A plug-in's texts may have no terminating zero. */
static void end_texts(weft_device_info *info) {
    info->stable_id[sizeof info->stable_id - 1] = 0;
    info->name[sizeof info->name - 1] = 0;
    info->driver[sizeof info->driver - 1] = 0;
    info->features[sizeof info->features - 1] = 0;
    info->unusable[sizeof info->unusable - 1] = 0;
}

/* A name that does not fit is "". */
static void join(const char *backend, const char *rest, char name[WEFT_NAME_SIZE]) {
    int length = snprintf(name, WEFT_NAME_SIZE, "%s:%s", backend, rest);
    if (length < 0 || length >= WEFT_NAME_SIZE) name[0] = 0;
}

/* A backend gives the part of the stable id that follows its name, or "". */
static void name_device(listed *device) {
    weft_device_info *info = &device->info;
    char number[24], rest[WEFT_NAME_SIZE];
    snprintf(number, sizeof number, "%zu", device->index);
    memcpy(rest, info->stable_id, sizeof rest);
    snprintf(info->backend, sizeof info->backend, "%s", device->backend->name);
    join(device->backend->name, number, info->id); /* too long: only the backend's name opens the device */
    join(device->backend->name, rest[0] ? rest : number, info->stable_id);
    if (!info->stable_id[0]) memcpy(info->stable_id, info->id, sizeof info->id);
    info->automatic = rank_of(device) >= 0 && !info->unusable[0];
    memset(info->reserved, 0, sizeof info->reserved);
}

static weft_status insert(listing *list, const weft_backend *backend, size_t index, const weft_device_info *info,
                          weft_error *error) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        listed *grown = weft_reallocate(list->runtime, list->devices, list->capacity * sizeof *grown, capacity * sizeof *grown);
        if (!grown) return out_of_memory(error);
        list->devices = grown;
        list->capacity = capacity;
    }
    listed device = {.info = *info, .backend = backend, .index = index};
    end_texts(&device.info);
    name_device(&device);
    size_t at = list->n++;
    for (; at > 0 && better(&device, &list->devices[at - 1]); at--) list->devices[at] = list->devices[at - 1];
    list->devices[at] = device;
    return WEFT_OK;
}

/* Whether the backend counted the entry but did not write it. */
static void mark_undescribed(weft_device_info *info) {
    static const weft_device_info nothing;
    if (memcmp(info, &nothing, sizeof nothing) != 0) return;
    snprintf(info->unusable, sizeof info->unusable, "the backend counts this device and does not describe it");
}

/* The backend's list of its devices at this moment. */
static weft_status ask_backend(weft_runtime *runtime, const weft_backend *backend, weft_device_info **infos, size_t *count,
                               weft_error *error) {
    size_t capacity = 4;
    for (int asked = 0; asked < MAX_ASKED; asked++) {
        weft_device_info *list = weft_allocate(runtime, capacity * sizeof *list);
        if (!list) return out_of_memory(error);
        *count = 0;
        weft_status status = backend->devices(&runtime->host, list, capacity, count, error);
        if (status == WEFT_OK && *count > MAX_LISTED) {
            status = weft_fail(error, WEFT_FAILED, "the backend lists %zu devices", *count);
        }
        if (status == WEFT_OK && *count <= capacity) {
            for (size_t i = 0; i < *count; i++) mark_undescribed(&list[i]);
            *infos = list;
            return WEFT_OK;
        }
        weft_release(runtime, list);
        if (status != WEFT_OK) return status;
        capacity = *count;
    }
    return weft_fail(error, WEFT_FAILED, "the backend's list of devices grows each time it is asked for");
}

static weft_status list_backend(listing *list, const weft_backend *backend, weft_error *error) {
    weft_device_info *infos = NULL;
    size_t count = 0;
    weft_error reason = {0};
    weft_status status = ask_backend(list->runtime, backend, &infos, &count, &reason);
    if (status == WEFT_OUT_OF_MEMORY)
        return weft_fail(error, status, "%.*s", WEFT_MESSAGE_LENGTH, reason.message); /* says nothing about the device */
    if (status != WEFT_OK) {
        weft_device_info unusable = {0};
        const char *text = reason.message[0] ? reason.message : weft_status_text(status);
        snprintf(unusable.unusable, sizeof unusable.unusable, "%.*s", (int)sizeof unusable.unusable - 1, text);
        return insert(list, backend, 0, &unusable, error);
    }
    for (size_t i = 0; i < count && status == WEFT_OK; i++) status = insert(list, backend, i, &infos[i], error);
    weft_release(list->runtime, infos);
    return status;
}

/* Whether the name belongs to the backend: "cuda" and "cuda:0" belong to "cuda". */
static bool is_of(const char *device, const weft_backend *backend) {
    size_t length = strlen(backend->name);
    return strncmp(device, backend->name, length) == 0 && (device[length] == 0 || device[length] == ':');
}

/* Asks every backend. If a device is named, asks only its backend, so that the others load no driver. */
static weft_status list_devices(weft_runtime *runtime, const char *device, listing *list, weft_error *error) {
    *list = (listing){.runtime = runtime};
    weft_os_mutex_lock(&runtime->mutex);
    size_t n_backends = runtime->n_backends;
    weft_os_mutex_unlock(&runtime->mutex);
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < n_backends && status == WEFT_OK; i++) {
        if (!device || is_of(device, runtime->backends[i])) status = list_backend(list, runtime->backends[i], error);
    }
    if (status != WEFT_OK) weft_release(runtime, list->devices);
    return status;
}

weft_status weft_devices(weft_runtime *runtime, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    if (!runtime || !count || (capacity > 0 && !list)) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a runtime, a list and a count are needed");
    }
    listing all;
    weft_status status = list_devices(runtime, NULL, &all, error);
    if (status != WEFT_OK) return status;
    for (size_t i = 0; i < all.n && i < capacity; i++) list[i] = all.devices[i].info;
    *count = all.n;
    weft_release(runtime, all.devices);
    return WEFT_OK;
}

/* ---- Opening ---- */

static bool matches(const listed *device, const char *name) {
    if (strcmp(name, "auto") == 0) return device->info.automatic;
    return strcmp(name, device->info.id) == 0 || strcmp(name, device->info.stable_id) == 0 ||
           strcmp(name, device->info.backend) == 0;
}

/* "cpu:0, cuda:0 (libcuda.so.1 not found)" */
static void enumerate(const listing *list, char *text, size_t size) {
    size_t length = 0;
    text[0] = 0;
    for (size_t i = 0; i < list->n && length < size; i++) {
        const weft_device_info *info = &list->devices[i].info;
        int added = snprintf(text + length, size - length, "%s%s%s%s%s", i ? ", " : "", info->id[0] ? info->id : info->backend,
                             info->unusable[0] ? " (" : "", info->unusable, info->unusable[0] ? ")" : "");
        length += added > 0 ? (size_t)added : 0;
    }
}

/* The list has the best device first, so this finds the best device with the name. Leaves `found` unchanged if there is none. */
static weft_status find(const listing *list, const char *name, const listed **found, weft_error *error) {
    for (size_t i = 0; i < list->n; i++) {
        const listed *device = &list->devices[i];
        if (!matches(device, name)) continue;
        if (device->info.unusable[0]) {
            return weft_fail(error, WEFT_UNSUPPORTED, "device \"%s\" cannot be used: %s", name, device->info.unusable);
        }
        *found = device;
        return WEFT_OK;
    }
    return WEFT_OK;
}

static weft_status not_found(weft_runtime *runtime, const char *name, weft_error *error) {
    char there[360];
    listing all;
    weft_status status = list_devices(runtime, NULL, &all, error);
    if (status != WEFT_OK) return status;
    enumerate(&all, there, sizeof there);
    weft_release(runtime, all.devices);
    if (strcmp(name, "auto") == 0) {
        return weft_fail(error, WEFT_NOT_FOUND, "no device can be used; there are: %s", there[0] ? there : "none");
    }
    return weft_fail(error, WEFT_NOT_FOUND, "no device \"%.60s\"; there are: %s", name, there[0] ? there : "none");
}

/* Passes the status and message of a backend's call to the caller. */
static weft_status pass_on(weft_status status, const weft_error *message, weft_error *error) {
    if (status == WEFT_OK) return WEFT_OK;
    return weft_fail(error, status, "%.*s", WEFT_MESSAGE_LENGTH, message->message[0] ? message->message : weft_status_text(status));
}

static bool init_mutexes(weft_device *device) {
    if (!weft_os_mutex_init(&device->mutex)) return false;
    if (weft_os_mutex_init(&device->handing)) return true;
    weft_os_mutex_destroy(&device->mutex);
    return false;
}

static void release_device(weft_device *device) {
    weft_os_mutex_destroy(&device->handing);
    weft_os_mutex_destroy(&device->mutex);
    weft_release(device->runtime, device);
}

static weft_status open_listed(weft_runtime *runtime, const listed *found, const weft_device_options *options, weft_device **device,
                               weft_error *error) {
    weft_device *made = weft_allocate(runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a device (%zu bytes)", sizeof *made);
    made->runtime = runtime;
    made->backend = found->backend;
    made->index = found->index;
    made->info = found->info;
    made->n_threads = options->n_threads;
    snprintf(made->simd, sizeof made->simd, "%s", options->simd ? options->simd : "");
    made->spin_ns = found->info.host_processor ? 0 : options->spin_ns;
    if (!init_mutexes(made)) {
        weft_release(runtime, made);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "the system has no room for another mutex");
    }
    weft_error message = {0};
    weft_status status = made->backend->open(&runtime->host, made->index, options, &made->handle, &message);
    if (status == WEFT_OK && !made->handle)
        status = weft_fail(&message, WEFT_FAILED, "the %s backend opened no device", made->backend->name);
    if (status != WEFT_OK) {
        release_device(made);
        return pass_on(status, &message, error);
    }
    *device = made;
    return WEFT_OK;
}

weft_status weft_device_open(weft_runtime *runtime, const char *name, const weft_device_options *options, weft_device **device,
                             weft_error *error) {
    static const weft_device_options defaults = {0};
    if (!runtime || !device) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a runtime and a place for the device are needed");
    listing list;
    const listed *found = NULL;
    if (!name) name = "auto";
    if (!options) options = &defaults;
    weft_status status = weft_require_zero("device_options.reserved", options->reserved, sizeof options->reserved, error);
    if (status == WEFT_OK) status = list_devices(runtime, strcmp(name, "auto") == 0 ? NULL : name, &list, error);
    if (status != WEFT_OK) return status;
    status = find(&list, name, &found, error);
    if (found) status = open_listed(runtime, found, options, device, error);
    bool missing = status == WEFT_OK && !found;
    weft_release(runtime, list.devices);
    return missing ? not_found(runtime, name, error) : status;
}

void weft_device_close(weft_device *device) {
    if (!device) return;
    device->backend->close(device->handle);
    release_device(device);
}

weft_status weft_device_describe(weft_device *device, weft_device_info *info, weft_error *error) {
    if (!device || !info) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a device and a place for its description are needed");
    weft_device_info now = device->info;
    weft_error message = {0};
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK) status = device->backend->memory_info(device->handle, &now.memory_total, &now.memory_free, &message);
    status = weft_device_unlock(device, status, &message, error);
    if (status == WEFT_OK) *info = now;
    return status;
}

weft_status weft_device_read_bandwidth(weft_device *device, double *bytes_per_s, weft_error *error) {
    if (!device || !bytes_per_s)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a device and a place for its bandwidth are needed");
    if (!device->backend->read_bandwidth)
        return weft_fail(error, WEFT_UNSUPPORTED, "the %s backend cannot measure its read bandwidth", device->backend->name);
    weft_error message = {0};
    weft_status status = weft_device_lock(device, &message);
    if (status == WEFT_OK) status = device->backend->read_bandwidth(device->handle, bytes_per_s, &message);
    return weft_device_unlock(device, status, &message, error);
}

/* ---- Loss ---- */

weft_status weft_device_usable(weft_device *device, weft_error *error) {
    weft_error message = {0};
    if (!device->lost && device->backend->status) {
        weft_device_result(device, device->backend->status(device->handle, &message), &message);
    }
    if (!device->lost) return WEFT_OK;
    if (error) *error = device->loss;
    return WEFT_DEVICE_LOST;
}

weft_status weft_device_result(weft_device *device, weft_status status, const weft_error *message) {
    if (status == WEFT_DEVICE_LOST && !device->lost) {
        weft_fail(&device->loss, WEFT_DEVICE_LOST, "device %s is lost (%.400s); close it and open it again", device->info.id,
                  message->message[0] ? message->message : "no reason given");
        device->lost = true;
    }
    return status;
}

weft_status weft_device_lock(weft_device *device, weft_error *message) {
    weft_os_mutex_lock(&device->mutex);
    return weft_device_usable(device, message);
}

weft_status weft_device_unlock(weft_device *device, weft_status status, const weft_error *message, weft_error *error) {
    weft_device_result(device, status, message);
    weft_os_mutex_unlock(&device->mutex);
    return pass_on(status, message, error);
}
