/* The list of Vulkan devices. */
#ifndef WEFT_VULKAN_DEVICES_H
#define WEFT_VULKAN_DEVICES_H

#include "weft/backend.h"

weft_status weft_vulkan_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);

#endif
