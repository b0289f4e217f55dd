#include "backends/vulkan/device.h"

#define MOST_TRIES 8
#define LOOK_NS UINT64_C(100000000) /* how often a wait without a timeout looks whether the device is stuck */

static const char *reason_of(bool stuck) {
    return stuck ? "the device does not end what it was given" : "the device was lost";
}

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
        return host->fail(error, WEFT_DEVICE_LOST, "vulkan: %s: %s", what, reason_of(weft_vulkan_is_stuck(device)));
    default:
        return host->fail(error, WEFT_FAILED, "vulkan: %s failed with VkResult %d", what, (int)result);
    }
}

weft_status weft_vulkan_status(weft_backend_device *device, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    bool lost = device->lost, stuck = device->stuck;
    weft_os_mutex_unlock(&device->mutex);
    return lost ? device->host->fail(error, WEFT_DEVICE_LOST, "vulkan: %s", reason_of(stuck)) : WEFT_OK;
}

void weft_vulkan_note(weft_backend_device *device) {
    uint64_t now = weft_os_now();
    weft_os_mutex_lock(&device->mutex);
    device->seen_ns = now;
    weft_os_mutex_unlock(&device->mutex);
}

/* With the mutex held. A driver that fails here fails in the next wait as well, which tells. */
static void look(weft_backend_device *device, uint64_t now) {
    const VkSemaphore semaphores[] = {device->ended, device->copied};
    bool is_new = false;
    for (int i = 0; i < 2; i++) {
        uint64_t value = device->n_seen[i];
        if (device->driver.vk.vkGetSemaphoreCounterValue(device->device, semaphores[i], &value) != VK_SUCCESS) is_new = true;
        is_new = is_new || value != device->n_seen[i];
        device->n_seen[i] = value;
    }
    if (is_new) device->seen_ns = now;
    bool cancelled = device->n_submitted == device->n_cancelled;
    uint64_t passed = now - device->seen_ns;
    if (passed >= device->patience_ns || (cancelled && passed >= device->cancelled_ns)) device->lost = device->stuck = true;
}

bool weft_vulkan_look(weft_backend_device *device) {
    weft_os_mutex_lock(&device->mutex);
    if (!device->lost) look(device, weft_os_now());
    bool stuck = device->stuck;
    weft_os_mutex_unlock(&device->mutex);
    return stuck;
}

bool weft_vulkan_is_stuck(weft_backend_device *device) {
    weft_os_mutex_lock(&device->mutex);
    bool stuck = device->stuck;
    weft_os_mutex_unlock(&device->mutex);
    return stuck;
}

static VkResult wait_once(weft_backend_device *device, uint32_t n, const VkSemaphore *semaphores, const uint64_t *values,
                          uint64_t timeout_ns) {
    VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, .semaphoreCount = n, .pSemaphores = semaphores, .pValues = values};
    VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
    for (int i = 0; i < MOST_TRIES && (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY); i++)
        result = device->driver.vk.vkWaitSemaphores(device->device, &info, timeout_ns);
    return result;
}

VkResult weft_vulkan_wait_for(weft_backend_device *device, uint32_t n, const VkSemaphore *semaphores, const uint64_t *values,
                              uint64_t timeout_ns) {
    if (timeout_ns != UINT64_MAX) return wait_once(device, n, semaphores, values, timeout_ns);
    VkResult result;
    do {
        result = wait_once(device, n, semaphores, values, LOOK_NS);
    } while (result == VK_TIMEOUT && !weft_vulkan_look(device));
    return result == VK_TIMEOUT ? VK_ERROR_DEVICE_LOST : result;
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
