/* What a recorded plan is. */
#ifndef WEFT_VULKAN_PLAN_H
#define WEFT_VULKAN_PLAN_H

#include "backends/vulkan/recorder.h"

struct weft_backend_plan {
    VkCommandBuffer commands;
    size_t n_dispatches;
};

/* NULL: no such op here. */
const weft_vulkan_op *weft_vulkan_op_get(weft_op op);

#endif
