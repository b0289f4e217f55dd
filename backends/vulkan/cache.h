/* The file of the driver's pipeline cache. */
#ifndef WEFT_VULKAN_CACHE_H
#define WEFT_VULKAN_CACHE_H

#include "backends/vulkan/device.h"

/* A file that cannot be used is left out; it is never an error. */
weft_status weft_vulkan_cache_load(weft_backend_device *device, const char *folder, weft_error *error);
void weft_vulkan_cache_save(weft_backend_device *device);

#endif
