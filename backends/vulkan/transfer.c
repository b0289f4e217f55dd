/* Moving bytes between the host and buffers that it cannot see: through staging memory of two halves, one of which the host fills
 * or empties while the device copies the other.
 */
#include <string.h>

#include "backends/vulkan/vulkan.h"

#define STAGE_BYTES ((uint64_t)4 << 20)

weft_status weft_vulkan_transfers_create(weft_backend_device *device, weft_error *error) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkResult result = VK_SUCCESS;
    for (size_t i = 0; i < WEFT_VULKAN_N_STAGES && result == VK_SUCCESS; i++) {
        VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = device->commands,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
        result = vk->vkAllocateCommandBuffers(device->device, &info, &device->stages[i].commands);
        VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
        if (result == VK_SUCCESS) result = vk->vkCreateFence(device->device, &fence, NULL, &device->stages[i].fence);
    }
    return weft_vulkan_result(device, result, "what copies memory", error);
}

void weft_vulkan_transfers_destroy(weft_backend_device *device) {
    weft_vulkan_buffer_destroy(device, device->staging);
    for (size_t i = 0; i < WEFT_VULKAN_N_STAGES; i++)
        if (device->stages[i].fence != VK_NULL_HANDLE)
            device->driver.vk.vkDestroyFence(device->device, device->stages[i].fence, NULL);
}

static VkResult wait_stage(weft_backend_device *device, weft_vulkan_stage *stage) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    if (!stage->pending) return VK_SUCCESS;
    VkResult result = vk->vkWaitForFences(device->device, 1, &stage->fence, VK_TRUE, UINT64_MAX);
    if (result == VK_SUCCESS) result = vk->vkResetFences(device->device, 1, &stage->fence);
    stage->pending = result != VK_SUCCESS;
    return result;
}

static void barrier(weft_backend_device *device, VkCommandBuffer commands, VkPipelineStageFlags from, VkAccessFlags written,
                    VkPipelineStageFlags to, VkAccessFlags used) {
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = written, .dstAccessMask = used};
    device->driver.vk.vkCmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

/* Copies, or fills with zeros where `from` is NULL, after everything submitted before and before everything submitted later. */
static VkResult submit_stage(weft_backend_device *device, weft_vulkan_stage *stage, const weft_backend_buffer *from,
                             const weft_backend_buffer *to, VkBufferCopy region) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    const VkPipelineStageFlags steps = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    const VkAccessFlags any =
        VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult result = vk->vkBeginCommandBuffer(stage->commands, &begin);
    if (result != VK_SUCCESS) return result;
    barrier(device, stage->commands, steps, VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
            VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    if (from == NULL)
        vk->vkCmdFillBuffer(stage->commands, to->buffer, region.dstOffset, region.size, 0);
    else
        vk->vkCmdCopyBuffer(stage->commands, from->buffer, to->buffer, 1, &region);
    barrier(device, stage->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
            steps | VK_PIPELINE_STAGE_HOST_BIT, any | VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    result = vk->vkEndCommandBuffer(stage->commands);
    if (result != VK_SUCCESS) return result;
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &stage->commands};
    result = vk->vkQueueSubmit(device->queue, 1, &submit, stage->fence);
    stage->pending = result == VK_SUCCESS;
    return result;
}

/* Waits for both halves whatever has happened: their memory is about to be used otherwise. */
static weft_status finish_stages(weft_backend_device *device, VkResult result, const char *what, weft_error *error) {
    for (size_t i = 0; i < WEFT_VULKAN_N_STAGES; i++) {
        VkResult waited = wait_stage(device, &device->stages[i]);
        if (result == VK_SUCCESS) result = waited;
    }
    return weft_vulkan_result(device, result, what, error);
}

weft_status weft_vulkan_zero(weft_backend_device *device, weft_backend_buffer *buffer, weft_error *error) {
    VkBufferCopy all = {.size = buffer->bytes};
    return finish_stages(device, submit_stage(device, &device->stages[0], NULL, buffer, all), "clearing a buffer", error);
}

static weft_status reserve_staging(weft_backend_device *device, weft_error *error) {
    if (device->staging != NULL) return WEFT_OK;
    return weft_vulkan_buffer_make(device, WEFT_VULKAN_HOST, WEFT_VULKAN_N_STAGES * STAGE_BYTES, &device->staging, error);
}

weft_status weft_vulkan_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                              size_t bytes, weft_error *error) {
    if (buffer->mapped != NULL) {
        weft_status status = weft_vulkan_finish(device, error);
        if (status == WEFT_OK) memcpy(buffer->mapped + offset, from, bytes);
        return status;
    }
    weft_status status = reserve_staging(device, error);
    if (status != WEFT_OK) return status;
    VkResult result = VK_SUCCESS;
    size_t half = 0;
    for (uint64_t done = 0; done < bytes && result == VK_SUCCESS; half = (half + 1) % WEFT_VULKAN_N_STAGES) {
        uint64_t size = bytes - done < STAGE_BYTES ? bytes - done : STAGE_BYTES;
        result = wait_stage(device, &device->stages[half]);
        if (result != VK_SUCCESS) break;
        memcpy(device->staging->mapped + half * STAGE_BYTES, (const char *)from + done, (size_t)size);
        VkBufferCopy region = {.srcOffset = half * STAGE_BYTES, .dstOffset = offset + done, .size = size};
        result = submit_stage(device, &device->stages[half], device->staging, buffer, region);
        done += size;
    }
    return finish_stages(device, result, "writing to the device", error);
}

/* Two halves at a time: the device copies the second while the host takes the first. */
weft_status weft_vulkan_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error) {
    if (buffer->mapped != NULL) {
        weft_status status = weft_vulkan_finish(device, error);
        if (status == WEFT_OK) memcpy(into, buffer->mapped + offset, bytes);
        return status;
    }
    weft_status status = reserve_staging(device, error);
    if (status != WEFT_OK) return status;
    VkResult result = VK_SUCCESS;
    for (uint64_t done = 0; done < bytes && result == VK_SUCCESS;) {
        uint64_t sizes[WEFT_VULKAN_N_STAGES] = {0}, at = done;
        for (size_t i = 0; i < WEFT_VULKAN_N_STAGES && at < bytes && result == VK_SUCCESS; i++) {
            sizes[i] = bytes - at < STAGE_BYTES ? bytes - at : STAGE_BYTES;
            VkBufferCopy region = {.srcOffset = offset + at, .dstOffset = i * STAGE_BYTES, .size = sizes[i]};
            result = submit_stage(device, &device->stages[i], buffer, device->staging, region);
            at += sizes[i];
        }
        for (size_t i = 0; i < WEFT_VULKAN_N_STAGES && result == VK_SUCCESS; i++) {
            result = wait_stage(device, &device->stages[i]);
            if (result == VK_SUCCESS) memcpy((char *)into + done, device->staging->mapped + i * STAGE_BYTES, (size_t)sizes[i]);
            done += sizes[i];
        }
    }
    return finish_stages(device, result, "reading from the device", error);
}
