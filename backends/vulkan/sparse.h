/* Buffers in several allocations. */
#ifndef WEFT_VULKAN_SPARSE_H
#define WEFT_VULKAN_SPARSE_H

#include "backends/vulkan/device.h"

/* Allocates memory for a buffer, or for a part of it, and counts it. */
VkResult weft_vulkan_memory_allocate(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t bytes, uint32_t type,
                                     VkDeviceMemory *memory);

/* Binds a buffer to several new allocations of the memory type. The buffer was created for sparse binding and has no memory yet. */
weft_status weft_vulkan_sparse_bind(weft_backend_device *device, weft_backend_buffer *buffer, const VkMemoryRequirements *needs,
                                    uint32_t type, weft_error *error);
void weft_vulkan_sparse_release(weft_backend_device *device, weft_backend_buffer *buffer);

#endif
