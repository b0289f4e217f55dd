/* Device code, compiled from kernels/ and embedded in the library. */
#include <string.h>

#include "backends/cuda/cuda.h"

#define WEFT_CUDA_IMAGE(name) extern const unsigned char weft_cuda_image_##name[];
#include "weft_cuda_images.def"
#undef WEFT_CUDA_IMAGE

const weft_cuda_image weft_cuda_images[] = {
#define WEFT_CUDA_IMAGE(name) {#name, weft_cuda_image_##name},
#include "weft_cuda_images.def"
#undef WEFT_CUDA_IMAGE
};

const size_t weft_cuda_n_images = sizeof weft_cuda_images / sizeof *weft_cuda_images;

weft_status weft_cuda_load_modules(weft_backend_device *device, weft_error *error) {
    const weft_host *host = device->host;
    device->modules = host->allocate(host->user, weft_cuda_n_images * sizeof *device->modules, 64);
    if (device->modules == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: no memory for the kernels");
    memset(device->modules, 0, weft_cuda_n_images * sizeof *device->modules);
    for (size_t i = 0; i < weft_cuda_n_images; i++) {
        weft_cuda_result result = device->driver.module_load(&device->modules[i], weft_cuda_images[i].bytes);
        weft_status status = weft_cuda_check(host, &device->driver, result, "load its kernels", error);
        if (status != WEFT_OK) return status;
    }
    return WEFT_OK;
}

void weft_cuda_unload_modules(weft_backend_device *device) {
    const weft_host *host = device->host;
    if (device->modules == NULL) return;
    for (size_t i = 0; i < weft_cuda_n_images; i++)
        if (device->modules[i] != NULL) device->driver.module_unload(device->modules[i]);
    host->release(host->user, device->modules, weft_cuda_n_images * sizeof *device->modules);
    device->modules = NULL;
}

bool weft_cuda_has_file(const char *file) {
    for (size_t i = 0; i < weft_cuda_n_images; i++)
        if (strcmp(weft_cuda_images[i].name, file) == 0) return true;
    return false;
}

weft_status weft_cuda_find_kernel(weft_backend_device *device, const char *file, const char *name, weft_cuda_function *function,
                                  weft_error *error) {
    for (size_t i = 0; i < weft_cuda_n_images; i++) {
        if (strcmp(weft_cuda_images[i].name, file) != 0) continue;
        weft_cuda_result result = device->driver.module_function(function, device->modules[i], name);
        return weft_cuda_result_of(device, result, name, error);
    }
    return device->host->fail(error, WEFT_UNSUPPORTED, "cuda: this build has no kernel file %s", file);
}
