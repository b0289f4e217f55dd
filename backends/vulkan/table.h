/* The table of kernels, and the backend's functions that read it. */
#ifndef WEFT_VULKAN_TABLE_H
#define WEFT_VULKAN_TABLE_H

#include "backends/vulkan/kernel.h"

/* Row `number` of an op, or NULL. */
const weft_vulkan_kernel *weft_vulkan_kernel_get(weft_op op, uint32_t number);

void weft_vulkan_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support);
bool weft_vulkan_kernel_at(weft_backend_device *device, uint32_t number, weft_kernel_info *info);
void weft_vulkan_weight_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights,
                               const weft_use *uses, size_t n_uses, weft_layout *layout);

#endif
