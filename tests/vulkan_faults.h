/* The Vulkan loader with faults: calls that a test chooses fail, objects are counted, and devices can be made to look otherwise. */
#ifndef WEFT_TESTS_VULKAN_FAULTS_H
#define WEFT_TESTS_VULKAN_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/vulkan/driver.h"

typedef struct vulkan_faults {
    VkResult error;     /* what the call that fails returns */
    long fail_at;       /* the call that fails, counted from 1 among those that may return `error`; 0: none */
    const char *only;   /* count calls of this function alone; NULL: of all */
    long n_calls;       /* so far */
    const char *failed; /* the function that did; NULL: none has */
    bool is_lost;       /* VK_ERROR_DEVICE_LOST was returned: calls that may go on returning it */

    bool discrete;               /* devices are discrete cards: weights are staged, and buffers not mapped */
    uint64_t largest_allocation; /* what a driver refuses to exceed; 0: its own limit */
    uint32_t api_version;        /* 0: its own */
    bool no_features;            /* devices lack every feature */
    bool no_extensions;
    bool no_sparse_binding; /* what is refused is refused for good */
    uint8_t cache_uuid;     /* added to the first byte of the driver's identity: another version of it */

    long n_objects;  /* made and not destroyed, without instances */
    long n_barriers; /* recorded */
    long n_refused;  /* allocations above `largest_allocation` */
} vulkan_faults;

extern vulkan_faults faults;

/* From now on devices are opened through it. */
void vulkan_faults_install(void);

#endif
