/* Buffers larger than the driver's largest allocation: one range of addresses, bound to several allocations. The host cannot see
 * them.
 */
#include "backends/vulkan/sparse.h"

#include <string.h>

VkResult weft_vulkan_memory_allocate(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t bytes, uint32_t type,
                                     VkDeviceMemory *memory) {
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags, .allocationSize = bytes, .memoryTypeIndex = type};
    VkResult result = device->driver.vk.vkAllocateMemory(device->device, &info, NULL, memory);
    if (result != VK_SUCCESS) return result;
    buffer->heap = device->traits.memory.memoryTypes[type].heapIndex;
    buffer->allocated += bytes;
    device->heap_used[buffer->heap] += bytes;
    return VK_SUCCESS;
}

/* Allocates the pieces of memory behind the buffer, in order. */
static VkResult allocate_pieces(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t bytes, uint64_t piece_bytes,
                                uint32_t type) {
    VkResult result = VK_SUCCESS;
    for (size_t i = 0; i < buffer->n_pieces && result == VK_SUCCESS; i++) {
        VkSparseMemoryBind *piece = &buffer->pieces[i];
        uint64_t left = bytes - i * piece_bytes;
        piece->resourceOffset = i * piece_bytes;
        piece->size = left < piece_bytes ? left : piece_bytes;
        result = weft_vulkan_memory_allocate(device, buffer, piece->size, type, &piece->memory);
    }
    return result;
}

/* Only semaphores could order the binding with submitted work. So the host waits for that work first, and then for the binding. */
static weft_status bind_pieces(weft_backend_device *device, const weft_backend_buffer *buffer, weft_error *error) {
    weft_status status = weft_vulkan_finish(device, error);
    if (status != WEFT_OK) return status;
    uint64_t value = device->n_copies + 1;
    VkSparseBufferMemoryBindInfo bind = {
        .buffer = buffer->buffer, .bindCount = (uint32_t)buffer->n_pieces, .pBinds = buffer->pieces};
    VkTimelineSemaphoreSubmitInfo timeline = {.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                              .signalSemaphoreValueCount = 1,
                                              .pSignalSemaphoreValues = &value};
    VkBindSparseInfo info = {.sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO,
                             .pNext = &timeline,
                             .bufferBindCount = 1,
                             .pBufferBinds = &bind,
                             .signalSemaphoreCount = 1,
                             .pSignalSemaphores = &device->copied};
    VkResult result = device->driver.vk.vkQueueBindSparse(device->sparse_queue, 1, &info, VK_NULL_HANDLE);
    if (result == VK_SUCCESS) {
        device->n_copies = value;
        weft_vulkan_note(device);
        result = weft_vulkan_wait_for(device, 1, &device->copied, &value, UINT64_MAX);
    }
    return weft_vulkan_result(device, result, "binding a buffer to several allocations", error);
}

weft_status weft_vulkan_sparse_bind(weft_backend_device *device, weft_backend_buffer *buffer, const VkMemoryRequirements *needs,
                                    uint32_t type, weft_error *error) {
    uint64_t piece_bytes = device->traits.largest_allocation / needs->alignment * needs->alignment;
    if (piece_bytes == 0)
        return device->host->fail(error, WEFT_OUT_OF_MEMORY,
                                  "vulkan: the driver's largest allocation is smaller than a buffer's alignment");
    buffer->n_pieces = (size_t)((needs->size + piece_bytes - 1) / piece_bytes);
    buffer->pieces = weft_vulkan_allocate(device->host, buffer->n_pieces * sizeof *buffer->pieces);
    if (buffer->pieces == NULL)
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory for a buffer's description");
    memset(buffer->pieces, 0, buffer->n_pieces * sizeof *buffer->pieces);
    VkResult result = allocate_pieces(device, buffer, needs->size, piece_bytes, type);
    weft_status status = weft_vulkan_result(device, result, "memory for a buffer", error);
    return status == WEFT_OK ? bind_pieces(device, buffer, error) : status;
}

void weft_vulkan_sparse_release(weft_backend_device *device, weft_backend_buffer *buffer) {
    if (buffer->pieces == NULL) return;
    for (size_t i = 0; i < buffer->n_pieces && !weft_vulkan_is_stuck(device); i++)
        device->driver.vk.vkFreeMemory(device->device, buffer->pieces[i].memory, NULL);
    weft_vulkan_release(device->host, buffer->pieces, buffer->n_pieces * sizeof *buffer->pieces);
}
