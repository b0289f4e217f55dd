/* The Vulkan backend's own types: device, buffers, nodes and the table of ops. */
#ifndef WEFT_VULKAN_VULKAN_H
#define WEFT_VULKAN_VULKAN_H

#include "backends/vulkan/driver.h"
#include "os/pace.h"
#include "weft_vulkan_shaders.h"

#define WEFT_VULKAN_MAX_QUEUED 64   /* steps the device can be given at once */
#define WEFT_VULKAN_MAX_CONSTANTS 3 /* specialisation constants of a shader */
#define WEFT_VULKAN_PUSH_BYTES 128  /* what every driver has */
#define WEFT_VULKAN_PARAMS_BYTES 64 /* room for any op's parameter block */
#define WEFT_VULKAN_N_PIECES 4      /* of memory to copy through: some are filled while others travel */
#define WEFT_VULKAN_PIECE_BYTES ((uint64_t)4 << 20)

struct weft_backend_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    VkSparseMemoryBind *pieces; /* in its place, of a buffer that lies in several allocations */
    size_t n_pieces;
    uint64_t address, bytes;
    char *mapped; /* NULL: the host cannot see it */
};

/* Where a buffer should be. */
typedef enum weft_vulkan_memory {
    WEFT_VULKAN_DEVICE,
    WEFT_VULKAN_HOST, /* mapped and coherent */
} weft_vulkan_memory;

/* Layouts of weights. */
enum {
    WEFT_VULKAN_FILE,
    WEFT_VULKAN_Q6_K_PLANAR /* shaders/parts/pack_q6_k.comp */
};

typedef struct weft_vulkan_pipeline {
    uint32_t shader;
    uint32_t constants[WEFT_VULKAN_MAX_CONSTANTS];
    VkPipeline pipeline;
} weft_vulkan_pipeline;

/* Memory that host and device see, and what copies from or to it. */
typedef struct weft_vulkan_piece {
    weft_backend_buffer *memory; /* made when first needed */
    VkCommandBuffer commands;
    uint64_t copied; /* the value of the device's `copied` once it has done with the piece; 0: it was never used */
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
    weft_vulkan_ring stream, side; /* what weights stream through; for all other copies */
    uint64_t n_copies;
    VkSemaphore copied;           /* its value is the number of copies that have ended */
    weft_backend_buffer *control; /* of the step that runs, on the device: shaders/common/common.glsl */
    weft_backend_buffer *steps;   /* the queue that shaders/parts/begin.comp reads */
    VkSemaphore ended;            /* its value is the last ticket that has ended */

    weft_os_mutex mutex; /* for what follows: wait and cancel come next to another call */
    uint64_t last_ticket;
    uint32_t n_submitted;
    weft_os_pace pace;
    weft_vulkan_ended records[WEFT_VULKAN_MAX_QUEUED]; /* step i is at i % WEFT_VULKAN_MAX_QUEUED */
    bool lost;
};

static inline void *weft_vulkan_allocate(const weft_host *host, size_t bytes) {
    return host->allocate(host->user, bytes, 64);
}

static inline void weft_vulkan_release(const weft_host *host, void *memory, size_t bytes) {
    if (memory != NULL) host->release(host->user, memory, bytes);
}

/* The status that a driver's result is, with a message; a lost device is remembered. */
weft_status weft_vulkan_result(weft_backend_device *device, VkResult result, const char *what, weft_error *error);

/* memory.c */
weft_status weft_vulkan_buffer_make(weft_backend_device *device, weft_vulkan_memory memory, uint64_t bytes,
                                    weft_backend_buffer **buffer, weft_error *error);
