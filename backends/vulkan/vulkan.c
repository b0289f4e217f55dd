/* The Vulkan backend: GLSL compute shaders that reach everything by address. See docs/architecture.md for how steps run. */
#include <string.h>

#include "backends/vulkan/bandwidth.h"
#include "backends/vulkan/cache.h"
#include "backends/vulkan/devices.h"
#include "backends/vulkan/features.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/pipeline.h"
#include "backends/vulkan/queue.h"
#include "backends/vulkan/table.h"
#include "backends/vulkan/transfer.h"

static weft_status memory_info(weft_backend_device *device, uint64_t *total, uint64_t *available, weft_error *error) {
    (void)error;
    weft_vulkan_heap heap = weft_vulkan_memory_of(device);
    *total = heap.bytes;
    *available = heap.bytes_free;
    return WEFT_OK;
}

/* ---- Opening ---- */

static weft_status create_device(weft_backend_device *device, weft_error *error) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    const float priority = 1.0f;
    weft_vulkan_enabled enabled;
    weft_vulkan_features_enable(&device->traits, &enabled);
    uint32_t families[] = {device->traits.queue_family, device->traits.sparse_family};
    uint32_t n_families = device->traits.has_sparse_binding && families[1] != families[0] ? 2 : 1;
    VkDeviceQueueCreateInfo queues[2];
    for (uint32_t i = 0; i < n_families; i++)
        queues[i] = (VkDeviceQueueCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                              .queueFamilyIndex = families[i],
                                              .queueCount = 1,
                                              .pQueuePriorities = &priority};
    VkPhysicalDeviceFeatures features = {.shaderInt16 = device->traits.has_int16,
                                         .sparseBinding = device->traits.has_sparse_binding};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = enabled.chain,
                               .queueCreateInfoCount = n_families,
                               .pQueueCreateInfos = queues,
                               .pEnabledFeatures = &features,
                               .enabledExtensionCount = enabled.n_extensions,
                               .ppEnabledExtensionNames = enabled.extensions};
    VkResult result = vk->vkCreateDevice(device->physical, &info, NULL, &device->device);
    if (result == VK_SUCCESS) vk->vkGetDeviceQueue(device->device, families[0], 0, &device->queue);
    if (result == VK_SUCCESS) vk->vkGetDeviceQueue(device->device, families[n_families - 1], 0, &device->sparse_queue);
    return weft_vulkan_result(device, result, "opening the device", error);
}

static weft_status create_objects(weft_backend_device *device, weft_error *error) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = device->traits.queue_family};
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, WEFT_VULKAN_PUSH_BYTES};
    if (weft_vulkan_has_more_push_bytes(&device->traits)) range.size = WEFT_VULKAN_MORE_PUSH_BYTES;
    VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, .pushConstantRangeCount = 1, .pPushConstantRanges = &range};
    VkSemaphoreTypeCreateInfo timeline = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                          .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &timeline};
    VkResult result = vk->vkCreateCommandPool(device->device, &pool, NULL, &device->commands);
    if (result == VK_SUCCESS) result = vk->vkCreatePipelineLayout(device->device, &layout, NULL, &device->layout);
    if (result == VK_SUCCESS) result = vk->vkCreateSemaphore(device->device, &semaphore, NULL, &device->ended);
    weft_status status = weft_vulkan_result(device, result, "creating objects for steps", error);
    if (status == WEFT_OK) status = weft_vulkan_transfers_create(device, error);
    if (status == WEFT_OK)
        status = weft_vulkan_buffer_create(device, WEFT_MEMORY_DEVICE,
                                           WEFT_VULKAN_CONTROL_BYTES + WEFT_VULKAN_N_COUNTERS * sizeof(uint32_t), &device->control,
                                           error);
    const uint64_t queue_bytes = (4 + 2 * WEFT_VULKAN_MAX_QUEUED) * sizeof(uint32_t);
    if (status == WEFT_OK) status = weft_vulkan_buffer_make(device, WEFT_VULKAN_HOST, queue_bytes, &device->steps, error);
    return status;
}

