/* Buffers, each in an allocation of its own: the core makes few and large ones. A buffer that is too large for one allocation lies
 * in several (sparse.c).
 */
#include "backends/vulkan/memory.h"

#include <stdio.h>
#include <string.h>

#include "backends/vulkan/sparse.h"

weft_vulkan_heap weft_vulkan_memory_of(weft_backend_device *device) {
    weft_vulkan_heap heaps[VK_MAX_MEMORY_HEAPS];
    weft_vulkan_heaps_measure(&device->driver, device->physical, &device->traits, device->heap_used, heaps);
    return weft_vulkan_heap_largest(&device->traits, heaps);
}

/* ---- The type of memory ---- */

typedef struct type_search {
    const VkPhysicalDeviceMemoryProperties *memory;
    weft_vulkan_heap heaps[VK_MAX_MEMORY_HEAPS];
    uint32_t allowed; /* types */
    uint64_t bytes;
    bool found, has_type; /* a type with room; a type at all */
    uint32_t type, heap;  /* the type found; the largest heap that was considered */
} type_search;

/* Takes the first memory type that has all flags of the wish and whose heap has room. */
static void search_types(type_search *search, VkMemoryPropertyFlags wish) {
    for (uint32_t i = 0; i < search->memory->memoryTypeCount && !search->found; i++) {
        if ((search->allowed >> i & 1) == 0 || (search->memory->memoryTypes[i].propertyFlags & wish) != wish) continue;
        uint32_t heap = search->memory->memoryTypes[i].heapIndex;
        if (!search->has_type || search->heaps[heap].bytes > search->heaps[search->heap].bytes) search->heap = heap;
        search->has_type = true;
        search->type = i;
        search->found = search->bytes <= search->heaps[heap].bytes_free;
    }
}

/* Goes through the wishes in order. A card's buffers are in the host's memory only if no memory of the card's own could be theirs:
 * it would be slow without a word. */
static void choose_type(const weft_vulkan_traits *traits, weft_vulkan_memory memory, type_search *search) {
    static const VkMemoryPropertyFlags coherent = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    static const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT, local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags host[] = {coherent | cached, coherent}, of_device[] = {local, 0};
    const VkMemoryPropertyFlags shared[] = {coherent | cached | local, coherent | local, local, coherent | cached, 0};
    const VkMemoryPropertyFlags *wishes = memory == WEFT_VULKAN_HOST ? host : traits->host_memory ? shared : of_device;
    size_t n_wishes = wishes == shared ? sizeof shared / sizeof shared[0] : 2;
    for (size_t i = 0; i < n_wishes && !search->found && !(wishes == of_device && search->has_type); i++)
        search_types(search, wishes[i]);
}

static double mib(uint64_t bytes) {
    return (double)bytes / 1048576.0;
}

static weft_status choose_memory(weft_backend_device *device, weft_vulkan_memory memory, const weft_backend_buffer *buffer,
                                 VkMemoryRequirements *needs, uint32_t *type, weft_error *error) {
    device->driver.vk.vkGetBufferMemoryRequirements(device->device, buffer->buffer, needs);
    type_search search = {.memory = &device->traits.memory, .allowed = needs->memoryTypeBits, .bytes = needs->size};
    weft_vulkan_heaps_measure(&device->driver, device->physical, &device->traits, device->heap_used, search.heaps);
    choose_type(&device->traits, memory, &search);
    *type = search.type;
    if (search.found) return WEFT_OK;
    if (!search.has_type)
        return device->host->fail(error, WEFT_UNSUPPORTED, "vulkan: the device has no memory type for buffers%s",
                                  memory == WEFT_VULKAN_HOST ? " that the host sees" : "");
    const weft_vulkan_heap *heap = &search.heaps[search.heap];
    return device->host->fail(error, WEFT_OUT_OF_MEMORY,
                              "vulkan: a buffer of %.1f MiB does not fit: %.1f MiB are free of the %.1f MiB of heap %u",
                              mib(needs->size), mib(heap->bytes_free), mib(heap->bytes), (unsigned)search.heap);
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
    VkResult result = weft_vulkan_memory_allocate(device, buffer, needs.size, type, &buffer->memory);
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
    char what[64];
    snprintf(what, sizeof what, "memory for a buffer of %.1f MiB", mib(buffer->bytes));
    return weft_vulkan_result(device, result, what, error);
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
    bool stuck = weft_vulkan_is_stuck(device);
    if (buffer->buffer != VK_NULL_HANDLE && !stuck) vk->vkDestroyBuffer(device->device, buffer->buffer, NULL);
    if (buffer->memory != VK_NULL_HANDLE && !stuck) vk->vkFreeMemory(device->device, buffer->memory, NULL);
    device->heap_used[buffer->heap] -= buffer->allocated;
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