weft_status weft_vulkan_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                      weft_error *error);
VkResult weft_vulkan_memory_allocate(weft_backend_device *device, uint64_t bytes, uint32_t type, VkDeviceMemory *memory);
void weft_vulkan_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer);
void *weft_vulkan_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer);
/* Waits until nothing uses the device's memory, whatever it takes. */
void weft_vulkan_settle(weft_backend_device *device);
/* sparse.c: gives a buffer that was created for it, and has no memory yet, several allocations of the type. */
weft_status weft_vulkan_sparse_bind(weft_backend_device *device, weft_backend_buffer *buffer, const VkMemoryRequirements *needs,
                                    uint32_t type, weft_error *error);
void weft_vulkan_sparse_release(weft_backend_device *device, weft_backend_buffer *buffer);
/* transfer.c */
weft_status weft_vulkan_transfers_create(weft_backend_device *device, weft_error *error);
void weft_vulkan_transfers_destroy(weft_backend_device *device);
weft_status weft_vulkan_zero(weft_backend_device *device, weft_backend_buffer *buffer, weft_error *error);
weft_status weft_vulkan_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                              size_t bytes, weft_error *error);
weft_status weft_vulkan_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error);

weft_status weft_vulkan_stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error);
weft_status weft_vulkan_weight_pack(weft_backend_device *device, const weft_tensor *weight, const weft_layout *layout,
                                    weft_backend_buffer *buffer, uint64_t offset, int64_t first_row, int64_t n_rows,
                                    const void *from, weft_error *error);

/* What is recorded into the piece's commands in between comes after everything submitted before and before everything submitted
 * later. The end submits it, unless recording had failed. */
weft_status weft_vulkan_commands_begin(weft_backend_device *device, weft_vulkan_piece **piece, weft_error *error);
weft_status weft_vulkan_commands_end(weft_backend_device *device, weft_vulkan_piece *piece, weft_status recorded, const char *what,
                                     weft_error *error);
/* bandwidth.c */
weft_status weft_vulkan_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error);

/* pipeline.c and cache.c */
weft_status weft_vulkan_pipeline_find(weft_backend_device *device, uint32_t shader, const uint32_t *constants, VkPipeline *pipeline,
                                      weft_error *error);
/* Whether the build's compiler knew what the shader requires. */
bool weft_vulkan_has_shader(uint32_t shader);
void weft_vulkan_pipelines_destroy(weft_backend_device *device);
/* A file that cannot be used is left out; it is never an error. */
weft_status weft_vulkan_cache_load(weft_backend_device *device, const char *folder, weft_error *error);
void weft_vulkan_cache_save(weft_backend_device *device);
/* spirv.c: the shader with the float modes the device offers. Release `words` (`*size` bytes). */
weft_status weft_vulkan_spirv(weft_backend_device *device, const uint32_t *code, size_t code_bytes, uint32_t **words, size_t *size,
                              weft_error *error);

/* ops.c and plan.c: the vtable's slots. */
void weft_vulkan_weight_layout(weft_backend_device *device, const weft_tensor *weight, const weft_use *uses, size_t n_uses,
                               weft_layout *layout);
void weft_vulkan_supports(weft_backend_device *device, const weft_query *query, weft_support *support);
weft_status weft_vulkan_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                    weft_error *error);
size_t weft_vulkan_plan_dispatches(weft_backend_device *device, const weft_backend_plan *plan);
void weft_vulkan_plan_destroy(weft_backend_device *device, weft_backend_plan *plan);
weft_status weft_vulkan_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                    uint32_t result_slot, weft_error *error);
weft_status weft_vulkan_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
void weft_vulkan_cancel(weft_backend_device *device);
weft_status weft_vulkan_status(weft_backend_device *device, weft_error *error);
/* Waits until each semaphore has its value. A wait that the driver has no memory for is tried again. */
VkResult weft_vulkan_wait_for(weft_backend_device *device, uint32_t n, const VkSemaphore *semaphores, const uint64_t *values,
                              uint64_t timeout_ns);
/* Waits until everything submitted has ended. */
weft_status weft_vulkan_finish(weft_backend_device *device, weft_error *error);

#endif
