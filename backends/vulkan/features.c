#include "backends/vulkan/features.h"

#include <stddef.h>

#define SUBGROUP_OPERATIONS                                                                                                        \
    (VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_VOTE_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |                           \
     VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT |                 \
     VK_SUBGROUP_FEATURE_CLUSTERED_BIT)

static bool has_dot_product(const weft_vulkan_traits *traits) {
    return traits->has_dot_product;
}

static bool has_float16(const weft_vulkan_traits *traits) {
    return traits->has_float16;
}

static bool has_int16(const weft_vulkan_traits *traits) {
    return traits->has_int16;
}

static bool has_subgroups(const weft_vulkan_traits *traits) {
    return (traits->subgroup_operations & SUBGROUP_OPERATIONS) == SUBGROUP_OPERATIONS;
}

static bool has_subgroups_of_32(const weft_vulkan_traits *traits) {
    return has_subgroups(traits) && traits->has_subgroup_control && traits->smallest_subgroup <= 32 &&
           traits->largest_subgroup >= 32;
}

static bool has_matrices(const weft_vulkan_traits *traits) {
    return traits->has_float16 && traits->has_memory_model && traits->matrices.m != 0;
}

static const struct {
    unsigned feature;
    bool (*present)(const weft_vulkan_traits *traits);
    const char *extension, *obstacle;
} features[] = {
    {WEFT_VULKAN_INT8_DOT_PRODUCT, has_dot_product, "GL_EXT_integer_dot_product", "the device has no int8 dot product"},
    {WEFT_VULKAN_FLOAT16, has_float16, NULL, "the device has no arithmetic of half floats"},
    {WEFT_VULKAN_INT16, has_int16, NULL, "the device has no arithmetic of 16-bit integers"},
    {WEFT_VULKAN_SUBGROUPS, has_subgroups, NULL, "the device lacks operations of subgroups"},
    {WEFT_VULKAN_SUBGROUPS_OF_32, has_subgroups_of_32, NULL, "the device has no subgroups of 32"},
    {WEFT_VULKAN_MATRICES, has_matrices, "GL_KHR_cooperative_matrix", "the device has no cooperative matrices of half floats"},
};

#define N_FEATURES (sizeof features / sizeof features[0])

unsigned weft_vulkan_features_of(const weft_vulkan_traits *traits) {
    unsigned all = 0;
    for (size_t i = 0; i < N_FEATURES; i++)
        if (features[i].present(traits)) all |= features[i].feature;
    return all;
}

const char *weft_vulkan_feature_extension(unsigned feature) {
    for (size_t i = 0; i < N_FEATURES; i++)
        if ((features[i].feature & feature) != 0 && features[i].extension != NULL) return features[i].extension;
    return NULL;
}

const char *weft_vulkan_feature_obstacle(const weft_vulkan_traits *traits, unsigned needs) {
    for (size_t i = 0; i < N_FEATURES; i++)
        if ((features[i].feature & needs) != 0 && !features[i].present(traits)) return features[i].obstacle;
    return NULL;
}

uint32_t weft_vulkan_full_subgroup(const weft_vulkan_traits *traits) {
    return traits->has_subgroup_control ? traits->subgroup_size : 0;
}

static void add_extension(weft_vulkan_enabled *enabled, const char *name) {
    enabled->extensions[enabled->n_extensions++] = name;
}

/* Puts a struct of features in front of the chain. */
static void add_features(weft_vulkan_enabled *enabled, void *features_struct) {
    ((VkBaseOutStructure *)features_struct)->pNext = enabled->chain;
    enabled->chain = features_struct;
}

void weft_vulkan_features_enable(const weft_vulkan_traits *traits, weft_vulkan_enabled *enabled) {
    *enabled = (weft_vulkan_enabled){
        .v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .storageBuffer16BitAccess = VK_TRUE},
        .v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                .storageBuffer8BitAccess = VK_TRUE,
                .shaderFloat16 = traits->has_float16,
                .vulkanMemoryModel = traits->has_memory_model,
                .vulkanMemoryModelDeviceScope = traits->has_memory_model,
                .bufferDeviceAddress = VK_TRUE,
                .timelineSemaphore = VK_TRUE},
        .dot = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES, .shaderIntegerDotProduct = VK_TRUE},
        .subgroups = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES,
                      .subgroupSizeControl = VK_TRUE,
                      .computeFullSubgroups = VK_TRUE},
        .matrices = {.sType = WEFT_VULKAN_MATRIX_FEATURES_TYPE, .cooperativeMatrix = VK_TRUE},
    };
    add_features(enabled, &enabled->v12);
    add_features(enabled, &enabled->v11);
    if (traits->has_memory_budget) add_extension(enabled, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (traits->has_dot_product) {
        add_extension(enabled, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
        add_features(enabled, &enabled->dot);
    }
    if (traits->has_subgroup_control) {
        add_extension(enabled, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
        add_features(enabled, &enabled->subgroups);
    }
    if (has_matrices(traits)) {
        add_extension(enabled, WEFT_VULKAN_COOPERATIVE_MATRIX_EXTENSION);
        add_features(enabled, &enabled->matrices);
    }
}
