/* A Vulkan layer that finds missing barriers. It records dispatches, copies and fills that no barrier separates in reverse order.
 * If a barrier is missing, the result is then wrong even on a driver that runs them one after the other, such as Mesa's for the
 * CPU. The interface is the loader's (docs/LoaderLayerInterface.md of Khronos' Vulkan-Loader).
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <vulkan/vk_layer.h>
#include <vulkan/vulkan_core.h>

enum { PUSH_BYTES = 256 };

typedef enum command_kind { DISPATCH, COPY, FILL } command_kind;

typedef struct command {
    command_kind kind;
    VkPipeline pipeline;
    VkPipelineLayout layout;
    unsigned char push[PUSH_BYTES];
    uint32_t push_bytes, groups[3], word;
    VkBuffer from, to;
    VkBufferCopy region; /* of a fill: dstOffset and size */
} command;

/* What a command buffer was given since the last barrier, and what is bound. */
typedef struct recording {
    VkCommandBuffer commands;
    command bound, *list;
    size_t n, capacity;
    struct recording *next;
} recording;

/* What comes below; the same for every device of one driver, and more than one is not supported. */
static struct {
    PFN_vkGetInstanceProcAddr instance_address;
    PFN_vkGetDeviceProcAddr device_address;
    PFN_vkBeginCommandBuffer begin;
    PFN_vkEndCommandBuffer end;
    PFN_vkCmdBindPipeline bind_pipeline;
    PFN_vkCmdPushConstants push_constants;
    PFN_vkCmdDispatch dispatch;
    PFN_vkCmdCopyBuffer copy_buffer;
    PFN_vkCmdFillBuffer fill_buffer;
    PFN_vkCmdPipelineBarrier pipeline_barrier;
} below;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static recording *recordings;

static recording *recording_of(VkCommandBuffer commands) {
    pthread_mutex_lock(&mutex);
    recording *found = recordings;
    while (found && found->commands != commands) found = found->next;
    if (!found) {
        found = calloc(1, sizeof *found);
        if (!found) abort();
        *found = (recording){.commands = commands, .next = recordings};
        recordings = found;
    }
    pthread_mutex_unlock(&mutex);
    return found;
}

static void keep(recording *r, command c) {
    if (r->n == r->capacity) {
        r->capacity = r->capacity ? 2 * r->capacity : 64;
        r->list = realloc(r->list, r->capacity * sizeof *r->list);
        if (!r->list) abort();
    }
    r->list[r->n++] = c;
}

static void flush(recording *r) {
    while (r->n > 0) {
        const command *c = &r->list[--r->n];
        if (c->kind == COPY) below.copy_buffer(r->commands, c->from, c->to, 1, &c->region);
        if (c->kind == FILL) below.fill_buffer(r->commands, c->to, c->region.dstOffset, c->region.size, c->word);
        if (c->kind != DISPATCH) continue;
        below.bind_pipeline(r->commands, VK_PIPELINE_BIND_POINT_COMPUTE, c->pipeline);
        below.push_constants(r->commands, c->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, c->push_bytes, c->push);
        below.dispatch(r->commands, c->groups[0], c->groups[1], c->groups[2]);
    }
}

/* ---- Functions of a command buffer ---- */

static VKAPI_ATTR VkResult VKAPI_CALL begin(VkCommandBuffer commands, const VkCommandBufferBeginInfo *info) {
    recording_of(commands)->n = 0;
    return below.begin(commands, info);
}

static VKAPI_ATTR VkResult VKAPI_CALL end(VkCommandBuffer commands) {
    flush(recording_of(commands));
    return below.end(commands);
}

static VKAPI_ATTR void VKAPI_CALL bind_pipeline(VkCommandBuffer commands, VkPipelineBindPoint point, VkPipeline pipeline) {
    (void)point;
    recording_of(commands)->bound.pipeline = pipeline;
}

static VKAPI_ATTR void VKAPI_CALL push_constants(VkCommandBuffer commands, VkPipelineLayout layout, VkShaderStageFlags stages,
                                                 uint32_t offset, uint32_t size, const void *values) {
    (void)stages;
    command *bound = &recording_of(commands)->bound;
    if (offset + size > PUSH_BYTES) abort();
    bound->layout = layout;
    memcpy(bound->push + offset, values, size);
    if (offset + size > bound->push_bytes || offset == 0) bound->push_bytes = offset + size;
}

static VKAPI_ATTR void VKAPI_CALL dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y, uint32_t z) {
    recording *r = recording_of(commands);
    command c = r->bound;
    c.kind = DISPATCH;
    memcpy(c.groups, (uint32_t[]){x, y, z}, sizeof c.groups);
    keep(r, c);
}

static VKAPI_ATTR void VKAPI_CALL copy_buffer(VkCommandBuffer commands, VkBuffer from, VkBuffer to, uint32_t n,
                                              const VkBufferCopy *regions) {
    for (uint32_t i = 0; i < n; i++)
        keep(recording_of(commands), (command){.kind = COPY, .from = from, .to = to, .region = regions[i]});
}

