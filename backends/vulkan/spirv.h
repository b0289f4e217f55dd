/* Shaders as the device gets them. */
#ifndef WEFT_VULKAN_SPIRV_H
#define WEFT_VULKAN_SPIRV_H

#include "backends/vulkan/device.h"

/* The shader with the float modes the device offers. Release `words` (`*size` bytes). */
weft_status weft_vulkan_spirv(weft_backend_device *device, const uint32_t *code, size_t code_bytes, uint32_t **words, size_t *size,
                              weft_error *error);

#endif
