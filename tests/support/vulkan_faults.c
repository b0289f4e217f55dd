#include "tests/vulkan_faults.h"

#include <string.h>

vulkan_faults faults;

/* The errors a function may return (the Vulkan specification's "Return Codes"). */
enum { HOST = 1, DEVICE = 2, LOST = 4, MEMORY = HOST | DEVICE };

static PFN_vkDeviceWaitIdle wait_idle;
static VkPhysicalDevice last_physical;
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
    X(vkGetSemaphoreCounterValue, MEMORY | LOST, 0, (VkDevice a, VkSemaphore b, uint64_t * c), (a, b, c))                          \
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
    PFN_vkGetPhysicalDeviceMemoryProperties2 vkGetPhysicalDeviceMemoryProperties2;
    PFN_vkGetBufferMemoryRequirements vkGetBufferMemoryRequirements;
    PFN_vkSignalSemaphore vkSignalSemaphore;
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
    const char *names[16];
    VkDeviceCreateInfo known = *info;
    known.enabledExtensionCount = 0;
    known.ppEnabledExtensionNames = names;
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++) /* the driver need not have the budget that is made up */
        if (faults.heaps == NULL || strcmp(info->ppEnabledExtensionNames[i], VK_EXT_MEMORY_BUDGET_EXTENSION_NAME) != 0)
            names[known.enabledExtensionCount++] = info->ppEnabledExtensionNames[i];
    VkResult result = before_vkCreateDevice(physical, &known, callbacks, device);
    if (result == VK_SUCCESS) last_device = *device;
    if (result == VK_SUCCESS) last_physical = physical;
    return result;
}

static VKAPI_ATTR void VKAPI_CALL before_vkDestroyDevice(VkDevice device, const VkAllocationCallbacks *callbacks) {
    if (device != VK_NULL_HANDLE) faults.n_objects--;
    real.vkDestroyDevice(device, callbacks);
    last_device = VK_NULL_HANDLE;
    faults.is_lost = false;
}

/* ---- Memory ---- */

static struct {
    VkDeviceMemory memory; /* null: free */
    uint64_t bytes;
    uint32_t heap;
} allocations[1024];

uint64_t vulkan_faults_allocated(uint32_t heap) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof allocations / sizeof *allocations; i++)
        if (allocations[i].memory != VK_NULL_HANDLE && allocations[i].heap == heap) bytes += allocations[i].bytes;
    return bytes;
}

static void keep(VkDeviceMemory before, VkDeviceMemory after, uint64_t bytes, uint32_t heap) {
    for (size_t i = 0; i < sizeof allocations / sizeof *allocations; i++) {
        if (allocations[i].memory != before) continue;
        allocations[i].memory = after;
        allocations[i].bytes = bytes;
        allocations[i].heap = heap;
        return;
    }
}

/* The driver's type for one of `heaps`: the first that is as visible. */
static uint32_t own_type(uint32_t type) {
    const VkMemoryPropertyFlags visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    VkMemoryPropertyFlags wish = faults.heaps->memory.memoryTypes[type].propertyFlags & visible;
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    real.vkGetPhysicalDeviceMemoryProperties2(last_physical, &memory);
    uint32_t own = 0;
    while ((memory.memoryProperties.memoryTypes[own].propertyFlags & wish) != wish) own++;
    return own;
}

static VkResult allocate_in_heap(VkDevice device, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *callbacks,
                                 VkDeviceMemory *memory) {
    vulkan_heaps *heaps = faults.heaps;
    uint32_t heap = heaps->memory.memoryTypes[info->memoryTypeIndex].heapIndex;
    VkMemoryAllocateInfo own = *info;
    own.memoryTypeIndex = own_type(info->memoryTypeIndex);
    uint64_t allocated = vulkan_faults_allocated(heap) + info->allocationSize;
    if (allocated > heaps->memory.memoryHeaps[heap].size ||
        (!faults.no_extensions && allocated + heaps->used[heap] > heaps->budget[heap]))
        faults.n_beyond++;
    VkResult result = before_vkAllocateMemory(device, &own, callbacks, memory);
    if (result == VK_SUCCESS) keep(VK_NULL_HANDLE, *memory, info->allocationSize, heap);
    if (++faults.n_allocations + 1 == faults.shrinks_at)
        for (uint32_t i = 0; i < heaps->memory.memoryHeapCount; i++) heaps->budget[i] = heaps->used[i] + vulkan_faults_allocated(i);
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info,
                                                      const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory) {
    if (faults.heaps != NULL) return allocate_in_heap(device, info, callbacks, memory);
    if (faults.largest_allocation == 0 || info->allocationSize <= faults.largest_allocation)
        return before_vkAllocateMemory(device, info, callbacks, memory);
    faults.n_refused++;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_semaphores(VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t timeout_ns) {
    return before_vkWaitSemaphores(device, info, faults.late_answers ? UINT64_MAX : timeout_ns);
}

static VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *callbacks) {
    if (memory != VK_NULL_HANDLE) keep(memory, VK_NULL_HANDLE, 0, 0);
    before_vkFreeMemory(device, memory, callbacks);
}

