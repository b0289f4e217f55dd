#include "backends/vulkan/heaps.h"

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t without(uint64_t bytes, uint64_t used) {
    return bytes > used ? bytes - used : 0;
}

/* Where the device shares the host's memory, the system's word counts too: a driver's budget may not know of other processes. */
void weft_vulkan_heaps_measure(const weft_vulkan_driver *driver, VkPhysicalDevice device, const weft_vulkan_traits *traits,
                               const uint64_t *used, weft_vulkan_heap *heaps) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                .pNext = traits->has_memory_budget ? &budget : NULL};
    uint64_t host_bytes = 0, host_free = 0;
    driver->vk.vkGetPhysicalDeviceMemoryProperties2(device, &memory);
    if (traits->host_memory) weft_os_memory(&host_bytes, &host_free);
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++) {
        uint64_t bytes = memory.memoryProperties.memoryHeaps[i].size;
        heaps[i] = (weft_vulkan_heap){.bytes = bytes, .bytes_free = without(bytes, used == NULL ? 0 : used[i])};
        if (traits->has_memory_budget)
            heaps[i].bytes_free = smaller(heaps[i].bytes_free, without(budget.heapBudget[i], budget.heapUsage[i]));
        if (host_free > 0) heaps[i].bytes_free = smaller(heaps[i].bytes_free, host_free);
    }
}

weft_vulkan_heap weft_vulkan_heap_largest(const weft_vulkan_traits *traits, const weft_vulkan_heap *heaps) {
    weft_vulkan_heap largest = {0};
    for (uint32_t i = 0; i < traits->memory.memoryHeapCount; i++) {
        bool is_local = (traits->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
        if ((is_local || traits->host_memory) && heaps[i].bytes > largest.bytes) largest = heaps[i];
    }
    return largest;
}
