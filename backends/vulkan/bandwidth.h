/* How fast the device reads memory. */
#ifndef WEFT_VULKAN_BANDWIDTH_H
#define WEFT_VULKAN_BANDWIDTH_H

#include "backends/vulkan/device.h"

weft_status weft_vulkan_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error);

#endif
