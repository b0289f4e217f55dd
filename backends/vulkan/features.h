/* What a device may have beside what it must have. Rows of the table of kernels name what they need. */
#ifndef WEFT_VULKAN_FEATURES_H
#define WEFT_VULKAN_FEATURES_H

#include "backends/vulkan/driver.h"

typedef enum weft_vulkan_feature {
    WEFT_VULKAN_INT8_DOT_PRODUCT = 1 << 0, /* of four int8 in a word */
    WEFT_VULKAN_FLOAT16 = 1 << 1,          /* arithmetic, and shared memory of half floats */
    WEFT_VULKAN_INT16 = 1 << 2,            /* the same of 16-bit integers */
    WEFT_VULKAN_SUBGROUPS = 1 << 3,        /* operations of subgroups of any size: vote, arithmetic, ballot, shuffles, clusters */
    WEFT_VULKAN_SUBGROUPS_OF_32 = 1 << 4,  /* full subgroups of 32, in dispatches with `subgroup_size` 32 */
    WEFT_VULKAN_MATRICES = 1 << 5,         /* cooperative matrices of the shape traits.matrices */
} weft_vulkan_feature;

/* Each weft_vulkan_feature that the device has. */
unsigned weft_vulkan_features_of(const weft_vulkan_traits *traits);
/* The GLSL extension that the feature's shaders require and that some shader compilers lack, or NULL. */
const char *weft_vulkan_feature_extension(unsigned feature);
/* Why the device cannot run what needs these features: "the device has no ...". NULL: it can. */
const char *weft_vulkan_feature_obstacle(const weft_vulkan_traits *traits, unsigned needs);

/* The `subgroup_size` of dispatches whose workgroups consist of full subgroups of the device's usual size. */
uint32_t weft_vulkan_full_subgroup(const weft_vulkan_traits *traits);

/* What is turned on when the device is opened. `chain` is for VkDeviceCreateInfo. The struct must stay where it is. */
typedef struct weft_vulkan_enabled {
    const char *extensions[8];
    uint32_t n_extensions;
    void *chain;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroups;
    weft_vulkan_matrix_features matrices;
} weft_vulkan_enabled;
void weft_vulkan_features_enable(const weft_vulkan_traits *traits, weft_vulkan_enabled *enabled);

#endif
