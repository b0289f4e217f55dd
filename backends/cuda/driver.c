#include "backends/cuda/driver.h"

#include <stdio.h>
#include <string.h>

static weft_status find_symbols(const weft_host *host, weft_cuda_driver *driver, weft_error *error) {
    const struct {
        const char *name;
        size_t offset;
        bool optional;
    } symbols[] = {
#define WEFT_CUDA_SYMBOL(member, name, arguments) {name, offsetof(weft_cuda_driver, member), false},
#define WEFT_CUDA_NEWER_SYMBOL(member, name, arguments) {name, offsetof(weft_cuda_driver, member), true},
#include "backends/cuda/driver.def"
#undef WEFT_CUDA_NEWER_SYMBOL
#undef WEFT_CUDA_SYMBOL
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = weft_os_library_symbol(&driver->library, symbols[i].name);
        if (symbol == NULL && !symbols[i].optional)
            return host->fail(error, WEFT_UNSUPPORTED, "the NVIDIA driver is too old: it has no %s", symbols[i].name);
        memcpy((char *)driver + symbols[i].offset, &symbol, sizeof symbol);
    }
    return WEFT_OK;
}

static weft_status start(const weft_host *host, weft_cuda_driver *driver, weft_error *error) {
    weft_status status = find_symbols(host, driver, error);
    if (status != WEFT_OK) return status;
    int version = 0;
    if (driver->driver_version(&version) == WEFT_CUDA_SUCCESS && version < WEFT_CUDA_OLDEST_DRIVER)
        return host->fail(error, WEFT_UNSUPPORTED, "the NVIDIA driver is too old: it is for CUDA %d.%d, and %d.%d is needed",
                          version / 1000, version % 1000 / 10, WEFT_CUDA_OLDEST_DRIVER / 1000, WEFT_CUDA_OLDEST_DRIVER % 1000 / 10);
    weft_cuda_result result = driver->init(0);
    if (result == WEFT_CUDA_SUCCESS) return WEFT_OK;
    if (result == WEFT_CUDA_NO_DEVICE) return host->fail(error, WEFT_NOT_FOUND, "the NVIDIA driver has no device");
    char text[160];
    weft_cuda_describe(driver, result, text, sizeof text);
    return host->fail(error, WEFT_UNSUPPORTED, "the NVIDIA driver does not start: %s", text);
}

weft_status weft_cuda_driver_open(const weft_host *host, weft_cuda_driver *driver, weft_error *error) {
    weft_error reason = {0};
    memset(driver, 0, sizeof *driver);
    if (weft_os_library_open(&driver->library, "libcuda.so.1", &reason) != WEFT_OK)
        return host->fail(error, WEFT_NOT_FOUND, "no NVIDIA driver: %.200s", reason.message);
    weft_status status = start(host, driver, error);
    if (status != WEFT_OK) weft_os_library_close(&driver->library);
    return status;
}

/* Results of a call that the driver refused; the context stays usable. All other results come from work on the device or mean that
 * the device is gone. The driver then repeats them for every later call in the context. */
weft_status weft_cuda_status(weft_cuda_result result) {
    static const struct {
        weft_cuda_result first, last;
        weft_status status;
    } ranges[] = {
        {0, 0, WEFT_OK},
        {2, 2, WEFT_OUT_OF_MEMORY},
        {4, 4, WEFT_DEVICE_LOST},     /* deinitialised */
        {1, 46, WEFT_FAILED},         /* arguments, stubs, limits */
        {100, 213, WEFT_FAILED},      /* devices, images and contexts that do not fit */
        {214, 214, WEFT_DEVICE_LOST}, /* memory error that cannot be corrected */
        {215, 226, WEFT_FAILED},      /* compiling */
        {300, 600, WEFT_FAILED},      /* files, handles, not ready */
        {701, 701, WEFT_FAILED},      /* a launch that asks for too much */
        {711, 713, WEFT_FAILED},      /* peers, host memory */
        {720, 720, WEFT_FAILED},      /* a cooperative launch that is too large */
        {800, 909, WEFT_FAILED},      /* permissions, capturing, updates */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (result >= ranges[i].first && result <= ranges[i].last) return ranges[i].status;
    return WEFT_DEVICE_LOST;
}

void weft_cuda_describe(const weft_cuda_driver *driver, weft_cuda_result result, char *text, size_t size) {
    const char *name = NULL, *meaning = NULL;
    if (driver->error_name(result, &name) != WEFT_CUDA_SUCCESS || name == NULL) name = "an unknown error";
    if (driver->error_text(result, &meaning) != WEFT_CUDA_SUCCESS || meaning == NULL) meaning = "no description";
    snprintf(text, size, "%s (%s, %d)", meaning, name, result);
}

weft_status weft_cuda_check(const weft_host *host, const weft_cuda_driver *driver, weft_cuda_result result, const char *what,
                            weft_error *error) {
    if (result == WEFT_CUDA_SUCCESS) return WEFT_OK;
    char text[256];
    weft_cuda_describe(driver, result, text, sizeof text);
    return host->fail(error, weft_cuda_status(result), "cuda: cannot %s: %s", what, text);
}
