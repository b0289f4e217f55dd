#include "backends/vulkan/driver.h"

#include <stdio.h>
#include <string.h>

#define LIBRARY "libvulkan.so.1"

weft_vulkan_symbol_function weft_vulkan_symbol = weft_os_library_symbol;

static weft_status load(const weft_host *host, weft_vulkan_driver *driver, weft_error *error) {
    static const char *const names[] = {
#define WEFT_VULKAN_FUNCTION(name) #name,
#include "backends/vulkan/functions.def"
#undef WEFT_VULKAN_FUNCTION
    };
    enum { N_FUNCTIONS = sizeof names / sizeof names[0] };
    _Static_assert(sizeof(weft_vulkan_functions) == N_FUNCTIONS * sizeof(void *), "the table holds function pointers alone");
    if (weft_os_library_open(&driver->library, LIBRARY, NULL) != WEFT_OK)
        return host->fail(error, WEFT_UNSUPPORTED, "no Vulkan loader: %s not found", LIBRARY);
    void *symbols[N_FUNCTIONS];
    for (size_t i = 0; i < N_FUNCTIONS; i++) {
        symbols[i] = weft_vulkan_symbol(&driver->library, names[i]);
        if (symbols[i] == NULL)
            return host->fail(error, WEFT_UNSUPPORTED, "%s is older than Vulkan 1.2: it has no %s", LIBRARY, names[i]);
    }
    memcpy(&driver->vk, symbols, sizeof driver->vk);
    return WEFT_OK;
}

static weft_status refuse(const weft_host *host, weft_vulkan_driver *driver, VkResult result, weft_error *error) {
    driver->refused = result;
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return host->fail(error, WEFT_OUT_OF_MEMORY, "no host memory to start Vulkan");
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return host->fail(error, WEFT_OUT_OF_MEMORY, "Vulkan cannot be started: the device's memory is used up");
    case VK_ERROR_INCOMPATIBLE_DRIVER:
        return host->fail(error, WEFT_UNSUPPORTED, "no Vulkan driver is installed");
    default:
        return host->fail(error, WEFT_UNSUPPORTED, "Vulkan cannot be started (VkResult %d): is a driver installed?", (int)result);
    }
}

static weft_status create_instance(const weft_host *host, weft_vulkan_driver *driver, weft_error *error) {
    uint32_t version = 0;
    VkResult result = driver->vk.vkEnumerateInstanceVersion(&version);
    if (result == VK_SUCCESS && version < VK_API_VERSION_1_2)
        return host->fail(error, WEFT_UNSUPPORTED, "the Vulkan loader is older than Vulkan 1.2");
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pEngineName = "weft", .apiVersion = VK_API_VERSION_1_2};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    if (result == VK_SUCCESS) result = driver->vk.vkCreateInstance(&info, NULL, &driver->instance);
    return result == VK_SUCCESS ? WEFT_OK : refuse(host, driver, result, error);
}

