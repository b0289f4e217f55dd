/* What the Vulkan tests rely on: that the validation layer is there and speaks. Two fills of one buffer with no barrier between
 * them are recorded, never run; CTest wants to read of the hazard. */
#include "backends/vulkan/vulkan.h"
#include "core/runtime.h"
#include "device_support.h"

static VkResult record_hazard(weft_backend_device *device) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = device->commands,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult result = vk->vkAllocateCommandBuffers(device->device, &info, &commands);
    if (result == VK_SUCCESS) result = vk->vkBeginCommandBuffer(commands, &begin);
    if (result != VK_SUCCESS) return result;
    vk->vkCmdFillBuffer(commands, device->control->buffer, 0, 16, 1);
    vk->vkCmdFillBuffer(commands, device->control->buffer, 0, 16, 2);
    result = vk->vkEndCommandBuffer(commands);
    vk->vkFreeCommandBuffers(device->device, device->commands, 1, &commands);
    return result;
}

int main(int argc, char **argv) {
    int code = device_tests_begin(argc, argv);
    if (code) return code;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_status status = weft_runtime_create(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_device_open(runtime, device_name, NULL, &device, &error);
    if (status == WEFT_OK && record_hazard(device->handle) != VK_SUCCESS)
        status = weft_fail(&error, WEFT_FAILED, "nothing could be recorded");
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) printf("FAILED: %s\n", error.message);
    return status != WEFT_OK;
}
