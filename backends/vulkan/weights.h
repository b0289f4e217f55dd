/* Layouts of weights, and packing. */
#ifndef WEFT_VULKAN_WEIGHTS_H
#define WEFT_VULKAN_WEIGHTS_H

#include "backends/table.h"
#include "backends/vulkan/device.h"

/* Layouts with blocks split into their parts (shaders/parts/pack_planar.comp), and units (shaders/common/units.glsl). */
enum {
    WEFT_VULKAN_Q6_K_PLANAR = 1, /* low nibbles, high bits, scales, block scales */
    WEFT_VULKAN_Q8_0_PLANAR,     /* quants, scales */
    WEFT_VULKAN_UNITS
};

#define WEFT_VULKAN_UNIT_TYPES                                                                                                     \
    (WEFT_TYPE_BIT(WEFT_Q4_0) | WEFT_TYPE_BIT(WEFT_Q4_1) | WEFT_TYPE_BIT(WEFT_Q5_0) | WEFT_TYPE_BIT(WEFT_Q5_1) |                   \
     WEFT_TYPE_BIT(WEFT_Q8_0) | WEFT_TYPE_BIT(WEFT_Q4_K) | WEFT_TYPE_BIT(WEFT_Q5_K) | WEFT_TYPE_BIT(WEFT_Q6_K) |                   \
     WEFT_TYPE_BIT(WEFT_F16) | WEFT_TYPE_BIT(WEFT_BF16))
#define WEFT_VULKAN_UNIT_ROWS 16
#define WEFT_VULKAN_UNIT_VALUES 256

#define WEFT_VULKAN_N_LAYOUTS 3
extern const weft_kernel_layout weft_vulkan_layouts[WEFT_VULKAN_N_LAYOUTS];

/* Layouts that shaders/common/weights.glsl reads, and so the exact and the int8 kernels. */
#define WEFT_VULKAN_EXACT_LAYOUTS (WEFT_LAYOUT_BIT(WEFT_LAYOUT_FILE) | WEFT_LAYOUT_BIT(WEFT_VULKAN_Q6_K_PLANAR))

weft_status weft_vulkan_weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error);

bool weft_vulkan_is_quantised(const weft_backend_device *device, const weft_place *matrix);
/* Bytes of a row of a matrix in its layout, if that is the file's or a planar one. */
uint32_t weft_vulkan_row_bytes(const weft_backend_device *device, const weft_place *matrix);

/* The number of a matrix's type and layout in shaders/common/weights.glsl. */
static inline uint32_t weft_vulkan_matrix_type(const weft_place *matrix) {
    return (uint32_t)matrix->tensor.type | matrix->layout << 8;
}

#endif