static weft_status enumerate(const weft_host *host, weft_vulkan_driver *driver, weft_error *error) {
    uint32_t count = 0;
    VkResult result = driver->vk.vkEnumeratePhysicalDevices(driver->instance, &count, NULL);
    if (result != VK_SUCCESS) return refuse(host, driver, result, error);
    if (count == 0) return host->fail(error, WEFT_UNSUPPORTED, "no Vulkan device is installed");
    driver->devices = host->allocate(host->user, count * sizeof *driver->devices, 64);
    if (driver->devices == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory to list Vulkan devices");
    driver->n_devices = count;
    result = driver->vk.vkEnumeratePhysicalDevices(driver->instance, &count, driver->devices);
    if (result == VK_SUCCESS && count == driver->n_devices) return WEFT_OK;
    return refuse(host, driver, result, error);
}

/* The loader and the drivers stay loaded until the process ends. NVIDIA's driver uses room in the static TLS block each time it is
 * loaded and never frees that room, so that about the tenth load fails. Keeping an instance would keep them loaded as well, but
 * would leak each time that this library itself is loaded. */
weft_status weft_vulkan_driver_open(const weft_host *host, weft_vulkan_driver *driver, weft_error *error) {
    weft_os_libraries libraries;
    *driver = (weft_vulkan_driver){.refused = VK_SUCCESS};
    weft_os_libraries_note(&libraries);
    weft_status status = load(host, driver, error);
    if (status == WEFT_OK) status = create_instance(host, driver, error);
    if (status == WEFT_OK) status = enumerate(host, driver, error);
    weft_os_libraries_keep(&libraries); /* after a failure as well: the drivers may have been loaded by then */
    if (status != WEFT_OK) weft_vulkan_driver_close(host, driver);
    return status;
}

void weft_vulkan_driver_close(const weft_host *host, weft_vulkan_driver *driver) {
    if (driver->devices != NULL) host->release(host->user, driver->devices, driver->n_devices * sizeof *driver->devices);
    if (driver->instance != VK_NULL_HANDLE) driver->vk.vkDestroyInstance(driver->instance, NULL);
    if (driver->library.handle != NULL) weft_os_library_close(&driver->library);
    *driver = (weft_vulkan_driver){.refused = driver->refused};
}

/* ---- Traits ---- */

#define MAX_LISTED 512 /* queue families and extensions that are looked at */

/* The first queue family with a `needed` capability. The search begins at `preferred` and wraps around. */
static bool find_queue_family(const weft_vulkan_driver *driver, VkPhysicalDevice device, VkQueueFlags needed, uint32_t preferred,
                              uint32_t *family) {
    VkQueueFamilyProperties families[32];
    uint32_t count = sizeof families / sizeof families[0];
    driver->vk.vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families);
    for (uint32_t n = 0; n < count; n++) {
        uint32_t i = (preferred + n) % count;
        if ((families[i].queueFlags & needed) == 0 || families[i].queueCount == 0) continue;
        *family = i;
        return true;
    }
    return false;
}

/* What a device must have: Vulkan 1.2 and some features that are optional there. */
static void check_features(const weft_vulkan_driver *driver, VkPhysicalDevice device, weft_vulkan_traits *traits) {
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES};
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroups = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, .pNext = traits->has_dot_product ? &dot : NULL};
    weft_vulkan_matrix_features matrices = {.sType = WEFT_VULKAN_MATRIX_FEATURES_TYPE,
                                            .pNext = traits->has_subgroup_control ? (void *)&subgroups : subgroups.pNext};
    VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                            .pNext = traits->has_cooperative_matrix ? (void *)&matrices : matrices.pNext};
    VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &v12};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11};
    driver->vk.vkGetPhysicalDeviceFeatures2(device, &features);
    traits->has_dot_product = dot.shaderIntegerDotProduct;
    traits->has_float16 = v12.shaderFloat16;
    traits->has_int8 = v12.shaderInt8;
    traits->has_int16 = features.features.shaderInt16;
    traits->has_memory_model = v12.vulkanMemoryModel && v12.vulkanMemoryModelDeviceScope;
    traits->has_subgroup_control = traits->has_subgroup_control && subgroups.subgroupSizeControl && subgroups.computeFullSubgroups;
    traits->has_cooperative_matrix = traits->has_cooperative_matrix && matrices.cooperativeMatrix;
    if (traits->has_cooperative_matrix)
        traits->matrices = weft_vulkan_matrix_shape_find(driver->vk.vkGetInstanceProcAddr, driver->instance, device);
    bool has_queue = find_queue_family(driver, device, VK_QUEUE_COMPUTE_BIT, 0, &traits->queue_family);
    traits->has_sparse_binding =
        features.features.sparseBinding && has_queue &&
        find_queue_family(driver, device, VK_QUEUE_SPARSE_BINDING_BIT, traits->queue_family, &traits->sparse_family);
    const struct {
        bool present;
        const char *name;
    } needed[] = {
        {has_queue, "a compute queue"},
        {v11.storageBuffer16BitAccess, "storageBuffer16BitAccess"},
        {v12.storageBuffer8BitAccess, "storageBuffer8BitAccess"},
        {v12.bufferDeviceAddress, "bufferDeviceAddress"},
        {v12.timelineSemaphore, "timelineSemaphore"},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        size_t length = strlen(traits->unusable);
        if (!needed[i].present)
            snprintf(traits->unusable + length, sizeof traits->unusable - length, "%s %s", length == 0 ? "it lacks" : ",",
                     needed[i].name);
    }
}