static VKAPI_ATTR void VKAPI_CALL before_vkGetBufferMemoryRequirements(VkDevice device, VkBuffer buffer,
                                                                       VkMemoryRequirements *needs) {
    real.vkGetBufferMemoryRequirements(device, buffer, needs);
    if (faults.heaps != NULL) needs->memoryTypeBits = (1u << faults.heaps->memory.memoryTypeCount) - 1;
}

static VKAPI_ATTR void VKAPI_CALL before_vkGetPhysicalDeviceMemoryProperties2(VkPhysicalDevice device,
                                                                              VkPhysicalDeviceMemoryProperties2 *memory) {
    if (faults.heaps == NULL) {
        real.vkGetPhysicalDeviceMemoryProperties2(device, memory);
        return;
    }
    memory->memoryProperties = faults.heaps->memory;
    for (VkBaseOutStructure *next = memory->pNext; next != NULL; next = next->pNext) {
        if (next->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) continue;
        VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (VkPhysicalDeviceMemoryBudgetPropertiesEXT *)(void *)next;
        for (uint32_t i = 0; i < faults.heaps->memory.memoryHeapCount; i++) {
            budget->heapBudget[i] = faults.heaps->budget[i];
            budget->heapUsage[i] = faults.heaps->used[i] + vulkan_faults_allocated(i);
        }
    }
}

/* ---- A device that ends nothing ---- */

static bool stops; /* the next submit waits for the gate */
static VkSemaphore gate;
static VkDevice gate_device;

void vulkan_faults_stop(void) {
    stops = true;
}

void vulkan_faults_go_on(void) {
    const VkSemaphoreSignalInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = gate, .value = 1};
    stops = false;
    if (gate == VK_NULL_HANDLE) return;
    real.vkSignalSemaphore(gate_device, &info);
    wait_idle(gate_device);
    real.vkDestroySemaphore(gate_device, gate, NULL);
    gate = VK_NULL_HANDLE;
}

static VkResult submit_behind_gate(VkQueue queue, const VkSubmitInfo *info, VkFence fence) {
    static const uint64_t value = 1;
    static const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkSemaphoreTypeCreateInfo timeline = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                          .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &timeline};
    VkResult result = real.vkCreateSemaphore(last_device, &semaphore, NULL, &gate);
    if (result != VK_SUCCESS) return result;
    VkTimelineSemaphoreSubmitInfo values = *(const VkTimelineSemaphoreSubmitInfo *)info->pNext;
    VkSubmitInfo behind = *info;
    values.waitSemaphoreValueCount = behind.waitSemaphoreCount = 1;
    values.pWaitSemaphoreValues = &value;
    behind.pNext = &values;
    behind.pWaitSemaphores = &gate;
    behind.pWaitDstStageMask = &all;
    gate_device = last_device;
    stops = false;
    return real.vkQueueSubmit(queue, 1, &behind, fence);
}

static VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t n, const VkSubmitInfo *info, VkFence fence) {
    return stops ? submit_behind_gate(queue, info, fence) : before_vkQueueSubmit(queue, n, info, fence);
}

/* ---- What devices say ---- */

static VKAPI_ATTR VkResult VKAPI_CALL list_extensions(VkPhysicalDevice device, const char *layer, uint32_t *count,
                                                      VkExtensionProperties *list) {
    const VkExtensionProperties budget = {.extensionName = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, .specVersion = 1};
    uint32_t room = *count;
    VkResult result = VK_SUCCESS;
    *count = 0;
    if (faults.no_extensions) return VK_SUCCESS;
    if (faults.heaps != NULL && list != NULL && room > 0) { /* once more, where the driver has it itself */
        *list++ = budget;
        room--;
    }
    *count = room;
    result = before_vkEnumerateDeviceExtensionProperties(device, layer, count, list);
    *count += faults.heaps != NULL;
    return result;
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
    {"vkGetPhysicalDeviceMemoryProperties2", (any_function)before_vkGetPhysicalDeviceMemoryProperties2,
     &real.vkGetPhysicalDeviceMemoryProperties2},
    {"vkGetBufferMemoryRequirements", (any_function)before_vkGetBufferMemoryRequirements, &real.vkGetBufferMemoryRequirements},
    /* before those of the same name above */
    {"vkCreateDevice", (any_function)create_device, &real.vkCreateDevice},
    {"vkAllocateMemory", (any_function)allocate_memory, &real.vkAllocateMemory},
    {"vkWaitSemaphores", (any_function)wait_semaphores, &real.vkWaitSemaphores},
    {"vkFreeMemory", (any_function)free_memory, &real.vkFreeMemory},
    {"vkQueueSubmit", (any_function)submit, &real.vkQueueSubmit},
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
    void *signal = weft_os_library_symbol(library, "vkSignalSemaphore");
    memcpy(&real.vkSignalSemaphore, &signal, sizeof signal);
    return found;
}

void vulkan_faults_install(void) {
    weft_vulkan_symbol = find_symbol;
}
