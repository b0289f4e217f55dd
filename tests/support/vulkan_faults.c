#include "tests/vulkan_faults.h"

#include <string.h>

vulkan_faults faults;

/* The errors a function may return (the Vulkan specification's "Return Codes"). */
enum { HOST = 1, DEVICE = 2, LOST = 4, MEMORY = HOST | DEVICE };

static PFN_vkDeviceWaitIdle wait_idle;
static VkDevice last_device;

static int kind_of(VkResult error) {
    return error == VK_ERROR_OUT_OF_HOST_MEMORY ? HOST : error == VK_ERROR_OUT_OF_DEVICE_MEMORY ? DEVICE : LOST;
}

/* A device that is lost runs nothing: what was submitted has ended when the loss is heard of. */
static VkResult lose(void) {
    if (wait_idle != NULL && last_device != VK_NULL_HANDLE) wait_idle(last_device);
    faults.is_lost = true;
    return VK_ERROR_DEVICE_LOST;
}

static VkResult fault(int kinds, const char *name) {
    if (faults.is_lost && (kinds & LOST) != 0 && strcmp(name, "vkCreateDevice") != 0) return lose();
    if (faults.error == VK_SUCCESS || (kinds & kind_of(faults.error)) == 0) return VK_SUCCESS;
    if (faults.only != NULL && strcmp(faults.only, name) != 0) return VK_SUCCESS;
    if (++faults.n_calls != faults.fail_at) return VK_SUCCESS;
    faults.failed = name;
    return faults.error == VK_ERROR_DEVICE_LOST ? lose() : faults.error;
}

/* X(function, errors, objects it makes, parameters, arguments): fails before the driver is asked. */
#define FALLIBLE(X)                                                                                                                \
    X(vkAllocateCommandBuffers, MEMORY, 0, (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c), (a, b, c))      \
    X(vkAllocateMemory, MEMORY, 1, (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c, VkDeviceMemory *d), \
      (a, b, c, d))                                                                                                                \
    X(vkBeginCommandBuffer, MEMORY, 0, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b))                             \
    X(vkBindBufferMemory, MEMORY, 0, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d), (a, b, c, d))                     \
    X(vkCreateBuffer, MEMORY, 1, (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d),           \
      (a, b, c, d))                                                                                                                \
    X(vkCreateCommandPool, MEMORY, 1,                                                                                              \
      (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c, VkCommandPool *d), (a, b, c, d))              \
    X(vkCreateComputePipelines, MEMORY, 1,                                                                                         \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d, const VkAllocationCallbacks *e,            \
       VkPipeline *f),                                                                                                             \
      (a, b, c, d, e, f))                                                                                                          \
    X(vkCreateDevice, MEMORY | LOST, 1,                                                                                            \
      (VkPhysicalDevice a, const VkDeviceCreateInfo *b, const VkAllocationCallbacks *c, VkDevice *d), (a, b, c, d))                \
    X(vkCreateInstance, MEMORY, 0, (const VkInstanceCreateInfo *a, const VkAllocationCallbacks *b, VkInstance *c), (a, b, c))      \
    X(vkCreatePipelineCache, HOST, 1,                                                                                              \
      (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineCache *d), (a, b, c, d))          \
    X(vkCreatePipelineLayout, MEMORY, 1,                                                                                           \
      (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineLayout *d), (a, b, c, d))        \
    X(vkCreateSemaphore, MEMORY, 1, (VkDevice a, const VkSemaphoreCreateInfo *b, const VkAllocationCallbacks *c, VkSemaphore *d),  \
      (a, b, c, d))                                                                                                                \
    X(vkCreateShaderModule, MEMORY, 1,                                                                                             \
      (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c, VkShaderModule *d), (a, b, c, d))            \
    X(vkDeviceWaitIdle, MEMORY | LOST, 0, (VkDevice a), (a))                                                                       \
    X(vkEnumerateDeviceExtensionProperties, MEMORY, 0, (VkPhysicalDevice a, const char *b, uint32_t *c, VkExtensionProperties *d), \
      (a, b, c, d))                                                                                                                \
    X(vkEnumerateInstanceVersion, HOST, 0, (uint32_t * a), (a))                                                                    \
    X(vkEnumeratePhysicalDevices, MEMORY, 0, (VkInstance a, uint32_t * b, VkPhysicalDevice * c), (a, b, c))                        \
    X(vkGetPipelineCacheData, MEMORY, 0, (VkDevice a, VkPipelineCache b, size_t * c, void *d), (a, b, c, d))                       \
    X(vkMapMemory, MEMORY, 0, (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e, void **f),        \
      (a, b, c, d, e, f))                                                                                                          \
    X(vkQueueBindSparse, MEMORY | LOST, 0, (VkQueue a, uint32_t b, const VkBindSparseInfo *c, VkFence d), (a, b, c, d))            \
    X(vkQueueSubmit, MEMORY | LOST, 0, (VkQueue a, uint32_t b, const VkSubmitInfo *c, VkFence d), (a, b, c, d))                    \
    X(vkWaitSemaphores, MEMORY | LOST, 0, (VkDevice a, const VkSemaphoreWaitInfo *b, uint64_t c), (a, b, c))