static void find_extensions(const weft_vulkan_driver *driver, VkPhysicalDevice device, weft_vulkan_traits *traits) {
    VkExtensionProperties extensions[MAX_LISTED];
    uint32_t count = MAX_LISTED;
    const struct {
        const char *name;
        bool *present;
    } known[] = {
        {VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, &traits->has_memory_budget},
        {VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, &traits->has_dot_product},
        {VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, &traits->has_subgroup_control},
        {WEFT_VULKAN_COOPERATIVE_MATRIX_EXTENSION, &traits->has_cooperative_matrix},
    };
    VkResult result = driver->vk.vkEnumerateDeviceExtensionProperties(device, NULL, &count, extensions);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return;
    for (uint32_t i = 0; i < count; i++)
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            if (strcmp(extensions[i].extensionName, known[k].name) == 0) *known[k].present = true;
}

void weft_vulkan_driver_traits(const weft_vulkan_driver *driver, VkPhysicalDevice device, weft_vulkan_traits *traits) {
    memset(traits, 0, sizeof *traits);
    find_extensions(driver, device, traits);
    traits->driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    traits->floats.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES;
    traits->floats.pNext = &traits->driver;
    VkPhysicalDeviceShaderIntegerDotProductProperties dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES, .pNext = &traits->floats};
    VkPhysicalDeviceMaintenance3Properties limits = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES,
                                                     .pNext = traits->has_dot_product ? (void *)&dot : (void *)&traits->floats};
    VkPhysicalDeviceSubgroupSizeControlProperties sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES, .pNext = &limits};
    VkPhysicalDeviceSubgroupProperties subgroups = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                                                    .pNext = traits->has_subgroup_control ? (void *)&sizes : (void *)&limits};
    VkPhysicalDeviceIDProperties ids = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, .pNext = &subgroups};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &ids};
    driver->vk.vkGetPhysicalDeviceProperties2(device, &properties);
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    driver->vk.vkGetPhysicalDeviceMemoryProperties2(device, &memory);
    traits->properties = properties.properties;
    traits->memory = memory.memoryProperties;
    traits->largest_allocation = limits.maxMemoryAllocationSize;
    memcpy(traits->uuid, ids.deviceUUID, sizeof traits->uuid);
    traits->subgroup_size = subgroups.subgroupSize;
    if ((subgroups.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0) traits->subgroup_operations = subgroups.supportedOperations;
    traits->has_subgroup_control =
        traits->has_subgroup_control && (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    traits->smallest_subgroup = sizes.minSubgroupSize;
    traits->largest_subgroup = sizes.maxSubgroupSize;
    traits->dot_product_is_fast = dot.integerDotProduct4x8BitPackedSignedAccelerated;
    traits->floats.pNext = NULL;
    traits->is_processor = traits->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    traits->n_cores = traits->is_processor ? weft_os_core_count() : 0;
    traits->host_memory = traits->is_processor || traits->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    uint32_t version = traits->properties.apiVersion;
    if (version >= VK_API_VERSION_1_2) {
        check_features(driver, device, traits);
    } else {
        snprintf(traits->unusable, sizeof traits->unusable, "it has Vulkan %u.%u and 1.2 is needed", VK_API_VERSION_MAJOR(version),
                 VK_API_VERSION_MINOR(version));
    }
}
