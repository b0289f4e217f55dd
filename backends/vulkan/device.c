#include "backends/vulkan/device.h"

#define MOST_TRIES 8

weft_status weft_vulkan_result(weft_backend_device *device, VkResult result, const char *what, weft_error *error) {
    const weft_host *host = device->host;
    switch (result) {
    case VK_SUCCESS:
        return WEFT_OK;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no host memory for %s", what);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: %s: the device's memory is used up", what);
    case VK_ERROR_TOO_MANY_OBJECTS:
        return host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: %s: too many objects", what);
    case VK_ERROR_DEVICE_LOST:
        weft_os_mutex_lock(&device->mutex);
        device->lost = true;
        weft_os_mutex_unlock(&device->mutex);
        return host->fail(error, WEFT_DEVICE_LOST, "vulkan: %s: the device was lost", what);
    default:
        return host->fail(error, WEFT_FAILED, "vulkan: %s failed with VkResult %d", what, (int)result);
    }
}

weft_status weft_vulkan_status(weft_backend_device *device, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    bool lost = device->lost;
    weft_os_mutex_unlock(&device->mutex);
    return lost ? device->host->fail(error, WEFT_DEVICE_LOST, "vulkan: the device was lost") : WEFT_OK;
}

VkResult weft_vulkan_wait_for(weft_backend_device *device, uint32_t n, const VkSemaphore *semaphores, const uint64_t *values,
                              uint64_t timeout_ns) {
    VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = n, .pSemaphores = semaphores, .pValues = values};
    VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
    for (int i = 0; i < MOST_TRIES && (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY); i++)
        result = device->driver.vk.vkWaitSemaphores(device->device, &info, timeout_ns);
    return result;
}

weft_status weft_vulkan_finish(weft_backend_device *device, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    uint64_t values[] = {device->last_ticket, device->n_copies};
    weft_os_mutex_unlock(&device->mutex);
    weft_status status = weft_vulkan_status(device, error);
    if (status != WEFT_OK || (values[0] == 0 && values[1] == 0)) return status;
    const VkSemaphore semaphores[] = {device->ended, device->copied};
    return weft_vulkan_result(device, weft_vulkan_wait_for(device, 2, semaphores, values, UINT64_MAX), "waiting for the device",
                              error);
}

void weft_vulkan_settle(weft_backend_device *device) {
    if (weft_vulkan_finish(device, NULL) == WEFT_OK || weft_vulkan_status(device, NULL) != WEFT_OK)
        return; /* a lost device runs nothing */
    weft_vulkan_result(device, device->driver.vk.vkDeviceWaitIdle(device->device), "waiting for the device", NULL);
}
