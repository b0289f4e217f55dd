/* Moving bytes between the host and buffers that it cannot see, through pieces of memory that both see. Each piece has commands of
 * its own and remembers which value of the semaphore `copied` says that the device has done with it, so that the host fills one
 * while the device copies others. There are two rings of pieces: one that weights stream through, whose memory the core fills by
 * itself and gives back, and one for what comes next to it.
 */
#include "backends/vulkan/transfer.h"

#include <string.h>

#include "backends/vulkan/memory.h"

static VkResult wait_for(weft_backend_device *device, uint64_t value) {
    if (weft_vulkan_status(device, NULL) != WEFT_OK) return VK_ERROR_DEVICE_LOST;
    return value == 0 ? VK_SUCCESS : weft_vulkan_wait_for(device, 1, &device->copied, &value, UINT64_MAX);
}

static VkResult create_ring(weft_backend_device *device, weft_vulkan_ring *ring) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkResult result = VK_SUCCESS;
    for (size_t i = 0; i < WEFT_VULKAN_N_PIECES && result == VK_SUCCESS; i++) {
        VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = device->commands,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
        result = vk->vkAllocateCommandBuffers(device->device, &info, &ring->pieces[i].commands);
    }
    return result;
}

weft_status weft_vulkan_transfers_create(weft_backend_device *device, weft_error *error) {
    VkSemaphoreTypeCreateInfo timeline = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                          .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &timeline};
    VkResult result = device->driver.vk.vkCreateSemaphore(device->device, &semaphore, NULL, &device->copied);
    if (result == VK_SUCCESS) result = create_ring(device, &device->stream);
    if (result == VK_SUCCESS) result = create_ring(device, &device->side);
    return weft_vulkan_result(device, result, "what copies memory", error);
}

static void release_memory(weft_backend_device *device, weft_vulkan_ring *ring) {
    for (size_t i = 0; i < WEFT_VULKAN_N_PIECES; i++) {
        weft_vulkan_buffer_destroy(device, ring->pieces[i].memory);
        ring->pieces[i].memory = NULL;
    }
}

void weft_vulkan_transfers_destroy(weft_backend_device *device) {
    release_memory(device, &device->stream);
    release_memory(device, &device->side);
    if (!weft_vulkan_is_stuck(device)) device->driver.vk.vkDestroySemaphore(device->device, device->copied, NULL);
}

/* ---- Pieces ---- */

/* Waits until the next piece is free and has at least `bytes` of memory. */
static weft_status take(weft_backend_device *device, weft_vulkan_ring *ring, uint64_t bytes, weft_vulkan_piece **taken,
                        weft_error *error) {
    weft_vulkan_piece *piece = &ring->pieces[ring->next];
    weft_status status = weft_vulkan_result(device, wait_for(device, piece->copied), "waiting for a copy", error);
    if (status != WEFT_OK) return status;
    if (bytes > 0 && (piece->memory == NULL || piece->memory->bytes < bytes)) {
        weft_vulkan_buffer_destroy(device, piece->memory);
        piece->memory = NULL;
        if (bytes < WEFT_VULKAN_PIECE_BYTES) bytes = WEFT_VULKAN_PIECE_BYTES;
        status = weft_vulkan_buffer_make(device, WEFT_VULKAN_HOST, bytes, &piece->memory, error);
        if (status != WEFT_OK) return status;
    }
    ring->next = (ring->next + 1) % WEFT_VULKAN_N_PIECES;
    *taken = piece;
    return WEFT_OK;
}

weft_status weft_vulkan_piece_take(weft_backend_device *device, uint64_t bytes, weft_vulkan_piece **piece, weft_error *error) {
    return take(device, &device->side, bytes, piece, error);
}

weft_vulkan_piece *weft_vulkan_piece_of(weft_backend_device *device, const void *from) {
    for (size_t i = 0; i < WEFT_VULKAN_N_PIECES; i++) {
        weft_vulkan_piece *piece = &device->stream.pieces[i];
        if (piece->memory != NULL && piece->memory->mapped == from) return piece;
    }
    return NULL;
}

