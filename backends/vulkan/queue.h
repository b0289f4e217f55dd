/* Submitting steps, waiting for them and cancelling them. */
#ifndef WEFT_VULKAN_QUEUE_H
#define WEFT_VULKAN_QUEUE_H

#include "backends/vulkan/plan.h"

weft_status weft_vulkan_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                    uint32_t result_slot, weft_error *error);
weft_status weft_vulkan_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
void weft_vulkan_cancel(weft_backend_device *device);

#endif
