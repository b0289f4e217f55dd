/* Adapts a compiled shader to the device. */
#ifndef WEFT_VULKAN_SPIRV_H
#define WEFT_VULKAN_SPIRV_H

#include "backends/vulkan/device.h"

/* A copy of the shader that asks for the float modes of the device. The caller releases `*words` (`*size` bytes). */
weft_status weft_vulkan_spirv(weft_backend_device *device, const uint32_t *code, size_t code_bytes, uint32_t **words, size_t *size,
                              weft_error *error);

#endif
