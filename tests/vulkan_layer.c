/* Checks that the layers of the Vulkan tests are present and work. Two fills of one buffer without a barrier between them are a
 * hazard: the validation layer must report it, and under the reversing layer the buffer must end with the first fill's value. */
#include "backends/vulkan/memory.h"
#include "core/runtime.h"
#include "device_support.h"

static VkResult fill_twice(weft_backend_device *device, weft_backend_buffer *buffer) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = device->commands,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    VkResult result = vk->vkAllocateCommandBuffers(device->device, &info, &commands);
    if (result == VK_SUCCESS) result = vk->vkBeginCommandBuffer(commands, &begin);
    if (result != VK_SUCCESS) return result;
    vk->vkCmdFillBuffer(commands, buffer->buffer, 0, 16, 1);
    vk->vkCmdFillBuffer(commands, buffer->buffer, 0, 16, 2);
    result = vk->vkEndCommandBuffer(commands);
    if (result == VK_SUCCESS) result = vk->vkQueueSubmit(device->queue, 1, &submit, VK_NULL_HANDLE);
    if (result == VK_SUCCESS) result = vk->vkDeviceWaitIdle(device->device);
    vk->vkFreeCommandBuffers(device->device, device->commands, 1, &commands);
    return result;
}

static weft_status show(weft_backend_device *device, weft_error *error) {
    weft_backend_buffer *buffer = NULL;
    weft_status status = weft_vulkan_buffer_make(device, WEFT_VULKAN_HOST, 64, &buffer, error);
    if (status != WEFT_OK) return status;
    VkResult result = fill_twice(device, buffer);
    if (result == VK_SUCCESS) printf("the buffer has the value of fill %u\n", (unsigned)*(uint32_t *)(void *)buffer->mapped);
    weft_vulkan_buffer_destroy(device, buffer);
    return weft_vulkan_result(device, result, "filling a buffer twice", error);
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_status status = weft_runtime_create(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_device_open(runtime, device_name, NULL, &device, &error);
    if (status == WEFT_OK) status = show(device->handle, &error);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) printf("FAILED: %s\n", error.message);
    return status != WEFT_OK;
}
