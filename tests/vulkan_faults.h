/* The Vulkan loader with faults: chosen calls fail, objects are counted, and devices can report other properties. */
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
    uint64_t largest_allocation; /* larger allocations fail; 0: the driver's own limit */
    uint32_t api_version;        /* 0: its own */
    uint32_t most_invocations;   /* of a workgroup; 0: the driver's own limit */
    bool no_features;            /* devices lack every feature */
    bool no_extensions;
    bool no_sparse_binding; /* devices cannot bind a buffer to several allocations */
    bool late_answers;      /* whether a step has ended is told only after it has */
    uint8_t cache_uuid;     /* added to the first byte of the driver's identity: another version of it */

    long n_objects;  /* made and not destroyed, without instances */
    long n_barriers; /* recorded */
    long n_refused;  /* allocations above `largest_allocation` */
} vulkan_faults;

extern vulkan_faults faults;

/* Devices that are opened after this call have the faults. */
void vulkan_faults_install(void);

#endif
