/* How much memory is free on a device. */
#ifndef WEFT_VULKAN_HEAPS_H
#define WEFT_VULKAN_HEAPS_H

#include "backends/vulkan/driver.h"

typedef struct weft_vulkan_heap {
    uint64_t bytes, bytes_free; /* what this process may still allocate, as the driver and the system say */
} weft_vulkan_heap;

/* `used`: the bytes that the open device has from each heap; NULL: the device is not open. `heaps` has VK_MAX_MEMORY_HEAPS. */
void weft_vulkan_heaps_measure(const weft_vulkan_driver *driver, VkPhysicalDevice device, const weft_vulkan_traits *traits,
                               const uint64_t *used, weft_vulkan_heap *heaps);
/* The largest heap of those that weights may lie in. Heaps may overlap, so that no sum of them is memory that there is. */
weft_vulkan_heap weft_vulkan_heap_largest(const weft_vulkan_traits *traits, const weft_vulkan_heap *heaps);

#endif
