/* The start of every test of the CUDA backend: its table of functions and a host for it, on machines that have a device. */
#ifndef WEFT_TESTS_CUDA_DEVICE_H
#define WEFT_TESTS_CUDA_DEVICE_H

#include <stdio.h>
#include <string.h>

#include "core/runtime.h"

static weft_runtime *runtime;
static const weft_backend *backend;

/* Returns false and prints the reason if there is no device to test. */
static inline bool find_cuda(void) {
    weft_error error = {0};
    weft_device_info info[8] = {0};
    size_t count = 0;
    if (weft_runtime_create(NULL, &runtime, &error)) return false;
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, "cuda") == 0) backend = runtime->backends[i];
    if (backend && !backend->devices(&runtime->host, info, 8, &count, &error) && !info[0].unusable[0]) return true;
    printf("skipped: %s\n", backend ? info[0].unusable : "built without the cuda backend");
    weft_runtime_destroy(runtime);
    return false;
}

#endif
