/* Buffers, each in an allocation of its own: the core makes few and large ones. A buffer that is too large for one allocation lies
 * in several (sparse.c).
 */
#include "backends/vulkan/memory.h"

#include <string.h>

#include "backends/vulkan/sparse.h"

/* Goes through the wishes in order and takes the first memory type that has all flags of one. */
static bool find_type(const VkPhysicalDeviceMemoryProperties *memory, uint32_t allowed, const VkMemoryPropertyFlags *wishes,
                      size_t n_wishes, uint32_t *type) {
    for (size_t wish = 0; wish < n_wishes; wish++) {
        for (uint32_t i = 0; i < memory->memoryTypeCount; i++) {
            if ((allowed >> i & 1) == 0 || (memory->memoryTypes[i].propertyFlags & wishes[wish]) != wishes[wish]) continue;
            *type = i;
            return true;
        }
    }
    return false;
}

static bool choose_type(const weft_vulkan_traits *traits, uint32_t allowed, weft_vulkan_memory memory, uint32_t *type) {
    static const VkMemoryPropertyFlags coherent = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags host[] = {coherent | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, coherent};
    const VkMemoryPropertyFlags shared[] = {coherent | VK_MEMORY_PROPERTY_HOST_CACHED_BIT | VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                            coherent | VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    const VkMemoryPropertyFlags device[] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    if (memory == WEFT_VULKAN_HOST) return find_type(&traits->memory, allowed, host, 2, type);
    if (traits->host_memory) return find_type(&traits->memory, allowed, shared, 4, type);
    return find_type(&traits->memory, allowed, device, 2, type);
}

static double mib(uint64_t bytes) {
    return (double)bytes / 1048576.0;
}

static weft_status choose_memory(weft_backend_device *device, weft_vulkan_memory memory, const weft_backend_buffer *buffer,
                                 VkMemoryRequirements *needs, uint32_t *type, weft_error *error) {
    device->driver.vk.vkGetBufferMemoryRequirements(device->device, buffer->buffer, needs);
    if (!choose_type(&device->traits, needs->memoryTypeBits, memory, type))
        return device->host->fail(error, WEFT_UNSUPPORTED, "vulkan: the device has no memory type for buffers%s",
                                  memory == WEFT_VULKAN_HOST ? " that the host sees" : "");
    uint64_t heap = device->traits.memory.memoryHeaps[device->traits.memory.memoryTypes[*type].heapIndex].size;
    if (needs->size <= heap) return WEFT_OK;
    return device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: a buffer of %.1f MiB does not fit the device's %.1f MiB",
                              mib(needs->size), mib(heap));
}

static weft_status create_buffer(weft_backend_device *device, VkBufferCreateFlags flags, weft_backend_buffer *buffer,
                                 weft_error *error) {
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .flags = flags,
                               .size = buffer->bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT};
    VkResult result = device->driver.vk.vkCreateBuffer(device->device, &info, NULL, &buffer->buffer);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY && buffer->bytes > device->traits.largest_allocation)
        return device->host->fail(error, WEFT_OUT_OF_MEMORY,
                                  "vulkan: the driver creates no buffer of %.1f MiB; it allows %.1f MiB in one allocation",
                                  mib(buffer->bytes), mib(device->traits.largest_allocation));
    return weft_vulkan_result(device, result, "a buffer", error);
}

/* Why a buffer cannot lie in several allocations, or NULL. */
static const char *obstacle_to_spread(const weft_vulkan_traits *traits, weft_vulkan_memory memory, uint64_t bytes) {
    if (memory == WEFT_VULKAN_HOST) return "a buffer that the host sees must lie in one";
    if (!traits->has_sparse_binding)
        return "it cannot bind a buffer to several: another driver, or a newer one, may have sparse binding";
    return bytes > traits->properties.limits.sparseAddressSpaceSize ? "less in several that a buffer is bound to" : NULL;
}

