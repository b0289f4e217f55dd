/* Recorded plans. */
#ifndef WEFT_VULKAN_PLAN_H
#define WEFT_VULKAN_PLAN_H

#include "backends/vulkan/device.h"

struct weft_backend_plan {
    VkCommandBuffer commands;
    size_t n_dispatches, n_barriers;
};

weft_status weft_vulkan_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                    weft_error *error);
size_t weft_vulkan_plan_dispatches(weft_backend_device *device, const weft_backend_plan *plan);
size_t weft_vulkan_plan_barriers(weft_backend_device *device, const weft_backend_plan *plan);
void weft_vulkan_plan_destroy(weft_backend_device *device, weft_backend_plan *plan);

#endif
