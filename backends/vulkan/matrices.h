/* VK_KHR_cooperative_matrix, which is newer than some Vulkan headers. Names and numbers are those of the Vulkan specification. */
#ifndef WEFT_VULKAN_MATRICES_H
#define WEFT_VULKAN_MATRICES_H

#ifndef VK_NO_PROTOTYPES
#define VK_NO_PROTOTYPES
#endif
#include <vulkan/vulkan_core.h>

/* M x K times K x N. */
typedef struct weft_vulkan_matrix_shape {
    uint32_t m, n, k;
} weft_vulkan_matrix_shape;

#define WEFT_VULKAN_COOPERATIVE_MATRIX_EXTENSION "VK_KHR_cooperative_matrix"

/* VkPhysicalDeviceCooperativeMatrixFeaturesKHR. */
typedef struct weft_vulkan_matrix_features {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
} weft_vulkan_matrix_features;
#define WEFT_VULKAN_MATRIX_FEATURES_TYPE ((VkStructureType)1000506000)

/* The largest shape of those whose M, N and K are 8 or 16, of half floats with sums in F32, for a subgroup; m 0: there is none.
 * Only for devices that have the extension. */
weft_vulkan_matrix_shape weft_vulkan_matrix_shape_find(PFN_vkGetInstanceProcAddr address_of, VkInstance instance,
                                                       VkPhysicalDevice device);

#endif