weft_status weft_vulkan_stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error) {
    if (bytes == 0) {
        weft_status status = weft_vulkan_finish(device, error);
        release_memory(device, &device->stream);
        return status;
    }
    weft_vulkan_piece *piece;
    weft_status status = take(device, &device->stream, bytes, &piece, error);
    if (status == WEFT_OK) *memory = piece->memory->mapped;
    return status;
}

/* ---- Commands ---- */

static void barrier(weft_backend_device *device, VkCommandBuffer commands, VkPipelineStageFlags from, VkAccessFlags written,
                    VkPipelineStageFlags to, VkAccessFlags used) {
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = written, .dstAccessMask = used};
    device->driver.vk.vkCmdPipelineBarrier(commands, from, to, 0, 1, &memory, 0, NULL, 0, NULL);
}

#define STEPS (VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT)
#define WRITES (VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT)
#define READS (VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT)

static VkResult begin_copy(weft_backend_device *device, weft_vulkan_piece *piece) {
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult result = device->driver.vk.vkBeginCommandBuffer(piece->commands, &begin);
    if (result == VK_SUCCESS) barrier(device, piece->commands, STEPS, WRITES, STEPS, READS | WRITES);
    return result;
}

static VkResult end_copy(weft_backend_device *device, weft_vulkan_piece *piece) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    uint64_t value = device->n_copies + 1;
    barrier(device, piece->commands, STEPS, WRITES, STEPS | VK_PIPELINE_STAGE_HOST_BIT,
            READS | WRITES | VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    VkResult result = vk->vkEndCommandBuffer(piece->commands);
    if (result != VK_SUCCESS) return result;
    VkTimelineSemaphoreSubmitInfo timeline = {.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                              .signalSemaphoreValueCount = 1,
                                              .pSignalSemaphoreValues = &value};
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                           .pNext = &timeline,
                           .commandBufferCount = 1,
                           .pCommandBuffers = &piece->commands,
                           .signalSemaphoreCount = 1,
                           .pSignalSemaphores = &device->copied};
    result = vk->vkQueueSubmit(device->queue, 1, &submit, VK_NULL_HANDLE);
    if (result != VK_SUCCESS) return result;
    device->n_copies = piece->copied = value;
    weft_vulkan_note(device);
    return VK_SUCCESS;
}

static VkResult copy(weft_backend_device *device, weft_vulkan_piece *piece, const weft_backend_buffer *from,
                     const weft_backend_buffer *to, VkBufferCopy region) {
    VkResult result = begin_copy(device, piece);
    if (result != VK_SUCCESS) return result;
    device->driver.vk.vkCmdCopyBuffer(piece->commands, from->buffer, to->buffer, 1, &region);
    return end_copy(device, piece);
}

weft_status weft_vulkan_commands_begin(weft_backend_device *device, weft_vulkan_piece *piece, weft_error *error) {
    return weft_vulkan_result(device, begin_copy(device, piece), "recording commands", error);
}

weft_status weft_vulkan_commands_end(weft_backend_device *device, weft_vulkan_piece *piece, weft_status recorded, const char *what,
                                     weft_error *error) {
    if (recorded == WEFT_OK) return weft_vulkan_result(device, end_copy(device, piece), what, error);
    device->driver.vk.vkEndCommandBuffer(piece->commands); /* commands in recording cannot be begun again */
    return recorded;
}

static weft_status zero(weft_backend_device *device, weft_backend_buffer *buffer, weft_error *error) {
    weft_vulkan_piece *piece;
    weft_status status = weft_vulkan_piece_take(device, 0, &piece, error);
    if (status == WEFT_OK) status = weft_vulkan_commands_begin(device, piece, error);
    if (status != WEFT_OK) return status;
    device->driver.vk.vkCmdFillBuffer(piece->commands, buffer->buffer, 0, VK_WHOLE_SIZE, 0);
    return weft_vulkan_commands_end(device, piece, WEFT_OK, "clearing a buffer", error);
}

