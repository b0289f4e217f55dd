/* Products of few columns with weights in units (shaders/common/products_units.glsl, products_dots.glsl). */
#ifndef WEFT_VULKAN_UNITS_H
#define WEFT_VULKAN_UNITS_H

#include "backends/vulkan/kernels.h"

typedef struct weft_vulkan_unit_matrix {
    const weft_place *weight;
    uint64_t bias, y; /* bias 0: left out */
    uint32_t role;    /* with a rotation: 0 of queries, 1 of keys, 2 of values */
} weft_vulkan_unit_matrix;

/* The end of norm_qkv's products: queries are rotated and go to y, keys and values to the cache
 * (shaders/common/unit_rotation.glsl). */
typedef struct weft_vulkan_unit_rotation {
    uint64_t rows, table, kv, sequences;
    weft_vulkan_cache_shape shape;
    uint32_t n_dims, n_positions;
    int32_t order;
    weft_type kv_type;
} weft_vulkan_unit_rotation;

/* What a product's results go through. The two gated ends take gate and up in matrices 0 and 1, and give one result. */
enum { WEFT_VULKAN_END_PLAIN, WEFT_VULKAN_END_SILU, WEFT_VULKAN_END_GELU };

/* Matrices that are multiplied with the same columns x, each with (product + bias) + residual. If `norm` is not 0, x is normed. */
typedef struct weft_vulkan_unit_products {
    weft_vulkan_unit_matrix matrices[3];
    uint32_t n_matrices, end;
    bool by_dots; /* in integers: shaders/common/products_dots.glsl */
    uint64_t x, norm, residual;
    float epsilon;
    int64_t n_columns;
    const weft_vulkan_unit_rotation *rotation; /* NULL: none */
} weft_vulkan_unit_products;

/* Whether products can end with this rotation: a workgroup must have both places of a pair, in two bands of 16 rows. */
bool weft_vulkan_can_rotate(const weft_vulkan_traits *traits, const weft_vulkan_unit_rotation *rotation);

/* Records a dispatch for all matrices of one type, without barriers. Gate and up must have one type. */
void weft_vulkan_record_unit_products(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products);

/* The product of a node whose inputs 0 and 1 are the weight and x. */
void weft_vulkan_record_units_node(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t bias, uint64_t residual);

/* Whether the call's row is one of WEFT_VULKAN_DOTS_ROW. */
static inline bool weft_vulkan_by_dots(const weft_vulkan_call *call) {
    return (call->kernel->needs & WEFT_VULKAN_INT8_DOT_PRODUCT) != 0;
}

/* The first members of a row whose `matrices` are in units. */
#define WEFT_VULKAN_UNITS_ROW(op_number, kernel_name, matrices)                                                                    \
    .kernel = {.op = (op_number),                                                                                                  \
               .name = (kernel_name),                                                                                              \
               .precisions = WEFT_RUNS_FAST,                                                                                       \
               .rank = 4,                                                                                                          \
               .weights = {{.inputs = (matrices),                                                                                  \
                            .types = WEFT_VULKAN_UNIT_TYPES,                                                                       \
                            .layouts = WEFT_LAYOUT_BIT(WEFT_VULKAN_UNITS)}}},                                                      \
    .shared_bytes = 32768, .invocations = 512, .for_gpus = true

/* The same in integers. */
#define WEFT_VULKAN_DOTS_TYPES (WEFT_VULKAN_UNIT_TYPES & ~(WEFT_TYPE_BIT(WEFT_F16) | WEFT_TYPE_BIT(WEFT_BF16)))
#define WEFT_VULKAN_DOTS_ROW(op_number, kernel_name, matrices)                                                                     \
    .kernel = {.op = (op_number),                                                                                                  \
               .name = (kernel_name),                                                                                              \
               .precisions = WEFT_RUNS_FAST,                                                                                       \
               .rank = 5,                                                                                                          \
               .weights = {{.inputs = (matrices),                                                                                  \
                            .types = WEFT_VULKAN_DOTS_TYPES,                                                                       \
                            .layouts = WEFT_LAYOUT_BIT(WEFT_VULKAN_UNITS)}}},                                                      \
    .needs = WEFT_VULKAN_INT8_DOT_PRODUCT, .shader = WEFT_VULKAN_SHADER_mul_mat_dots, .shared_bytes = 32768, .invocations = 512,   \
    .for_gpus = true, .for_fast_dots = true

#endif
