/* The Vulkan loader, opened at run time, an instance, and the features of a physical device. */
#ifndef WEFT_VULKAN_DRIVER_H
#define WEFT_VULKAN_DRIVER_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include "backends/vulkan/matrices.h"
#include "os/os.h"
#include "os/uuid.h"
#include "weft/backend.h"

typedef struct weft_vulkan_functions {
#define WEFT_VULKAN_FUNCTION(name) PFN_##name name;
#include "backends/vulkan/functions.def"
#undef WEFT_VULKAN_FUNCTION
} weft_vulkan_functions;

/* Finds a function of the loader. Tests replace this, so that some functions fail. */
typedef void *(*weft_vulkan_symbol_function)(const weft_os_library *library, const char *name);
extern weft_vulkan_symbol_function weft_vulkan_symbol;

typedef struct weft_vulkan_driver {
    weft_os_library library;
    weft_vulkan_functions vk;
    VkInstance instance;
    VkPhysicalDevice *devices;
    uint32_t n_devices;
    VkResult refused; /* the driver's result where it could not be opened; kept by weft_vulkan_driver_close */
} weft_vulkan_driver;

typedef struct weft_vulkan_traits {
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceDriverProperties driver;
    VkPhysicalDeviceFloatControlsProperties floats;
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t largest_allocation;
    uint8_t uuid[WEFT_OS_UUID_BYTES];             /* the card's, the same for each of its drivers and after a restart */
    uint32_t subgroup_size;                       /* where a pipeline asks for none */
    uint32_t smallest_subgroup, largest_subgroup; /* that a pipeline may ask for; where has_subgroup_control */
    VkSubgroupFeatureFlags subgroup_operations;   /* of compute shaders */
    weft_vulkan_matrix_shape matrices;            /* of half floats with sums in F32 that a subgroup multiplies; m 0: none */
    uint32_t queue_family, sparse_family;         /* the latter where has_sparse_binding */
    bool has_memory_budget;
    bool has_sparse_binding; /* of one buffer to several allocations */
    bool has_dot_product;    /* of four int8 in a word */
    bool dot_product_is_fast;
    bool has_cooperative_matrix;
    bool has_memory_model;                 /* Vulkan's, with the scope of a device */
    bool has_subgroup_control;             /* of compute pipelines, with full subgroups */
    bool has_float16, has_int16, has_int8; /* arithmetic */
    bool host_memory;                      /* its memory is the host's */
    uint32_t n_cores;                      /* of the processor that computes; 0 on a GPU */
    bool is_processor;                     /* a driver that computes on the processor: barriers inside workgroups are slow */
    char unusable[256];
} weft_vulkan_traits;

/* WEFT_UNSUPPORTED, with a reason, where there is no loader, no instance or no device. */
weft_status weft_vulkan_driver_open(const weft_host *host, weft_vulkan_driver *driver, weft_error *error);
void weft_vulkan_driver_close(const weft_host *host, weft_vulkan_driver *driver);
void weft_vulkan_driver_traits(const weft_vulkan_driver *driver, VkPhysicalDevice device, weft_vulkan_traits *traits);

#endif