#define DESTROYERS(X)                                                                                                              \
    X(vkDestroyBuffer, VkBuffer)                                                                                                   \
    X(vkDestroyCommandPool, VkCommandPool)                                                                                         \
    X(vkDestroyPipeline, VkPipeline)                                                                                               \
    X(vkDestroyPipelineCache, VkPipelineCache)                                                                                     \
    X(vkDestroyPipelineLayout, VkPipelineLayout)                                                                                   \
    X(vkDestroySemaphore, VkSemaphore)                                                                                             \
    X(vkDestroyShaderModule, VkShaderModule)                                                                                       \
    X(vkFreeMemory, VkDeviceMemory)

/* The driver's own, and below what stands before each. */
static struct {
#define X(name, errors, n_made, parameters, arguments) PFN_##name name;
    FALLIBLE(X)
#undef X
#define X(name, type) PFN_##name name;
    DESTROYERS(X)
#undef X
    PFN_vkEndCommandBuffer vkEndCommandBuffer;
    PFN_vkDestroyDevice vkDestroyDevice;
    PFN_vkCmdPipelineBarrier vkCmdPipelineBarrier;
    PFN_vkGetPhysicalDeviceProperties2 vkGetPhysicalDeviceProperties2;
    PFN_vkGetPhysicalDeviceFeatures2 vkGetPhysicalDeviceFeatures2;
} real;

#define X(name, errors, n_made, parameters, arguments)                                                                             \
    static VKAPI_ATTR VkResult VKAPI_CALL before_##name parameters {                                                               \
        VkResult result = fault(errors, #name);                                                                                    \
        if (result == VK_SUCCESS) result = real.name arguments;                                                                    \
        if (result == VK_SUCCESS) faults.n_objects += n_made;                                                                      \
        return result;                                                                                                             \
    }
FALLIBLE(X)
#undef X

#define X(name, type)                                                                                                              \
    static VKAPI_ATTR void VKAPI_CALL before_##name(VkDevice device, type object, const VkAllocationCallbacks *callbacks) {        \
        if (object != VK_NULL_HANDLE) faults.n_objects--;                                                                          \
        real.name(device, object, callbacks);                                                                                      \
    }
DESTROYERS(X)
#undef X

/* ---- With something of their own ---- */

/* Recording has ended all the same: the next vkBeginCommandBuffer begins anew. */
static VKAPI_ATTR VkResult VKAPI_CALL before_vkEndCommandBuffer(VkCommandBuffer commands) {
    VkResult result = real.vkEndCommandBuffer(commands);
    return result == VK_SUCCESS ? fault(MEMORY, "vkEndCommandBuffer") : result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks, VkDevice *device) {
    VkResult result = before_vkCreateDevice(physical, info, callbacks, device);
    if (result == VK_SUCCESS) last_device = *device;
    return result;
}

