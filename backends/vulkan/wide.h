/* Products of many columns with weights in units, by cooperative matrices (shaders/fast/mul_mat_wide.comp). */
#ifndef WEFT_VULKAN_WIDE_H
#define WEFT_VULKAN_WIDE_H

#include "backends/vulkan/units.h"

#define WEFT_VULKAN_WIDE_COLUMNS 17 /* from which on these are faster than products of few columns */

/* Takes scratch for columns of k values as half floats. */
uint64_t weft_vulkan_take_halves(weft_vulkan_scratch *scratch, int64_t k, int64_t n_columns);
/* The bytes of that for input `x`. */
uint64_t weft_vulkan_halves_bytes(const weft_vulkan_call *call, uint32_t x);

/* The products; `halves` is such scratch. The barrier after the preparation of columns is recorded, too. */
void weft_vulkan_record_wide_products(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products, uint64_t halves);
/* The product of a node whose inputs 0 and 1 are the weight and x, and whose scratch is for the columns alone. */
void weft_vulkan_record_wide_node(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t bias, uint64_t residual);

/* The first members of a row whose `matrices` are in units. */
#define WEFT_VULKAN_WIDE_ROW(op_number, kernel_name, matrices)                                                                     \
    .kernel = {.op = (op_number),                                                                                                  \
               .name = (kernel_name),                                                                                              \
               .precisions = WEFT_RUNS_FAST,                                                                                       \
               .rank = 6,                                                                                                          \
               .min_columns = WEFT_VULKAN_WIDE_COLUMNS,                                                                            \
               .weights = {{.inputs = (matrices),                                                                                  \
                            .types = WEFT_VULKAN_UNIT_TYPES,                                                                       \
                            .layouts = WEFT_LAYOUT_BIT(WEFT_VULKAN_UNITS)}}},                                                      \
    .needs = WEFT_VULKAN_MATRICES | WEFT_VULKAN_SUBGROUPS, .shader = WEFT_VULKAN_SHADER_mul_mat_wide, .shared_bytes = 32768,       \
    .invocations = 256, .for_gpus = true

#endif
