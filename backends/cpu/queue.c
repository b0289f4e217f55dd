/* The queue of submitted steps. It has no thread of its own. A thread that waits for a ticket runs the steps up to this ticket, one
 * thread at a time. Other waiting threads sleep until their ticket has ended, or until the running thread leaves and one of them
 * takes over.
 */
#include "backends/cpu/queue.h"

#include <string.h>

#include "os/os.h"

/* Runs of tickets that did not end well; older ones are forgotten. */
#define MAX_ENDINGS 64

typedef struct weft_cpu_ending {
    uint64_t first, last;
    weft_status status;
} weft_cpu_ending;

struct weft_cpu_queue {
    weft_os_mutex mutex;
    weft_os_condition changed; /* a ticket ended, or the runner left */
    weft_cpu_step *steps;      /* a ring */
    size_t capacity, first, count;
    weft_cpu_step current; /* the step that was removed from the ring and may have run in part */
    bool has_current;
    bool busy;    /* a thread runs the queue with the pool */
    bool running; /* to run `current` just now */
    uint64_t last_submitted, last_ended, cancelled_to;
    weft_cpu_ending endings[MAX_ENDINGS]; /* a ring of the last n_endings */
    uint64_t n_endings;
};

weft_status weft_cpu_queue_create(weft_backend_device *device, weft_error *error) {
    const weft_host *host = device->host;
    weft_cpu_queue *queue = host->allocate(host->user, sizeof *queue, 64);
    if (queue == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory for a queue");
    memset(queue, 0, sizeof *queue);
    bool has_mutex = weft_os_mutex_init(&queue->mutex);
    if (!has_mutex || !weft_os_condition_init(&queue->changed)) {
        if (has_mutex) weft_os_mutex_destroy(&queue->mutex);
        host->release(host->user, queue, sizeof *queue);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: the system cannot create another mutex");
    }
    device->queue = queue;
    return WEFT_OK;
}

void weft_cpu_queue_destroy(weft_backend_device *device) {
    weft_cpu_queue *queue = device->queue;
    const weft_host *host = device->host;
    weft_cpu_cancel(device);
    weft_cpu_queue_lock_pool(device);
    weft_os_condition_destroy(&queue->changed);
    weft_os_mutex_destroy(&queue->mutex);
    if (queue->steps != NULL) host->release(host->user, queue->steps, queue->capacity * sizeof *queue->steps);
    host->release(host->user, queue, sizeof *queue);
    device->queue = NULL;
}

void weft_cpu_queue_lock_pool(weft_backend_device *device) {
    weft_cpu_queue *queue = device->queue;
    weft_os_mutex_lock(&queue->mutex);
    while (queue->busy) weft_os_condition_wait(&queue->changed, &queue->mutex, UINT64_MAX);
    queue->busy = true;
    weft_os_mutex_unlock(&queue->mutex);
}

void weft_cpu_queue_unlock_pool(weft_backend_device *device) {
    weft_cpu_queue *queue = device->queue;
    weft_os_mutex_lock(&queue->mutex);
    queue->busy = false;
    weft_os_condition_wake_all(&queue->changed);
    weft_os_mutex_unlock(&queue->mutex);
}

/* The functions from here to weft_cpu_wait are called with the mutex held. */

static void end_current(weft_cpu_queue *queue, weft_status status) {
    uint64_t ticket = queue->current.ticket;
    if (status != WEFT_OK) {
        weft_cpu_ending *last = queue->n_endings == 0 ? NULL : &queue->endings[(queue->n_endings - 1) % MAX_ENDINGS];
        if (last != NULL && last->status == status && last->last == queue->last_ended)
            last->last = ticket;
        else
            queue->endings[queue->n_endings++ % MAX_ENDINGS] = (weft_cpu_ending){ticket, ticket, status};
    }
    queue->last_ended = ticket;
    queue->has_current = false;
    weft_os_condition_wake_all(&queue->changed);
}

static bool take_next(weft_cpu_queue *queue) {
    if (queue->has_current) return true;
    if (queue->count == 0) return false;
    queue->current = queue->steps[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    queue->has_current = true;
    return true;
}

static void end_cancelled(weft_cpu_queue *queue) {
    while (take_next(queue) && queue->current.ticket <= queue->cancelled_to) end_current(queue, WEFT_CANCELLED);
}

static weft_status status_of(const weft_cpu_queue *queue, uint64_t ticket) {
    uint64_t known = queue->n_endings < MAX_ENDINGS ? queue->n_endings : MAX_ENDINGS;
    for (uint64_t i = 0; i < known; i++)
        if (ticket >= queue->endings[i].first && ticket <= queue->endings[i].last) return queue->endings[i].status;
    return WEFT_OK;
}

/* Runs steps until `ticket` has ended or the deadline has passed. */
static void run_queue(weft_backend_device *device, uint64_t ticket, uint64_t deadline) {
    weft_cpu_queue *queue = device->queue;
    queue->busy = true;
    while (ticket > queue->last_ended && take_next(queue)) {
        queue->running = true;
        weft_os_mutex_unlock(&queue->mutex);
        bool ended = weft_cpu_step_run(device, &queue->current, deadline);
        weft_os_mutex_lock(&queue->mutex);
        queue->running = false;
        weft_cpu_pool_stop(device->pool, false);
        if (queue->current.ticket <= queue->cancelled_to)
            end_cancelled(queue);
        else if (ended)
            end_current(queue, WEFT_OK);
        else
            break;
    }
    queue->busy = false;
    weft_os_condition_wake_all(&queue->changed);
}

static weft_status wait_locked(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_cpu_queue *queue = device->queue;
    const weft_host *host = device->host;
    uint64_t start = timeout_ns == UINT64_MAX ? 0 : weft_os_now();
    uint64_t deadline = timeout_ns > UINT64_MAX - start ? UINT64_MAX : start + timeout_ns;
    if (ticket > queue->last_submitted)
        return host->fail(error, WEFT_INVALID_ARGUMENT, "cpu: ticket %llu was not submitted", (unsigned long long)ticket);
    while (ticket > queue->last_ended) {
        uint64_t now = deadline == UINT64_MAX ? 0 : weft_os_now();
        if (now >= deadline || timeout_ns == 0)
            return host->fail(error, WEFT_TIMEOUT, "cpu: step %llu has not ended yet", (unsigned long long)ticket);
        if (!queue->busy)
            run_queue(device, ticket, deadline);
        else
            weft_os_condition_wait(&queue->changed, &queue->mutex, deadline == UINT64_MAX ? UINT64_MAX : deadline - now);
    }
    weft_status status = status_of(queue, ticket);
    return status == WEFT_OK ? WEFT_OK : host->fail(error, status, "cpu: step %llu was cancelled", (unsigned long long)ticket);
}

weft_status weft_cpu_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_os_mutex_lock(&device->queue->mutex);
    weft_status status = wait_locked(device, ticket, timeout_ns, error);
    weft_os_mutex_unlock(&device->queue->mutex);
    return status;
}

void weft_cpu_queue_drain(weft_backend_device *device) {
    weft_os_mutex_lock(&device->queue->mutex);
    wait_locked(device, device->queue->last_submitted, UINT64_MAX, NULL);
    weft_os_mutex_unlock(&device->queue->mutex);
}

void weft_cpu_cancel(weft_backend_device *device) {
    weft_cpu_queue *queue = device->queue;
    weft_os_mutex_lock(&queue->mutex);
    queue->cancelled_to = queue->last_submitted;
    if (queue->running)
        weft_cpu_pool_stop(device->pool, true);
    else
        end_cancelled(queue);
    weft_os_mutex_unlock(&queue->mutex);
}

static weft_status grow(weft_backend_device *device, weft_error *error) {
    weft_cpu_queue *queue = device->queue;
    const weft_host *host = device->host;
    size_t capacity = queue->capacity == 0 ? 8 : queue->capacity * 2;
    weft_cpu_step *steps = host->allocate(host->user, capacity * sizeof *steps, 64);
    if (steps == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory to queue %zu steps", capacity);
    for (size_t i = 0; i < queue->count; i++) steps[i] = queue->steps[(queue->first + i) % queue->capacity];
    if (queue->steps != NULL) host->release(host->user, queue->steps, queue->capacity * sizeof *steps);
    queue->steps = steps;
    queue->capacity = capacity;
    queue->first = 0;
    return WEFT_OK;
}

weft_status weft_cpu_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                 uint32_t result_slot, weft_error *error) {
    weft_cpu_queue *queue = device->queue;
    weft_os_mutex_lock(&queue->mutex);
    weft_status status = queue->count < queue->capacity ? WEFT_OK : grow(device, error);
    if (status == WEFT_OK) {
        queue->steps[(queue->first + queue->count++) % queue->capacity] =
            (weft_cpu_step){.plan = plan, .ticket = ticket, .step_slot = step_slot, .result_slot = result_slot};
        queue->last_submitted = ticket;
    }
    weft_os_mutex_unlock(&queue->mutex);
    return status;
}
