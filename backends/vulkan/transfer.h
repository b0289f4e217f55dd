/* Moving bytes between the host and the device. */
#ifndef WEFT_VULKAN_TRANSFER_H
#define WEFT_VULKAN_TRANSFER_H

#include "backends/vulkan/device.h"

weft_status weft_vulkan_transfers_create(weft_backend_device *device, weft_error *error);
void weft_vulkan_transfers_destroy(weft_backend_device *device);

/* Memory that reads as zeros. */
weft_status weft_vulkan_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                      weft_error *error);
weft_status weft_vulkan_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                              size_t bytes, weft_error *error);
weft_status weft_vulkan_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error);
weft_status weft_vulkan_stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error);

/* A piece with `bytes` of memory (0: whatever it has), once the device has done with it; and that which `from` begins, or NULL: it
 * is the host's own memory. */
weft_status weft_vulkan_piece_take(weft_backend_device *device, uint64_t bytes, weft_vulkan_piece **piece, weft_error *error);
weft_vulkan_piece *weft_vulkan_piece_of(weft_backend_device *device, const void *from);
/* What is recorded into the piece's commands in between comes after everything submitted before and before everything submitted
 * later. The end submits it, unless recording had failed. */
weft_status weft_vulkan_commands_begin(weft_backend_device *device, weft_vulkan_piece *piece, weft_error *error);
weft_status weft_vulkan_commands_end(weft_backend_device *device, weft_vulkan_piece *piece, weft_status recorded, const char *what,
                                     weft_error *error);

#endif