weft_status weft_vulkan_buffer_create(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                      weft_error *error) {
    weft_backend_buffer *made = NULL;
    weft_status status =
        weft_vulkan_buffer_make(device, memory == WEFT_MEMORY_RING ? WEFT_VULKAN_HOST : WEFT_VULKAN_DEVICE, bytes, &made, error);
    if (status == WEFT_OK && made->mapped == NULL) status = zero(device, made, error);
    if (status == WEFT_OK)
        *buffer = made;
    else
        weft_vulkan_buffer_destroy(device, made);
    return status;
}

/* ---- Writing and reading ---- */

static weft_status write_pieces(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                                size_t bytes, weft_error *error) {
    weft_status status = WEFT_OK;
    for (uint64_t done = 0, size; done < bytes && status == WEFT_OK; done += size) {
        weft_vulkan_piece *piece;
        size = bytes - done < WEFT_VULKAN_PIECE_BYTES ? bytes - done : WEFT_VULKAN_PIECE_BYTES;
        status = take(device, &device->side, size, &piece, error);
        if (status != WEFT_OK) break;
        memcpy(piece->memory->mapped, (const char *)from + done, (size_t)size);
        VkBufferCopy region = {.dstOffset = offset + done, .size = size};
        status = weft_vulkan_result(device, copy(device, piece, piece->memory, buffer, region), "writing to the device", error);
    }
    return status == WEFT_OK ? weft_vulkan_finish(device, error) : status;
}

weft_status weft_vulkan_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                              size_t bytes, weft_error *error) {
    weft_vulkan_piece *piece = weft_vulkan_piece_of(device, from);
    if (buffer->mapped != NULL) {
        weft_status status = weft_vulkan_finish(device, error);
        if (status == WEFT_OK) memcpy(buffer->mapped + offset, from, bytes);
        return status;
    }
    if (piece == NULL) return write_pieces(device, buffer, offset, from, bytes, error);
    VkBufferCopy region = {.dstOffset = offset, .size = bytes};
    return weft_vulkan_result(device, copy(device, piece, piece->memory, buffer, region), "writing to the device", error);
}

/* Submits a copy of the next bytes into a piece. */
static weft_status begin_read(weft_backend_device *device, const weft_backend_buffer *buffer, uint64_t offset, uint64_t bytes,
                              weft_vulkan_piece **piece, weft_error *error) {
    weft_status status = take(device, &device->side, bytes, piece, error);
    if (status != WEFT_OK) return status;
    VkBufferCopy region = {.srcOffset = offset, .size = bytes};
    return weft_vulkan_result(device, copy(device, *piece, buffer, (*piece)->memory, region), "reading from the device", error);
}

/* Two pieces are under way at once: the device copies into one while the host reads the other. */
static weft_status read_pieces(weft_backend_device *device, const weft_backend_buffer *buffer, uint64_t offset, char *into,
                               uint64_t bytes, weft_error *error) {
    weft_vulkan_piece *now = NULL, *next = NULL;
    uint64_t size = bytes < WEFT_VULKAN_PIECE_BYTES ? bytes : WEFT_VULKAN_PIECE_BYTES;
    weft_status status = bytes > 0 ? begin_read(device, buffer, offset, size, &now, error) : WEFT_OK;
    for (uint64_t done = 0; done < bytes && status == WEFT_OK; now = next) {
        uint64_t left = bytes - done - size, next_size = left < WEFT_VULKAN_PIECE_BYTES ? left : WEFT_VULKAN_PIECE_BYTES;
        if (next_size > 0) status = begin_read(device, buffer, offset + done + size, next_size, &next, error);
        if (status == WEFT_OK) status = weft_vulkan_result(device, wait_for(device, now->copied), "reading from the device", error);
        if (status == WEFT_OK) memcpy(into + done, now->memory->mapped, (size_t)size);
        done += size;
        size = next_size;
    }
    return status;
}

weft_status weft_vulkan_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error) {
    if (buffer->mapped == NULL) return read_pieces(device, buffer, offset, into, bytes, error);
    weft_status status = weft_vulkan_finish(device, error);
    if (status == WEFT_OK) memcpy(into, buffer->mapped + offset, bytes);
    return status;
}
