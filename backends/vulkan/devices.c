/* The list of devices, and what they say of themselves. */
#include "backends/vulkan/devices.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "backends/vulkan/driver.h"
#include "backends/vulkan/heaps.h"

/* Added to the backend's rank, 10, which is a discrete GPU's. An integrated GPU comes after those and before the cpu backend. A
 * driver that computes on the processor, or a device of an unknown kind, comes out below 0, so that "auto" never chooses it. */
static int32_t rank_of(VkPhysicalDeviceType type) {
    if (type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) return 0;
    return type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU || type == VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU ? -5 : -11;
}

static weft_device_kind kind_of(VkPhysicalDeviceType type) {
    static const weft_device_kind kinds[] = {
        [VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU] = WEFT_DEVICE_INTEGRATED_GPU,
        [VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU] = WEFT_DEVICE_GPU,
        [VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU] = WEFT_DEVICE_VIRTUAL_GPU,
        [VK_PHYSICAL_DEVICE_TYPE_CPU] = WEFT_DEVICE_SOFTWARE_GPU,
    };
    size_t index = (size_t)type;
    return index < sizeof kinds / sizeof kinds[0] ? kinds[index] : WEFT_DEVICE_UNKNOWN;
}

static void append(char *text, size_t size, const char *format, ...) {
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

/* All features that decide which kernels run, and the sizes of memory. */
static void describe_features(const weft_vulkan_traits *traits, char *text, size_t size) {
    uint32_t version = traits->properties.apiVersion;
    snprintf(text, size, "vulkan %u.%u.%u, subgroups of %u", VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
             VK_API_VERSION_PATCH(version), traits->subgroup_size);
    if (traits->unusable[0] == 0) append(text, size, ", 16- and 8-bit storage");
    if (traits->has_float16 || traits->has_int8)
        append(text, size, ", arithmetic in%s%s", traits->has_float16 ? " f16" : "", traits->has_int8 ? " i8" : "");
    if (traits->has_dot_product) append(text, size, ", int8 dot products%s", traits->dot_product_is_fast ? "" : " (slow)");
    if (traits->has_cooperative_matrix) append(text, size, ", cooperative matrices");
    if (traits->matrices.m != 0) append(text, size, " %ux%ux%u", traits->matrices.m, traits->matrices.n, traits->matrices.k);
    if (traits->floats.shaderDenormPreserveFloat32) append(text, size, ", keeps subnormals");
    if (traits->has_memory_budget) append(text, size, ", memory budget");
    if (traits->has_sparse_binding) append(text, size, ", sparse binding");
    append(text, size, ", heaps of");
    for (uint32_t i = 0; i < traits->memory.memoryHeapCount; i++)
        append(text, size, "%s %.1f%s", i == 0 ? "" : " +", (double)traits->memory.memoryHeaps[i].size * 1e-9,
               traits->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT ? "" : " (host)");
    append(text, size, " GB, one allocation %.1f GB", (double)traits->largest_allocation * 1e-9);
}

static void describe(const weft_vulkan_driver *driver, VkPhysicalDevice device, weft_device_info *info) {
    weft_vulkan_traits traits;
    weft_vulkan_driver_traits(driver, device, &traits);
    *info = (weft_device_info){.host_memory = traits.host_memory,
                               .host_processor = traits.is_processor,
                               .kind = kind_of(traits.properties.deviceType),
                               .rank = rank_of(traits.properties.deviceType)};
    weft_os_uuid_text(traits.uuid, info->stable_id);
    snprintf(info->name, sizeof info->name, "%.*s", (int)sizeof info->name - 1, traits.properties.deviceName);
    snprintf(info->driver, sizeof info->driver, "%.60s %.60s", traits.driver.driverName, traits.driver.driverInfo);
    describe_features(&traits, info->features, sizeof info->features);
    snprintf(info->unusable, sizeof info->unusable, "%s", traits.unusable);
    weft_vulkan_heap heaps[VK_MAX_MEMORY_HEAPS];
    weft_vulkan_heaps_measure(driver, device, &traits, NULL, heaps);
    weft_vulkan_heap largest = weft_vulkan_heap_largest(&traits, heaps);
    info->memory_total = largest.bytes;
    info->memory_free = largest.bytes_free;
}

weft_status weft_vulkan_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    weft_vulkan_driver driver;
    weft_error reason = {0};
    weft_status status = weft_vulkan_driver_open(host, &driver, &reason);
    if (status == WEFT_OUT_OF_MEMORY && driver.refused != VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return host->fail(error, status, "%s", reason.message);
    if (status != WEFT_OK) {
        *count = 1;
        if (capacity == 0) return WEFT_OK;
        list[0] = (weft_device_info){0};
        snprintf(list[0].unusable, sizeof list[0].unusable, "%.*s", (int)sizeof list[0].unusable - 1, reason.message);
        return WEFT_OK;
    }
    *count = driver.n_devices;
    for (uint32_t i = 0; i < driver.n_devices && i < capacity; i++) describe(&driver, driver.devices[i], &list[i]);
    weft_vulkan_driver_close(host, &driver);
    return WEFT_OK;
}
