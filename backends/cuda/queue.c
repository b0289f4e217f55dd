/* Steps. A submit writes the step's slots into the next entry of a queue, in memory that host and device share, and launches the
 * plan's graph. The device counts the steps it has run, so a step's first kernel finds the entry without an argument. Its last
 * kernel writes how the step ended into the entry, and counts it in `n_ended`.
 *
 * Waiting never spins. The driver has no wait with a timeout, so a wait sleeps for short times (os/pace.h) and reads `n_ended`. (An
 * event to sleep on would cost the host several us a step. A callback on the host would delay the device. A thread for waiting
 * would be too much for a library.)
 *
 * Cancelling writes the last ticket to the device through another stream, past the queued steps. A step's first kernel compares it
 * with the step's ticket, and all kernels of the step obey the result.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "backends/cuda/cuda.h"

weft_status weft_cuda_queue_create(weft_backend_device *device, weft_error *error) {
    const weft_cuda_driver *driver = &device->driver;
    const size_t bytes = sizeof(weft_cuda_control) + WEFT_CUDA_COUNTERS * sizeof(uint32_t);
    void *queue = NULL, *word = NULL;
    weft_cuda_result result = driver->memory_allocate(&device->control, bytes);
    if (result == WEFT_CUDA_SUCCESS) result = driver->fill(device->control, 0, bytes, device->stream);
    if (result == WEFT_CUDA_SUCCESS) result = driver->host_allocate(&queue, sizeof *device->queue, WEFT_CUDA_HOST_MAPPED);
    if (result == WEFT_CUDA_SUCCESS) {
        device->queue = queue;
        memset(queue, 0, sizeof *device->queue);
        result = driver->host_address(&device->queue_address, queue, 0);
    }
    if (result == WEFT_CUDA_SUCCESS) result = driver->host_allocate(&word, sizeof *device->cancel_word, 0);
    device->cancel_word = word;
    return weft_cuda_check(device->host, driver, result, "make a queue of steps", error);
}

void weft_cuda_queue_destroy(weft_backend_device *device) {
    const weft_cuda_driver *driver = &device->driver;
    if (device->cancel_word != NULL) driver->host_free(device->cancel_word);
    if (device->queue != NULL) driver->host_free(device->queue);
    if (device->control != 0) driver->memory_free(device->control);
}

/* The number of steps that have ended. All that the device wrote in them is then visible to the host. */
static uint64_t count_ended(const weft_backend_device *device) {
    uint64_t n = *(const volatile uint64_t *)&device->queue->n_ended;
    atomic_thread_fence(memory_order_acquire);
    return n;
}

/* Called with the mutex held. False if the queue is full. */
static bool launch(weft_backend_device *device, const weft_backend_plan *plan, const weft_cuda_entry *entry,
                   weft_cuda_result *result) {
    uint64_t position = device->n_submitted;
    size_t index = (size_t)(position % WEFT_CUDA_QUEUE_STEPS);
    if (position - count_ended(device) >= WEFT_CUDA_QUEUE_STEPS) return false;
    device->queue->entries[index] = *entry;
    atomic_thread_fence(memory_order_release);
    device->submitted_ns[index] = weft_os_now();
    *result = device->driver.graph_launch(plan->recording, device->stream);
    if (*result != WEFT_CUDA_SUCCESS) return true;
    device->n_submitted = position + 1;
    device->last_ticket = entry->ticket;
    return true;
}

weft_status weft_cuda_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                  uint32_t result_slot, weft_error *error) {
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    weft_cuda_entry entry = {.ticket = ticket, .step_slot = step_slot, .result_slot = result_slot};
    weft_cuda_result result = WEFT_CUDA_SUCCESS;
    weft_os_mutex_lock(&device->mutex);
    bool has_room = launch(device, plan, &entry, &result);
    weft_os_mutex_unlock(&device->mutex);
    status = weft_cuda_result_of(device, result, "launch a step", error);
    if (!has_room) status = device->host->fail(error, WEFT_FULL, "cuda: %d steps are queued: wait for one", WEFT_CUDA_QUEUE_STEPS);
    weft_cuda_leave(device);
    return status;
}

/* ---- Waiting ---- */

