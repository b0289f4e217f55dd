/* Pipelines, made when a plan first needs them. */
#ifndef WEFT_VULKAN_PIPELINE_H
#define WEFT_VULKAN_PIPELINE_H

#include "backends/vulkan/device.h"

/* Makes it if it is not there and the schedule (may be NULL) still wants it. */
weft_status weft_vulkan_pipeline_find(weft_backend_device *device, const weft_schedule *schedule,
                                      const weft_vulkan_program *program, VkPipeline *pipeline, weft_error *error);
/* Whether the build's shader compiler knew the extensions that the shader requires. */
bool weft_vulkan_has_shader(uint32_t shader);
void weft_vulkan_pipelines_destroy(weft_backend_device *device);

#endif