static VKAPI_ATTR void VKAPI_CALL fill_buffer(VkCommandBuffer commands, VkBuffer to, VkDeviceSize offset, VkDeviceSize size,
                                              uint32_t word) {
    keep(recording_of(commands), (command){.kind = FILL, .to = to, .region = {.dstOffset = offset, .size = size}, .word = word});
}

static VKAPI_ATTR void VKAPI_CALL pipeline_barrier(VkCommandBuffer commands, VkPipelineStageFlags from, VkPipelineStageFlags to,
                                                   VkDependencyFlags flags, uint32_t n_memory, const VkMemoryBarrier *memory,
                                                   uint32_t n_buffer, const VkBufferMemoryBarrier *buffer, uint32_t n_image,
                                                   const VkImageMemoryBarrier *image) {
    flush(recording_of(commands));
    below.pipeline_barrier(commands, from, to, flags, n_memory, memory, n_buffer, buffer, n_image, image);
}

/* ---- The loader's interface ---- */

/* The loader's link to the layer below, which is taken off the chain. */
static VkLayerDeviceCreateInfo *device_link(const VkDeviceCreateInfo *info) {
    const VkLayerDeviceCreateInfo *link = info->pNext;
    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO && link->function == VK_LAYER_LINK_INFO))
        link = link->pNext;
    return (VkLayerDeviceCreateInfo *)link;
}

static VkLayerInstanceCreateInfo *instance_link(const VkInstanceCreateInfo *info) {
    const VkLayerInstanceCreateInfo *link = info->pNext;
    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO && link->function == VK_LAYER_LINK_INFO))
        link = link->pNext;
    return (VkLayerInstanceCreateInfo *)link;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator,
                                                      VkInstance *instance) {
    VkLayerInstanceCreateInfo *link = instance_link(info);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    below.instance_address = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)below.instance_address(NULL, "vkCreateInstance");
    return create(info, allocator, instance);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkDevice *device) {
    VkLayerDeviceCreateInfo *link = device_link(info);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr instance_address = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    below.device_address = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateDevice create = (PFN_vkCreateDevice)instance_address(NULL, "vkCreateDevice");
    VkResult result = create(physical, info, allocator, device);
    if (result != VK_SUCCESS) return result;
    below.begin = (PFN_vkBeginCommandBuffer)below.device_address(*device, "vkBeginCommandBuffer");
    below.end = (PFN_vkEndCommandBuffer)below.device_address(*device, "vkEndCommandBuffer");
    below.bind_pipeline = (PFN_vkCmdBindPipeline)below.device_address(*device, "vkCmdBindPipeline");
    below.push_constants = (PFN_vkCmdPushConstants)below.device_address(*device, "vkCmdPushConstants");
    below.dispatch = (PFN_vkCmdDispatch)below.device_address(*device, "vkCmdDispatch");
    below.copy_buffer = (PFN_vkCmdCopyBuffer)below.device_address(*device, "vkCmdCopyBuffer");
    below.fill_buffer = (PFN_vkCmdFillBuffer)below.device_address(*device, "vkCmdFillBuffer");
    below.pipeline_barrier = (PFN_vkCmdPipelineBarrier)below.device_address(*device, "vkCmdPipelineBarrier");
    return VK_SUCCESS;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_address(VkInstance instance, const char *name);
static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_address(VkDevice device, const char *name);

static const struct {
    const char *name;
    PFN_vkVoidFunction function;
    bool of_instance;
} own[] = {
    {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)instance_address, true},
    {"vkCreateInstance", (PFN_vkVoidFunction)create_instance, true},
    {"vkCreateDevice", (PFN_vkVoidFunction)create_device, true},
    {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)device_address, false},
    {"vkBeginCommandBuffer", (PFN_vkVoidFunction)begin, false},
    {"vkEndCommandBuffer", (PFN_vkVoidFunction)end, false},
    {"vkCmdBindPipeline", (PFN_vkVoidFunction)bind_pipeline, false},
    {"vkCmdPushConstants", (PFN_vkVoidFunction)push_constants, false},
    {"vkCmdDispatch", (PFN_vkVoidFunction)dispatch, false},
    {"vkCmdCopyBuffer", (PFN_vkVoidFunction)copy_buffer, false},
    {"vkCmdFillBuffer", (PFN_vkVoidFunction)fill_buffer, false},
    {"vkCmdPipelineBarrier", (PFN_vkVoidFunction)pipeline_barrier, false},
};

static PFN_vkVoidFunction own_address(const char *name, bool of_instance) {
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if ((of_instance || !own[i].of_instance) && strcmp(own[i].name, name) == 0) return own[i].function;
    return NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_address(VkInstance instance, const char *name) {
    PFN_vkVoidFunction found = own_address(name, true);
    return found ? found : below.instance_address(instance, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_address(VkDevice device, const char *name) {
    PFN_vkVoidFunction found = own_address(name, false);
    return found ? found : below.device_address(device, name);
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface) {
    if (interface->loaderLayerInterfaceVersion < 2) return VK_ERROR_INITIALIZATION_FAILED;
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = instance_address;
    interface->pfnGetDeviceProcAddr = device_address;
    interface->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