static VKAPI_ATTR void VKAPI_CALL before_vkDestroyDevice(VkDevice device, const VkAllocationCallbacks *callbacks) {
    if (device != VK_NULL_HANDLE) faults.n_objects--;
    real.vkDestroyDevice(device, callbacks);
    last_device = VK_NULL_HANDLE;
    faults.is_lost = false;
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info,
                                                      const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory) {
    if (faults.largest_allocation == 0 || info->allocationSize <= faults.largest_allocation)
        return before_vkAllocateMemory(device, info, callbacks, memory);
    faults.n_refused++;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_semaphores(VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t timeout_ns) {
    return before_vkWaitSemaphores(device, info, faults.late_answers ? UINT64_MAX : timeout_ns);
}

static VKAPI_ATTR VkResult VKAPI_CALL list_extensions(VkPhysicalDevice device, const char *layer, uint32_t *count,
                                                      VkExtensionProperties *list) {
    if (!faults.no_extensions) return before_vkEnumerateDeviceExtensionProperties(device, layer, count, list);
    *count = 0;
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL before_vkCmdPipelineBarrier(VkCommandBuffer commands, VkPipelineStageFlags from,
                                                              VkPipelineStageFlags to, VkDependencyFlags flags, uint32_t n_memory,
                                                              const VkMemoryBarrier *memory, uint32_t n_buffers,
                                                              const VkBufferMemoryBarrier *buffers, uint32_t n_images,
                                                              const VkImageMemoryBarrier *images) {
    faults.n_barriers++;
    real.vkCmdPipelineBarrier(commands, from, to, flags, n_memory, memory, n_buffers, buffers, n_images, images);
}

static VKAPI_ATTR void VKAPI_CALL before_vkGetPhysicalDeviceProperties2(VkPhysicalDevice device,
                                                                        VkPhysicalDeviceProperties2 *properties) {
    real.vkGetPhysicalDeviceProperties2(device, properties);
    if (faults.discrete) properties->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    if (faults.api_version != 0) properties->properties.apiVersion = faults.api_version;
    if (faults.most_invocations != 0) properties->properties.limits.maxComputeWorkGroupInvocations = faults.most_invocations;
    properties->properties.pipelineCacheUUID[0] = (uint8_t)(properties->properties.pipelineCacheUUID[0] + faults.cache_uuid);
    for (VkBaseOutStructure *next = properties->pNext; next != NULL; next = next->pNext)
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES && faults.largest_allocation != 0)
            ((VkPhysicalDeviceMaintenance3Properties *)(void *)next)->maxMemoryAllocationSize = faults.largest_allocation;
}

static VKAPI_ATTR void VKAPI_CALL before_vkGetPhysicalDeviceFeatures2(VkPhysicalDevice device,
                                                                      VkPhysicalDeviceFeatures2 *features) {
    real.vkGetPhysicalDeviceFeatures2(device, features);
    if (faults.no_features || faults.no_sparse_binding) features->features.sparseBinding = VK_FALSE;
    for (VkBaseOutStructure *next = features->pNext; next != NULL && faults.no_features; next = next->pNext) {
        size_t size =
            next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES   ? sizeof(VkPhysicalDeviceVulkan11Features)
            : next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES ? sizeof(VkPhysicalDeviceVulkan12Features)
                                                                                   : sizeof *next;
        memset((char *)next + sizeof *next, 0, size - sizeof *next);
    }
}

/* ---- Finding them ---- */

typedef void (*any_function)(void);

static const struct {
    const char *name;
    any_function before;
    void *real; /* where the driver's own goes */
} table[] = {
#define X(name, errors, n_made, parameters, arguments) {#name, (any_function)before_##name, &real.name},
    FALLIBLE(X)
#undef X
#define X(name, type) {#name, (any_function)before_##name, &real.name},
        DESTROYERS(X)
#undef X
            {"vkEndCommandBuffer", (any_function)before_vkEndCommandBuffer, &real.vkEndCommandBuffer},
    {"vkDestroyDevice", (any_function)before_vkDestroyDevice, &real.vkDestroyDevice},
    {"vkCmdPipelineBarrier", (any_function)before_vkCmdPipelineBarrier, &real.vkCmdPipelineBarrier},
    {"vkGetPhysicalDeviceProperties2", (any_function)before_vkGetPhysicalDeviceProperties2, &real.vkGetPhysicalDeviceProperties2},
    {"vkGetPhysicalDeviceFeatures2", (any_function)before_vkGetPhysicalDeviceFeatures2, &real.vkGetPhysicalDeviceFeatures2},
    /* before those of the same name above */
    {"vkCreateDevice", (any_function)create_device, &real.vkCreateDevice},
    {"vkAllocateMemory", (any_function)allocate_memory, &real.vkAllocateMemory},
    {"vkWaitSemaphores", (any_function)wait_semaphores, &real.vkWaitSemaphores},
    {"vkEnumerateDeviceExtensionProperties", (any_function)list_extensions, &real.vkEnumerateDeviceExtensionProperties},
};

static void *find_symbol(const weft_os_library *library, const char *name) {
    void *found = weft_os_library_symbol(library, name);
    for (size_t i = sizeof table / sizeof table[0]; i-- > 0 && found != NULL;) {
        if (strcmp(table[i].name, name) != 0) continue;
        memcpy(table[i].real, &found, sizeof found);
        memcpy(&found, &table[i].before, sizeof found);
        break;
    }
    wait_idle = real.vkDeviceWaitIdle;
    return found;
}

void vulkan_faults_install(void) {
    weft_vulkan_symbol = find_symbol;
}