/* For a buffer that is too large for one allocation. */
static weft_status spread(weft_backend_device *device, weft_vulkan_memory memory, weft_backend_buffer *buffer, weft_error *error) {
    const char *obstacle = obstacle_to_spread(&device->traits, memory, buffer->bytes);
    if (obstacle != NULL)
        return device->host->fail(
            error, WEFT_OUT_OF_MEMORY,
            "vulkan: cannot allocate a buffer of %.1f MiB: the driver allows %.1f MiB in one allocation, and %s",
            mib(buffer->bytes), mib(device->traits.largest_allocation), obstacle);
    VkMemoryRequirements needs;
    uint32_t type = 0;
    device->driver.vk.vkDestroyBuffer(device->device, buffer->buffer, NULL);
    buffer->buffer = VK_NULL_HANDLE;
    weft_status status = create_buffer(device, VK_BUFFER_CREATE_SPARSE_BINDING_BIT, buffer, error);
    if (status == WEFT_OK) status = choose_memory(device, memory, buffer, &needs, &type, error);
    return status == WEFT_OK ? weft_vulkan_sparse_bind(device, buffer, &needs, type, error) : status;
}

static weft_status allocate_memory(weft_backend_device *device, weft_vulkan_memory memory, weft_backend_buffer *buffer,
                                   weft_error *error) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkMemoryRequirements needs;
    uint32_t type = 0;
    weft_status status = choose_memory(device, memory, buffer, &needs, &type, error);
    if (status != WEFT_OK) return status;
    VkResult result = weft_vulkan_memory_allocate(device, needs.size, type, &buffer->memory);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY && needs.size > device->traits.largest_allocation)
        return spread(device, memory, buffer, error);
    if (result == VK_SUCCESS) result = vk->vkBindBufferMemory(device->device, buffer->buffer, buffer->memory, 0);
    VkMemoryPropertyFlags has = device->traits.memory.memoryTypes[type].propertyFlags;
    const VkMemoryPropertyFlags mappable = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    if (result == VK_SUCCESS && (memory == WEFT_VULKAN_HOST || device->traits.host_memory) && (has & mappable) == mappable) {
        void *mapped = NULL;
        result = vk->vkMapMemory(device->device, buffer->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
        buffer->mapped = mapped;
    }
    return weft_vulkan_result(device, result, "memory for a buffer", error);
}

weft_status weft_vulkan_buffer_make(weft_backend_device *device, weft_vulkan_memory memory, uint64_t bytes,
                                    weft_backend_buffer **buffer, weft_error *error) {
    weft_backend_buffer *made = weft_vulkan_allocate(device->host, sizeof *made);
    if (made == NULL) return device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory for a buffer's description");
    *made = (weft_backend_buffer){.bytes = bytes < 64 ? 64 : (bytes + 63) / 64 * 64};
    weft_status status = create_buffer(device, 0, made, error);
    if (status == WEFT_OK) status = allocate_memory(device, memory, made, error);
    if (status == WEFT_OK) {
        VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = made->buffer};
        made->address = device->driver.vk.vkGetBufferDeviceAddress(device->device, &address);
        if (made->mapped != NULL) memset(made->mapped, 0, made->bytes);
    }
    if (status != WEFT_OK) {
        weft_vulkan_buffer_destroy(device, made);
        return status;
    }
    *buffer = made;
    return WEFT_OK;
}

/* The buffer may be incomplete. */
void weft_vulkan_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    if (buffer == NULL) return;
    weft_vulkan_settle(device);
    if (buffer->buffer != VK_NULL_HANDLE) vk->vkDestroyBuffer(device->device, buffer->buffer, NULL);
    if (buffer->memory != VK_NULL_HANDLE) vk->vkFreeMemory(device->device, buffer->memory, NULL);
    weft_vulkan_sparse_release(device, buffer);
    weft_vulkan_release(device->host, buffer, sizeof *buffer);
}

uint64_t weft_vulkan_buffer_address(weft_backend_device *device, const weft_backend_buffer *buffer) {
    (void)device;
    return buffer->address;
}

void *weft_vulkan_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer) {
    (void)device;
    return buffer->mapped;
}
