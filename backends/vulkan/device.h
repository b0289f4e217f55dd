/* The types of the Vulkan backend's device and buffers, and the functions that wait for the device. */
#ifndef WEFT_VULKAN_DEVICE_H
#define WEFT_VULKAN_DEVICE_H

#include "backends/vulkan/driver.h"
#include "os/pace.h"
#include "weft_vulkan_shaders.h"

#define WEFT_VULKAN_MAX_QUEUED 64       /* steps the device can be given at once */
#define WEFT_VULKAN_MAX_CONSTANTS 15    /* specialisation constants of a shader */
#define WEFT_VULKAN_CONTROL_BYTES 64    /* of shaders/common/common.glsl; counters follow */
#define WEFT_VULKAN_N_COUNTERS 65536    /* words that are 0 between dispatches */
#define WEFT_VULKAN_PUSH_BYTES 128      /* what every driver has */
#define WEFT_VULKAN_MORE_PUSH_BYTES 256 /* what many have: weft_vulkan_has_more_push_bytes */
#define WEFT_VULKAN_N_PIECES 4          /* of memory to copy through: the host fills some while the device copies others */
#define WEFT_VULKAN_PIECE_BYTES ((uint64_t)4 << 20)
/* A device that ends nothing for this long is lost: some drivers never say so. Steps run far shorter on cards. A driver that
 * computes on the processor may need any time, unless its steps were cancelled. */
#define WEFT_VULKAN_PATIENCE_NS UINT64_C(120000000000)
#define WEFT_VULKAN_CANCELLED_NS UINT64_C(30000000000)

struct weft_backend_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    VkSparseMemoryBind *pieces; /* the memory of a buffer that lies in several allocations; then `memory` is null */
    size_t n_pieces;
    uint64_t address, bytes;
    uint64_t allocated; /* bytes of memory, from `heap` */
    uint32_t heap;
    char *mapped; /* NULL: the host cannot see it */
};

/* Where a buffer should be. */
typedef enum weft_vulkan_memory {
    WEFT_VULKAN_DEVICE,
    WEFT_VULKAN_HOST, /* mapped and coherent */
} weft_vulkan_memory;

/* What a pipeline is made from. */
typedef struct weft_vulkan_program {
    uint32_t shader; /* WEFT_VULKAN_SHADER_STEM */
    uint32_t constants[WEFT_VULKAN_MAX_CONSTANTS];
    uint32_t subgroup_size; /* of full subgroups, for shaders of rows that need WEFT_VULKAN_SUBGROUPS_OF_32; 0: the device's */
} weft_vulkan_program;

typedef struct weft_vulkan_pipeline {
    weft_vulkan_program program;
    VkPipeline pipeline;
} weft_vulkan_pipeline;

/* Memory that host and device see, and the commands that copy from or to it. */
typedef struct weft_vulkan_piece {
    weft_backend_buffer *memory; /* made when first needed */
    VkCommandBuffer commands;
    uint64_t copied; /* the value that the device's semaphore `copied` reaches when the piece is free again; 0: never used */
} weft_vulkan_piece;

typedef struct weft_vulkan_ring {
    weft_vulkan_piece pieces[WEFT_VULKAN_N_PIECES];
    size_t next;
} weft_vulkan_ring;

typedef struct weft_vulkan_ended {
    uint64_t ticket, submitted_ns;
    bool cancelled;
} weft_vulkan_ended;

struct weft_backend_device {
    const weft_host *host;
    weft_vulkan_driver driver;
    weft_vulkan_traits traits;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue, sparse_queue;
    VkCommandPool commands;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    char *cache_folder; /* NULL: none */
    bool cache_changed;
    VkShaderModule modules[WEFT_VULKAN_N_SHADERS];
    weft_vulkan_pipeline *pipelines;
    size_t n_pipelines, pipeline_capacity;
    weft_vulkan_ring stream, side; /* for weights; for all other copies */
    uint64_t n_copies;
    uint64_t heap_used[VK_MAX_MEMORY_HEAPS]; /* bytes that buffers have from each heap */
    VkSemaphore copied;                      /* its value is the number of copies that have ended */
    weft_backend_buffer *control;            /* of the step that runs, on the device: shaders/common/common.glsl; then counters */
    weft_backend_buffer *steps;              /* the queue that shaders/parts/begin.comp reads */
    VkSemaphore ended;                       /* its value is the last ticket that has ended */

    weft_os_mutex mutex; /* protects the members below: other calls may run during wait and cancel */
    uint64_t last_ticket;
    uint32_t n_submitted;
    weft_os_pace pace;
    weft_vulkan_ended records[WEFT_VULKAN_MAX_QUEUED]; /* step i is at i % WEFT_VULKAN_MAX_QUEUED */
    uint32_t n_cancelled;                              /* n_submitted at the last cancel */
    uint64_t patience_ns, cancelled_ns;                /* how long nothing may end: ever, and after a cancel */
    uint64_t n_seen[2], seen_ns;                       /* the last values of `ended` and `copied`, and when they were new */
    bool lost;
    bool stuck; /* lost because nothing ended: what it still runs may use everything of the driver's, which is never destroyed */
};

static inline void *weft_vulkan_allocate(const weft_host *host, size_t bytes) {
    return host->allocate(host->user, bytes, 64);
}

static inline void weft_vulkan_release(const weft_host *host, void *memory, size_t bytes) {
    if (memory != NULL) host->release(host->user, memory, bytes);
}

/* The status for a driver's result, with the message "vulkan: WHAT ..."; a lost device is remembered. */
weft_status weft_vulkan_result(weft_backend_device *device, VkResult result, const char *what, weft_error *error);
weft_status weft_vulkan_status(weft_backend_device *device, weft_error *error);

/* Something was submitted or cancelled. */
void weft_vulkan_note(weft_backend_device *device);
/* After a wait in vain: whether the device has ended nothing for too long. It is then lost. */
bool weft_vulkan_look(weft_backend_device *device);
bool weft_vulkan_is_stuck(weft_backend_device *device);

/* Waits until each semaphore has its value. A wait that the driver has no memory for is tried again. A wait without a timeout ends
 * with VK_ERROR_DEVICE_LOST if the device is stuck. */
VkResult weft_vulkan_wait_for(weft_backend_device *device, uint32_t n, const VkSemaphore *semaphores, const uint64_t *values,
                              uint64_t timeout_ns);
/* Waits until everything submitted has ended. */
weft_status weft_vulkan_finish(weft_backend_device *device, weft_error *error);
/* Waits until nothing uses the device's memory, in every way that the driver has. */
void weft_vulkan_settle(weft_backend_device *device);

/* Whether push constants may have WEFT_VULKAN_MORE_PUSH_BYTES. */
static inline bool weft_vulkan_has_more_push_bytes(const weft_vulkan_traits *traits) {
    return traits->properties.limits.maxPushConstantsSize >= WEFT_VULKAN_MORE_PUSH_BYTES;
}

#endif