/* The position of a ticket, or UINT64_MAX if the queue no longer has the step. Called with the mutex held. */
static uint64_t find_position(const weft_backend_device *device, uint64_t ticket) {
    uint64_t oldest = device->n_submitted > WEFT_CUDA_QUEUE_STEPS ? device->n_submitted - WEFT_CUDA_QUEUE_STEPS : 0;
    for (uint64_t position = device->n_submitted; position-- > oldest;)
        if (device->queue->entries[position % WEFT_CUDA_QUEUE_STEPS].ticket == ticket) return position;
    return UINT64_MAX;
}

static weft_status ending_of(const weft_backend_device *device, uint64_t position, uint64_t ticket, weft_error *error) {
    uint32_t ending = device->queue->entries[position % WEFT_CUDA_QUEUE_STEPS].ending;
    if (ending != WEFT_CUDA_STEP_CANCELLED) return WEFT_OK;
    return device->host->fail(error, WEFT_CANCELLED, "cuda: step %llu was cancelled", (unsigned long long)ticket);
}

/* Sleeps until the step at `position` has ended, the time is over, or the device has failed. */
static weft_cuda_result sleep_until_ended(weft_backend_device *device, uint64_t position, uint64_t timeout_ns) {
    uint64_t start = weft_os_now(), now = start;
    weft_os_mutex_lock(&device->mutex);
    uint64_t begin = weft_os_pace_begin(&device->pace, device->submitted_ns[position % WEFT_CUDA_QUEUE_STEPS]);
    uint64_t expected = begin + device->pace.step_ns;
    weft_os_mutex_unlock(&device->mutex);
    weft_cuda_result result = device->driver.stream_query(device->stream);
    while (count_ended(device) <= position && now - start < timeout_ns && result == WEFT_CUDA_NOT_READY) {
        weft_os_sleep(weft_os_pace_nap(now, expected, timeout_ns - (now - start)));
        now = weft_os_now();
        if (count_ended(device) <= position) result = device->driver.stream_query(device->stream);
    }
    weft_os_mutex_lock(&device->mutex);
    if (count_ended(device) > position) weft_os_pace_end(&device->pace, begin, now);
    weft_os_mutex_unlock(&device->mutex);
    return result == WEFT_CUDA_NOT_READY ? WEFT_CUDA_SUCCESS : result;
}

static weft_status wait_entered(weft_backend_device *device, uint64_t position, uint64_t ticket, uint64_t timeout_ns,
                                weft_error *error) {
    weft_cuda_result result = sleep_until_ended(device, position, timeout_ns);
    weft_status status = weft_cuda_result_of(device, result, "run a step", error);
    if (status != WEFT_OK) return status;
    if (count_ended(device) > position) return ending_of(device, position, ticket, error);
    if (timeout_ns != UINT64_MAX)
        return device->host->fail(error, WEFT_TIMEOUT, "cuda: step %llu has not ended yet", (unsigned long long)ticket);
    return device->host->fail(error, WEFT_FAILED, "cuda: step %llu ended without a result", (unsigned long long)ticket);
}

weft_status weft_cuda_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    uint64_t position = find_position(device, ticket), last = device->last_ticket;
    bool ended = position == UINT64_MAX || count_ended(device) > position;
    weft_status status = WEFT_OK;
    if (position != UINT64_MAX && ended) status = ending_of(device, position, ticket, error);
    weft_os_mutex_unlock(&device->mutex);
    if (ticket > last)
        return device->host->fail(error, WEFT_INVALID_ARGUMENT, "cuda: ticket %llu was not submitted", (unsigned long long)ticket);
    if (ended) return status;
    status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    status = wait_entered(device, position, ticket, timeout_ns, error);
    weft_cuda_leave(device);
    return status;
}

void weft_cuda_cancel(weft_backend_device *device) {
    if (weft_cuda_enter(device, NULL) != WEFT_OK) return;
    weft_os_mutex_lock(&device->mutex);
    *device->cancel_word = device->last_ticket; /* it only rises, so an earlier copy that still runs may read the newer ticket */
    weft_cuda_result result = device->driver.copy_to_device(device->control + offsetof(weft_cuda_control, cancelled_to),
                                                            device->cancel_word, sizeof *device->cancel_word, device->side);
    weft_os_mutex_unlock(&device->mutex);
    weft_cuda_result_of(device, result, "cancel", NULL);
    weft_cuda_leave(device);
}
