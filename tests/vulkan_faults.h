/* The Vulkan loader with faults: chosen calls fail, objects are counted, and devices can report other properties. */
#ifndef WEFT_TESTS_VULKAN_FAULTS_H
#define WEFT_TESTS_VULKAN_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/vulkan/driver.h"

/* Memory that devices report. An allocation lies in the driver's own memory, whatever its type here. */
typedef struct vulkan_heaps {
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t budget[VK_MAX_MEMORY_HEAPS]; /* of this process */
    uint64_t used[VK_MAX_MEMORY_HEAPS];   /* by what is not weft's */
} vulkan_heaps;

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

    vulkan_heaps *heaps; /* NULL: the driver's own */
    long shrinks_at;     /* the allocation of memory, counted from 1, before which all budgets become what is used; 0: none */
    long n_allocations;  /* of memory, so far */
    long n_beyond;       /* those beyond a heap's size or budget */

    long n_objects;  /* made and not destroyed, without instances */
    long n_barriers; /* recorded */
    long n_refused;  /* allocations above `largest_allocation` */
} vulkan_faults;

extern vulkan_faults faults;

/* Bytes that are allocated of the heap of a device with `heaps`. */
uint64_t vulkan_faults_allocated(uint32_t heap);
/* What is submitted next to the device that was opened last, or later, does not begin, until vulkan_faults_go_on. */
void vulkan_faults_stop(void);
void vulkan_faults_go_on(void);

/* Devices that are opened after this call have the faults. */
void vulkan_faults_install(void);

#endif
