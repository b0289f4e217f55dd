/* Dispatches that go into a command buffer, and the scratch of a phase. */
#ifndef WEFT_VULKAN_RECORDER_H
#define WEFT_VULKAN_RECORDER_H

#include "backends/vulkan/device.h"

/* The dispatches of one plan. After a failure `status` keeps it, and further calls do nothing. */
typedef struct weft_vulkan_recorder {
    weft_backend_device *device;
    VkCommandBuffer commands;
    uint32_t n_barriers, n_dispatches, n_counters;
    int64_t n_products;            /* multiplications since the last look, about */
    const weft_schedule *schedule; /* NULL: there is none */
    weft_status status;
    weft_error *error;
} weft_vulkan_recorder;

typedef struct weft_vulkan_dispatch {
    uint32_t shader; /* WEFT_VULKAN_SHADER_STEM */
    uint32_t constants[WEFT_VULKAN_MAX_CONSTANTS];
    uint32_t subgroup_size; /* as in weft_vulkan_program */
    const void *push;       /* the shader's Parameters; weft_vulkan_record fills in the first address, `control` */
    size_t push_size;
    uint64_t groups_x, groups_y; /* cut to the device's limit, since most shaders loop; 0 counts as 1 */
} weft_vulkan_dispatch;

void weft_vulkan_record(weft_vulkan_recorder *recorder, const weft_vulkan_dispatch *dispatch);
/* Dispatches after the barrier see the results of those before it. */
void weft_vulkan_record_barrier(weft_vulkan_recorder *recorder);

/* On a processor a step can take long. There the recorder adds a look at whether the step was cancelled, with barriers around it,
 * after so many multiplications, some 10 ms. */
#define WEFT_VULKAN_PRODUCTS_A_LOOK ((int64_t)2 << 20)
void weft_vulkan_record_look(weft_vulkan_recorder *recorder);

/* The address of `n` words (WEFT_VULKAN_N_COUNTERS at most) for the next dispatch, which must leave them at 0, as it finds them. No
 * dispatch that may run at the same time has the same. */
uint64_t weft_vulkan_take_counters(weft_vulkan_recorder *recorder, uint32_t n);

/* Hands out 64-byte aligned pieces of a node's scratch, as addresses. With base 0 it counts the bytes that are needed. */
typedef struct weft_vulkan_scratch {
    uint64_t base, used;
} weft_vulkan_scratch;
uint64_t weft_vulkan_take(weft_vulkan_scratch *scratch, uint64_t bytes);

static inline int64_t weft_vulkan_elements(const weft_place *place) {
    const int64_t *shape = place->tensor.shape;
    return place->present ? shape[0] * shape[1] * shape[2] * shape[3] : 0;
}

static inline uint64_t weft_vulkan_groups(int64_t n, int64_t each) {
    return (uint64_t)((n + each - 1) / each);
}

#endif
