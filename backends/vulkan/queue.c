/* Steps under way. The semaphore's value is the last ticket that has ended. For each step the host writes the step's slots into an
 * entry of the queue that shaders/parts/begin.comp reads.
 */
#include "backends/vulkan/queue.h"

#include <stdatomic.h>

/* Words of the queue, as in shaders/parts/begin.comp. */
enum { QUEUE_CANCELLED = 0, QUEUE_ENTRIES = 4 };

static VkResult wait_for(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns) {
    return weft_vulkan_wait_for(device, 1, &device->ended, &ticket, timeout_ns);
}

/* The caller holds the mutex, so that cancel either sees the step in the records or comes before the step has a number. */
static VkResult submit(weft_backend_device *device, const weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                       uint32_t result_slot) {
    volatile uint32_t *entry =
        (volatile uint32_t *)(void *)device->steps->mapped + QUEUE_ENTRIES + device->n_submitted % WEFT_VULKAN_MAX_QUEUED * 2;
    entry[0] = step_slot;
    entry[1] = result_slot;
    VkTimelineSemaphoreSubmitInfo timeline = {.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                              .signalSemaphoreValueCount = 1,
                                              .pSignalSemaphoreValues = &ticket};
    VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                         .pNext = &timeline,
                         .commandBufferCount = 1,
                         .pCommandBuffers = &plan->commands,
                         .signalSemaphoreCount = 1,
                         .pSignalSemaphores = &device->ended};
    uint64_t submitted_ns = weft_os_now();
    VkResult result = device->driver.vk.vkQueueSubmit(device->queue, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS) return result;
    device->records[device->n_submitted++ % WEFT_VULKAN_MAX_QUEUED] =
        (weft_vulkan_ended){.ticket = ticket, .submitted_ns = submitted_ns};
    device->last_ticket = ticket;
    device->seen_ns = submitted_ns;
    return VK_SUCCESS;
}

weft_status weft_vulkan_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                    uint32_t result_slot, weft_error *error) {
    weft_status status = weft_vulkan_status(device, error);
    if (status != WEFT_OK) return status;
    weft_os_mutex_lock(&device->mutex);
    uint64_t oldest = device->records[device->n_submitted % WEFT_VULKAN_MAX_QUEUED].ticket;
    bool full = oldest != 0 && wait_for(device, oldest, 0) == VK_TIMEOUT;
    VkResult result = full ? VK_SUCCESS : submit(device, plan, ticket, step_slot, result_slot);
    weft_os_mutex_unlock(&device->mutex);
    if (full) return device->host->fail(error, WEFT_FULL, "vulkan: %d steps are queued: wait for one", WEFT_VULKAN_MAX_QUEUED);
    return weft_vulkan_result(device, result, "submitting a step", error);
}

static uint64_t submitted_ns_of(const weft_backend_device *device, uint64_t ticket) {
    for (size_t i = 0; i < WEFT_VULKAN_MAX_QUEUED; i++)
        if (device->records[i].ticket == ticket) return device->records[i].submitted_ns;
    return 0;
}

/* The driver's own wait is not used here: it sleeps so deeply that the next submit takes the host twice as long (os/pace.h). */
static VkResult sleep_until_ended(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns) {
    VkResult result = wait_for(device, ticket, 0);
    if (result != VK_TIMEOUT || timeout_ns == 0) return result;
    uint64_t start = weft_os_now(), now = start;
    weft_os_mutex_lock(&device->mutex);
    uint64_t begin = weft_os_pace_begin(&device->pace, submitted_ns_of(device, ticket)), expected = begin + device->pace.step_ns;
    weft_os_mutex_unlock(&device->mutex);
    while (result == VK_TIMEOUT && now - start < timeout_ns) {
        weft_os_sleep(weft_os_pace_nap(now, expected, timeout_ns - (now - start)));
        now = weft_os_now();
        result = wait_for(device, ticket, 0);
    }
    weft_os_mutex_lock(&device->mutex);
    if (result == VK_SUCCESS) weft_os_pace_end(&device->pace, begin, now);
    weft_os_mutex_unlock(&device->mutex);
    return result;
}

static bool was_cancelled(weft_backend_device *device, uint64_t ticket) {
    bool cancelled = false;
    weft_os_mutex_lock(&device->mutex);
    for (size_t i = 0; i < WEFT_VULKAN_MAX_QUEUED; i++)
        cancelled = cancelled || (device->records[i].ticket == ticket && device->records[i].cancelled);
    weft_os_mutex_unlock(&device->mutex);
    return cancelled;
}

weft_status weft_vulkan_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_status status = weft_vulkan_status(device, error);
    if (status != WEFT_OK) return status;
    VkResult result = sleep_until_ended(device, ticket, timeout_ns);
    if (result == VK_TIMEOUT && weft_vulkan_look(device)) return weft_vulkan_status(device, error);
    if (result == VK_TIMEOUT) return device->host->fail(error, WEFT_TIMEOUT, "vulkan: the step has not ended yet");
    if (result != VK_SUCCESS) return weft_vulkan_result(device, result, "waiting for a step", error);
    if (was_cancelled(device, ticket)) return device->host->fail(error, WEFT_CANCELLED, "vulkan: the step was cancelled");
    return WEFT_OK;
}

/* Steps that have not begun return at once. The running step, which is short on a card, goes on to its end, and on a processor to
 * the next look (recorder.h). Which steps are cancelled is decided before the device can stop any of them: a step that stops ends
 * so soon that it could be found ended here, as if it had run. */
void weft_vulkan_cancel(weft_backend_device *device) {
    weft_os_mutex_lock(&device->mutex);
    if (device->n_cancelled != device->n_submitted) device->seen_ns = weft_os_now();
    device->n_cancelled = device->n_submitted;
    for (size_t i = 0; i < WEFT_VULKAN_MAX_QUEUED; i++) {
        weft_vulkan_ended *record = &device->records[i];
        if (record->ticket != 0 && wait_for(device, record->ticket, 0) == VK_TIMEOUT) record->cancelled = true;
    }
    atomic_thread_fence(memory_order_seq_cst);
    ((volatile uint32_t *)(void *)device->steps->mapped)[QUEUE_CANCELLED] = device->n_submitted;
    weft_os_mutex_unlock(&device->mutex);
}
