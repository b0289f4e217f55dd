/* Buffers. */
#ifndef WEFT_VULKAN_MEMORY_H
#define WEFT_VULKAN_MEMORY_H

#include "backends/vulkan/device.h"
#include "backends/vulkan/heaps.h"

/* The heap that weights lie in. */
weft_vulkan_heap weft_vulkan_memory_of(weft_backend_device *device);
/* Memory that the host sees is zeroed; other memory is not. */
weft_status weft_vulkan_buffer_make(weft_backend_device *device, weft_vulkan_memory memory, uint64_t bytes,
                                    weft_backend_buffer **buffer, weft_error *error);
void weft_vulkan_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer);
uint64_t weft_vulkan_buffer_address(weft_backend_device *device, const weft_backend_buffer *buffer);
void *weft_vulkan_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer);

#endif
