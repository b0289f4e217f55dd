/* Moving bytes between the host and the device. */
#ifndef WEFT_VULKAN_TRANSFER_H
#define WEFT_VULKAN_TRANSFER_H

#include "backends/vulkan/device.h"

weft_status weft_vulkan_transfers_create(weft_backend_device *device, weft_error *error);
void weft_vulkan_transfers_destroy(weft_backend_device *device);

/* The buffer is zeroed. */
weft_status weft_vulkan_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                      weft_error *error);
weft_status weft_vulkan_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                              size_t bytes, weft_error *error);
weft_status weft_vulkan_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error);
weft_status weft_vulkan_stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error);

/* Waits for a free piece with at least `bytes` of memory (0: the commands alone are needed). */
weft_status weft_vulkan_piece_take(weft_backend_device *device, uint64_t bytes, weft_vulkan_piece **piece, weft_error *error);
/* The piece whose memory begins at `from`, or NULL: `from` is memory of the host program. */
weft_vulkan_piece *weft_vulkan_piece_of(weft_backend_device *device, const void *from);
/* Between these two calls the caller records the piece's commands. They run after all earlier submissions and before all later
 * ones. weft_vulkan_commands_end submits them, unless recording failed (`recorded`). */
weft_status weft_vulkan_commands_begin(weft_backend_device *device, weft_vulkan_piece *piece, weft_error *error);
weft_status weft_vulkan_commands_end(weft_backend_device *device, weft_vulkan_piece *piece, weft_status recorded, const char *what,
                                     weft_error *error);

#endif
