/* Lists devices without opening any. The driver gives names and sizes; the management library, if present, gives free memory and
 * the driver's version. */
#include <stdio.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "os/uuid.h"

typedef struct weft_cuda_managed_handle *weft_cuda_managed;

typedef struct weft_cuda_managed_memory {
    unsigned long long total, free, used;
} weft_cuda_managed_memory;

typedef struct management {
    weft_os_library library;
    bool started;
#define WEFT_CUDA_SYMBOL(member, name, arguments) int(*member) arguments;
#include "backends/cuda/management.def"
#undef WEFT_CUDA_SYMBOL
} management;

static bool find_symbols(management *m) {
    const struct {
        const char *name;
        size_t offset;
    } symbols[] = {
#define WEFT_CUDA_SYMBOL(member, name, arguments) {name, offsetof(management, member)},
#include "backends/cuda/management.def"
#undef WEFT_CUDA_SYMBOL
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = weft_os_library_symbol(&m->library, symbols[i].name);
        if (symbol == NULL) return false;
        memcpy((char *)m + symbols[i].offset, &symbol, sizeof symbol);
    }
    return true;
}

static void open_management(management *m) {
    weft_error ignored = {0};
    memset(m, 0, sizeof *m);
    if (weft_os_library_open(&m->library, "libnvidia-ml.so.1", &ignored) != WEFT_OK) return;
    m->started = find_symbols(m) && m->init() == 0;
    if (!m->started) weft_os_library_close(&m->library);
}

static void close_management(management *m) {
    if (!m->started) return;
    m->shut_down();
    weft_os_library_close(&m->library);
}

static void describe_device(const weft_cuda_driver *driver, const management *m, int index, weft_device_info *info) {
    int number = 0, major = 0, minor = 0, version = 0, multiprocessors = 0, integrated = 0;
    size_t bytes = 0;
    uint8_t uuid[WEFT_OS_UUID_BYTES] = {0};
    char bus_id[32] = "", release[64] = "";
    *info = (weft_device_info){0};
    if (driver->device_get(&number, index) != WEFT_CUDA_SUCCESS) {
        snprintf(info->unusable, sizeof info->unusable, "the driver does not describe it");
        return;
    }
    driver->device_name(info->name, (int)sizeof info->name, number);
    if (driver->device_memory(&bytes, number) == WEFT_CUDA_SUCCESS) info->memory_total = bytes;
    driver->device_attribute(&major, WEFT_CUDA_CAPABILITY_MAJOR, number);
    driver->device_attribute(&minor, WEFT_CUDA_CAPABILITY_MINOR, number);
    driver->device_attribute(&multiprocessors, WEFT_CUDA_MULTIPROCESSORS, number);
    driver->device_attribute(&integrated, WEFT_CUDA_INTEGRATED, number);
    info->kind = integrated != 0 ? WEFT_DEVICE_INTEGRATED_GPU : WEFT_DEVICE_GPU;
    if (driver->device_uuid(uuid, number) == WEFT_CUDA_SUCCESS) weft_os_uuid_text(uuid, info->stable_id);
    driver->driver_version(&version);
    weft_cuda_managed managed = NULL;
    weft_cuda_managed_memory memory = {0};
    if (m->started && m->driver_version(release, sizeof release) != 0) release[0] = 0;
    if (m->started && driver->device_bus_id(bus_id, (int)sizeof bus_id, number) == WEFT_CUDA_SUCCESS &&
        m->device_get(bus_id, &managed) == 0 && m->memory_info(managed, &memory) == 0)
        info->memory_free = memory.free;
    snprintf(info->driver, sizeof info->driver, "%s%sCUDA %d.%d", release, release[0] != 0 ? ", " : "", version / 1000,
             version % 1000 / 10);
    snprintf(info->features, sizeof info->features, "sm_%d%d, %d multiprocessors", major, minor, multiprocessors);
}

weft_status weft_cuda_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)error;
    weft_cuda_driver driver;
    weft_error reason = {0};
    int n = 0;
    weft_status status = weft_cuda_driver_open(host, &driver, &reason);
    if (status == WEFT_OK && (driver.device_count(&n) != WEFT_CUDA_SUCCESS || n == 0))
        status = host->fail(&reason, WEFT_NOT_FOUND, "the NVIDIA driver has no device");
    if (status != WEFT_OK) {
        *count = 1;
        if (capacity == 0) return WEFT_OK;
        list[0] = (weft_device_info){0};
        snprintf(list[0].unusable, sizeof list[0].unusable, "%.250s", reason.message);
        return WEFT_OK;
    }
    management m;
    open_management(&m);
    *count = (size_t)n;
    for (size_t i = 0; i < *count && i < capacity; i++) describe_device(&driver, &m, (int)i, &list[i]);
    close_management(&m);
    return WEFT_OK;
}
