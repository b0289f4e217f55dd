/* What an op's file sees: a node with its addresses, scratch, and dispatches that go into a command buffer. */
#ifndef WEFT_VULKAN_RECORDER_H
#define WEFT_VULKAN_RECORDER_H

#include "backends/vulkan/vulkan.h"

typedef struct weft_vulkan_tensor {
    uint64_t address; /* 0 where left out, and in a query */
    bool present;
    weft_type type;
    uint32_t layout;
    int64_t shape[WEFT_MAX_DIMENSIONS];
} weft_vulkan_tensor;

/* A phase with its addresses; made from a query too, then without any. */
typedef struct weft_vulkan_node {
    weft_vulkan_tensor inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS];
    uint64_t scratch;
    bool fast; /* precision */
    _Alignas(8) unsigned char params[WEFT_VULKAN_PARAMS_BYTES];
} weft_vulkan_node;

/* The dispatches of one plan. The first failure stays; what follows it does nothing. */
typedef struct weft_vulkan_recorder {
    weft_backend_device *device;
    VkCommandBuffer commands;
    uint32_t n_barriers, n_dispatches;
    weft_status status;
    weft_error *error;
} weft_vulkan_recorder;

typedef struct weft_vulkan_dispatch {
    uint32_t shader; /* WEFT_VULKAN_SHADER_STEM */
    uint32_t constants[WEFT_VULKAN_MAX_CONSTANTS];
    const void *push; /* the shader's Parameters, of which the first address, `control`, is filled in here */
    size_t push_size;
    uint64_t groups_x, groups_y; /* cut to what the device allows: shaders loop; 0 counts as 1 */
} weft_vulkan_dispatch;

void weft_vulkan_record(weft_vulkan_recorder *recorder, const weft_vulkan_dispatch *dispatch);
/* What comes after sees what came before. */
void weft_vulkan_record_barrier(weft_vulkan_recorder *recorder);

/* Takes 64-byte aligned pieces of a node's scratch, as addresses; in a query it only counts. */
typedef struct weft_vulkan_scratch {
    uint64_t base, used;
} weft_vulkan_scratch;
uint64_t weft_vulkan_take(weft_vulkan_scratch *scratch, uint64_t bytes);

/* One op: the constant `weft_vulkan_op_STEM` of backends/vulkan/ops/STEM.c. */
typedef struct weft_vulkan_op {
    /* Dispatches need no barrier between them and the phases around. */
    void (*record)(weft_vulkan_recorder *recorder, const weft_vulkan_node *node);
    uint64_t (*scratch_bytes)(const weft_backend_device *device, const weft_vulkan_node *node); /* NULL: none */
    bool in_place;
    bool multiplies; /* has a fast kernel, of int8 products */
} weft_vulkan_op;

static inline int64_t weft_vulkan_elements(const weft_vulkan_tensor *tensor) {
    return tensor->present ? tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3] : 0;
}

static inline uint64_t weft_vulkan_groups(int64_t n, int64_t each) {
    return (uint64_t)((n + each - 1) / each);
}

/* The number that shaders/common/weights.glsl knows a matrix's type and layout by. */
static inline uint32_t weft_vulkan_matrix_type(const weft_vulkan_tensor *matrix) {
    return (uint32_t)matrix->type | matrix->layout << 8;
}

/* Whether the products of a node are, where its matrices are quantised, those of int8; and why they cannot be, or NULL. */
bool weft_vulkan_is_int8(const weft_backend_device *device, const weft_vulkan_node *node);
const char *weft_vulkan_int8_obstacle(const weft_backend_device *device);

/* Bytes of a row of a matrix in its layout. */
uint32_t weft_vulkan_row_bytes(const weft_backend_device *device, const weft_vulkan_tensor *matrix);

#endif
