#include "backends/vulkan/matrices.h"

#include <stdbool.h>

#define MAX_LISTED 256
#define PROPERTIES_TYPE ((VkStructureType)1000506001)

enum { COMPONENT_FLOAT16 = 0, COMPONENT_FLOAT32 = 1, SCOPE_SUBGROUP = 3 };

/* VkCooperativeMatrixPropertiesKHR. */
typedef struct matrix_properties {
    VkStructureType sType;
    void *pNext;
    uint32_t MSize, NSize, KSize;
    int32_t AType, BType, CType, ResultType;
    VkBool32 saturatingAccumulation;
    int32_t scope;
} matrix_properties;

typedef VkResult(VKAPI_PTR *properties_function)(VkPhysicalDevice device, uint32_t *count, matrix_properties *properties);

static bool is_usable(const matrix_properties *p) {
    return p->AType == COMPONENT_FLOAT16 && p->BType == COMPONENT_FLOAT16 && p->CType == COMPONENT_FLOAT32 &&
           p->ResultType == COMPONENT_FLOAT32 && p->scope == SCOPE_SUBGROUP && (p->MSize == 8 || p->MSize == 16) &&
           (p->NSize == 8 || p->NSize == 16) && (p->KSize == 8 || p->KSize == 16);
}

weft_vulkan_matrix_shape weft_vulkan_matrix_shape_find(PFN_vkGetInstanceProcAddr address_of, VkInstance instance,
                                                       VkPhysicalDevice device) {
    matrix_properties list[MAX_LISTED];
    uint32_t count = MAX_LISTED;
    weft_vulkan_matrix_shape shape = {0};
    properties_function find = (properties_function)address_of(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    if (find == NULL) return shape;
    for (uint32_t i = 0; i < MAX_LISTED; i++) list[i] = (matrix_properties){.sType = PROPERTIES_TYPE};
    VkResult result = find(device, &count, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) return shape;
    for (uint32_t i = 0; i < count; i++) {
        const matrix_properties *p = &list[i];
        if (is_usable(p) && p->MSize * p->NSize * p->KSize > shape.m * shape.n * shape.k)
            shape = (weft_vulkan_matrix_shape){p->MSize, p->NSize, p->KSize};
    }
    return shape;
}
