/* Recording a plan: one command buffer, submitted again for each step. */
#include "backends/vulkan/plan.h"

#include "backends/vulkan/recorder.h"
#include "backends/vulkan/table.h"

static void record_begin(weft_vulkan_recorder *recorder) {
    const struct {
        uint64_t control, queue;
        uint32_t n_entries;
    } push = {0, recorder->device->steps->address, WEFT_VULKAN_MAX_QUEUED};
    weft_vulkan_record_barrier(recorder); /* after the last step */
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_begin, .push = &push, .push_size = sizeof push});
    weft_vulkan_record_barrier(recorder);
}

static void record_copies(weft_vulkan_recorder *recorder, const weft_ring_copy *copies, size_t n_copies,
                          const weft_backend_buffer *ring, uint64_t stride, bool to_ring) {
    for (size_t i = 0; i < n_copies; i++) {
        const struct {
            uint64_t control, ring, place;
            uint32_t stride, n_words;
        } push = {0, ring->address + copies[i].ring_offset, copies[i].buffer->address + copies[i].offset, (uint32_t)stride,
                  (uint32_t)(copies[i].bytes / sizeof(uint32_t))};
        weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_ring_copy,
                                                             .constants = {to_ring ? 1 : 0},
                                                             .push = &push,
                                                             .push_size = sizeof push,
                                                             .groups_x = weft_vulkan_groups((int64_t)push.n_words, 128)});
    }
}

static void record_phase(weft_vulkan_recorder *recorder, const weft_phase *phase) {
    const weft_host *host = recorder->device->host;
    const weft_vulkan_kernel *kernel = weft_vulkan_kernel_get(phase->op, phase->kernel);
    if (kernel == NULL) {
        recorder->status = host->fail(recorder->error, WEFT_INVALID_ARGUMENT, "vulkan: op %s has no kernel number %u",
                                      host->op_name(phase->op), (unsigned)phase->kernel);
        return;
    }
    kernel->record(recorder, &(weft_vulkan_call){recorder->device, kernel, phase});
}

/* A phase needs a barrier before it only if no barrier has been recorded since one of the phases in its `after`. ended[i] is the
 * number of barriers when phase i was recorded. */
static void record_phases(weft_vulkan_recorder *recorder, const weft_schedule *schedule, uint32_t *ended) {
    if (schedule->n_step_copies > 0) weft_vulkan_record_barrier(recorder);
    for (size_t i = 0; i < schedule->n_phases && recorder->status == WEFT_OK; i++) {
        const weft_phase *phase = &schedule->phases[i];
        bool must_wait = false;
        for (uint32_t j = 0; j < phase->n_after; j++) must_wait = must_wait || ended[phase->after[j]] == recorder->n_barriers;
        if (must_wait) weft_vulkan_record_barrier(recorder);
        weft_vulkan_record_look(recorder);
        record_phase(recorder, phase);
        ended[i] = recorder->n_barriers;
    }
    weft_vulkan_record_barrier(recorder);
}

/* Makes the step's writes visible to the host, which reads the result ring and memory that it shares with the device. */
static void record_end(weft_vulkan_recorder *recorder) {
    VkMemoryBarrier memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                              .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                              .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    recorder->device->driver.vk.vkCmdPipelineBarrier(recorder->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                                                     VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &memory, 0, NULL, 0, NULL);
}

static weft_status record_all(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan *plan, uint32_t *ended,
                              weft_error *error) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
    VkResult result = vk->vkBeginCommandBuffer(plan->commands, &begin);
    if (result != VK_SUCCESS) return weft_vulkan_result(device, result, "recording a plan", error);
    weft_vulkan_recorder recorder = {.device = device, .commands = plan->commands, .schedule = schedule, .error = error};
    record_begin(&recorder);
    record_copies(&recorder, schedule->step_copies, schedule->n_step_copies, schedule->step_ring, schedule->step_stride, false);
    record_phases(&recorder, schedule, ended);
    record_copies(&recorder, schedule->result_copies, schedule->n_result_copies, schedule->result_ring, schedule->result_stride,
                  true);
    record_end(&recorder);
    result = vk->vkEndCommandBuffer(plan->commands);
    plan->n_dispatches = recorder.n_dispatches;
    plan->n_barriers = recorder.n_barriers + 1; /* and that of record_end */
    if (recorder.status != WEFT_OK) return recorder.status;
    return weft_vulkan_result(device, result, "recording a plan", error);
}

weft_status weft_vulkan_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                    weft_error *error) {
    size_t bytes = (schedule->n_phases + 1) * sizeof(uint32_t);
    if (schedule->step_stride > UINT32_MAX || schedule->result_stride > UINT32_MAX)
        return device->host->fail(error, WEFT_UNSUPPORTED, "vulkan: a step's inputs or results are larger than 4 GiB");
    weft_backend_plan *made = weft_vulkan_allocate(device->host, sizeof *made);
    uint32_t *ended = weft_vulkan_allocate(device->host, bytes);
    weft_status status = WEFT_OK;
    if (made != NULL) *made = (weft_backend_plan){0};
    if (made == NULL || ended == NULL) {
        status = device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory for a plan");
    } else {
        VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = device->commands,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
        VkResult result = device->driver.vk.vkAllocateCommandBuffers(device->device, &info, &made->commands);
        if (result != VK_SUCCESS) made->commands = VK_NULL_HANDLE;
        status = weft_vulkan_result(device, result, "a plan's commands", error);
    }
    if (status == WEFT_OK) status = record_all(device, schedule, made, ended, error);
    weft_vulkan_release(device->host, ended, bytes);
    if (status != WEFT_OK) {
        if (made != NULL) weft_vulkan_plan_destroy(device, made);
        return status;
    }
    *plan = made;
    return WEFT_OK;
}

size_t weft_vulkan_plan_dispatches(weft_backend_device *device, const weft_backend_plan *plan) {
    (void)device;
    return plan->n_dispatches;
}

size_t weft_vulkan_plan_barriers(weft_backend_device *device, const weft_backend_plan *plan) {
    (void)device;
    return plan->n_barriers;
}

void weft_vulkan_plan_destroy(weft_backend_device *device, weft_backend_plan *plan) {
    weft_vulkan_settle(device); /* its commands may be running */
    if (plan->commands != VK_NULL_HANDLE && !weft_vulkan_is_stuck(device))
        device->driver.vk.vkFreeCommandBuffers(device->device, device->commands, 1, &plan->commands);
    weft_vulkan_release(device->host, plan, sizeof *plan);
}