/* What a stuck device may still use is left to the driver until the process ends; only the host's memory is given back. */
static void close_device(weft_backend_device *device) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    const weft_host *host = device->host;
    bool stuck = false;
    if (device->device != VK_NULL_HANDLE) {
        weft_vulkan_settle(device);
        stuck = weft_vulkan_is_stuck(device);
        if (!stuck) vk->vkDeviceWaitIdle(device->device);
        if (!stuck) weft_vulkan_cache_save(device);
        weft_vulkan_pipelines_destroy(device);
        weft_vulkan_buffer_destroy(device, device->control);
        weft_vulkan_buffer_destroy(device, device->steps);
        weft_vulkan_transfers_destroy(device);
    }
    if (device->device != VK_NULL_HANDLE && !stuck) {
        vk->vkDestroyPipelineCache(device->device, device->cache, NULL);
        vk->vkDestroySemaphore(device->device, device->ended, NULL);
        vk->vkDestroyPipelineLayout(device->device, device->layout, NULL);
        vk->vkDestroyCommandPool(device->device, device->commands, NULL);
        vk->vkDestroyDevice(device->device, NULL);
    }
    if (stuck) device->driver.instance = VK_NULL_HANDLE; /* it is left, too */
    weft_vulkan_driver_close(host, &device->driver);
    if (device->cache_folder != NULL) weft_vulkan_release(host, device->cache_folder, strlen(device->cache_folder) + 1);
    weft_os_mutex_destroy(&device->mutex);
    weft_vulkan_release(host, device, sizeof *device);
}

static weft_status find_device(weft_backend_device *device, size_t index, weft_error *error) {
    weft_status status = weft_vulkan_driver_open(device->host, &device->driver, error);
    if (status != WEFT_OK) return status;
    if (index >= device->driver.n_devices)
        return device->host->fail(error, WEFT_NOT_FOUND, "vulkan: there is no device %zu, only %u", index,
                                  device->driver.n_devices);
    device->physical = device->driver.devices[index];
    weft_vulkan_driver_traits(&device->driver, device->physical, &device->traits);
    if (device->traits.unusable[0] == 0) return WEFT_OK;
    return device->host->fail(error, WEFT_UNSUPPORTED, "vulkan: %s", device->traits.unusable);
}

static weft_status open_device(const weft_host *host, size_t index, const weft_device_options *options,
                               weft_backend_device **device, weft_error *error) {
    weft_backend_device *opened = weft_vulkan_allocate(host, sizeof *opened);
    if (opened == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory to open the device");
    memset(opened, 0, sizeof *opened);
    opened->host = host;
    opened->cancelled_ns = WEFT_VULKAN_CANCELLED_NS;
    if (!weft_os_mutex_init(&opened->mutex)) {
        weft_vulkan_release(host, opened, sizeof *opened);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "the system has no room for another mutex");
    }
    weft_status status = find_device(opened, index, error);
    if (status == WEFT_OK) status = create_device(opened, error);
    opened->patience_ns = opened->traits.is_processor ? UINT64_MAX : WEFT_VULKAN_PATIENCE_NS;
    if (status == WEFT_OK) status = create_objects(opened, error);
    if (status == WEFT_OK) status = weft_vulkan_cache_load(opened, options == NULL ? NULL : options->cache_folder, error);
    if (status != WEFT_OK) {
        close_device(opened);
        return status;
    }
    *device = opened;
    return WEFT_OK;
}

const weft_backend weft_vulkan_backend = {
    .abi = WEFT_BACKEND_ABI,
    .size = sizeof(weft_backend),
    .name = "vulkan",
    .rank = 10, /* a discrete card's; weft_vulkan_devices ranks the others */
    .devices = weft_vulkan_devices,
    .open = open_device,
    .close = close_device,
    .memory_info = memory_info,
    .buffer_create = weft_vulkan_buffer_create,
    .buffer_destroy = weft_vulkan_buffer_destroy,
    .buffer_address = weft_vulkan_buffer_address,
    .buffer_map = weft_vulkan_buffer_map,
    .write = weft_vulkan_write,
    .read = weft_vulkan_read,
    .weight_layout = weft_vulkan_weight_layout,
    .weight_pack = weft_vulkan_weight_pack,
    .supports = weft_vulkan_supports,
    .kernel_at = weft_vulkan_kernel_at,
    .plan_create = weft_vulkan_plan_create,
    .plan_destroy = weft_vulkan_plan_destroy,
    .plan_submit = weft_vulkan_plan_submit,
    .wait = weft_vulkan_wait,
    .cancel = weft_vulkan_cancel,
    .status = weft_vulkan_status,
    .read_bandwidth = weft_vulkan_read_bandwidth,
    .stage = weft_vulkan_stage,
    .plan_dispatches = weft_vulkan_plan_dispatches,
    .plan_barriers = weft_vulkan_plan_barriers,
};
