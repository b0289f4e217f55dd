/* The first Vulkan device, for tests that are skipped if there is none. */
#ifndef WEFT_TESTS_VULKAN_DEVICE_H
#define WEFT_TESTS_VULKAN_DEVICE_H

#include <stdio.h>
#include <stdlib.h>

#include "core/runtime.h"

static weft_runtime *runtime;
static weft_device *device;

static inline void close_vulkan(void) {
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

/* Returns false and prints the reason if there is no device to test. Without a runtime the test fails. */
static inline bool open_vulkan(void) {
    weft_error error;
    if (weft_runtime_create(NULL, &runtime, &error) != WEFT_OK) exit(1);
    if (weft_device_open(runtime, "vulkan", NULL, &device, &error) == WEFT_OK) return true;
    printf("skipped: %s\n", error.message);
    close_vulkan();
    return false;
}

#endif
