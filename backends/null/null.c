/* The null backend: everything a backend needs, in host memory, with kernels that do nothing.
 *
 * It is the skeleton to clone. Copy this folder, rename `weft_null_backend`, add the folder's name to WEFT_BACKENDS (or build it as
 * a plug-in, with the entry point at the end), and replace the parts one by one; the tests of plans pass at every stage. What each
 * slot must do is written in weft/backend.h. It is also useful as it is: the time a plan takes on it is the time that the core
 * itself takes.
 *
 * Steps "run" when somebody waits for them, as they would on a device without threads of its own. A device with a queue of its own
 * starts them in plan_submit, and wait only looks at how far they are.
 */
#include <stdatomic.h>
#include <string.h>

#include "weft/backend.h"

#define MAX_QUEUED 64 /* steps; if all are queued, plan_submit returns WEFT_FULL */
#define ALIGNMENT 64

struct weft_backend_buffer {
    uint64_t bytes;
    char *memory;
};

typedef struct null_copy {
    weft_ring_copy copy;
    bool made; /* a result that a phase should have made: zeros */
} null_copy;

struct weft_backend_plan {
    weft_schedule schedule;
    /* A real backend keeps what it recorded of the phases; this one only moves step inputs and results. */
    null_copy *copies; /* those of the step, then those of the results */
    size_t n_copies;
};

typedef struct queued_step {
    uint64_t ticket;
    const weft_backend_plan *plan; /* NULL: cancelled, or it has run */
    uint32_t step_slot, result_slot;
    weft_status status;
} queued_step;

struct weft_backend_device {
    const weft_host *host;
    /* wait and cancel come from any thread at any time, next to one other call. Nothing here takes long; a backend whose calls do
     * has a lock of its system's. */
    atomic_flag busy;
    queued_step steps[MAX_QUEUED]; /* ring: entry i % MAX_QUEUED; those before `first` have ended */
    uint64_t first, end;
};

static void *allocate(const weft_host *host, size_t size) {
    return host->allocate(host->user, size, ALIGNMENT);
}

static void lock(weft_backend_device *device) {
    while (atomic_flag_test_and_set_explicit(&device->busy, memory_order_acquire)) continue;
}

static void unlock(weft_backend_device *device) {
    atomic_flag_clear_explicit(&device->busy, memory_order_release);
}

static void release(const weft_host *host, void *memory, size_t size) {
    if (memory) host->release(host->user, memory, size);
}

/* ---- Devices ---- */

static weft_status null_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host;
    (void)error;
    *count = 1;
    if (capacity == 0) return WEFT_OK;
    list[0] = (weft_device_info){.name = "does nothing", .host_memory = true, .host_processor = true, .kind = WEFT_DEVICE_NOTHING};
    return WEFT_OK;
}

static weft_status null_open(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                             weft_error *error) {
    (void)index;
    (void)options;
    weft_backend_device *made = allocate(host, sizeof *made);
    if (!made) return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a device");
    *made = (weft_backend_device){.host = host, .busy = ATOMIC_FLAG_INIT};
    *device = made;
    return WEFT_OK;
}

static void null_close(weft_backend_device *device) {
    release(device->host, device, sizeof *device);
}

static weft_status null_memory_info(weft_backend_device *device, uint64_t *total, uint64_t *free, weft_error *error) {
    (void)device;
    (void)error;
    *total = *free = 0; /* unknown */
    return WEFT_OK;
}

/* ---- Buffers ---- */

static weft_status null_buffer_create(weft_backend_device *device, weft_memory kind, uint64_t bytes, weft_backend_buffer **buffer,
                                      weft_error *error) {
    (void)kind; /* all memory is the host's */
    char *memory = bytes <= SIZE_MAX ? allocate(device->host, (size_t)bytes) : NULL;
    if (!memory) {
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a buffer of %llu bytes", (unsigned long long)bytes);
    }
    memset(memory, 0, (size_t)bytes); /* kernels that do nothing leave zeros behind, not what was there */
    weft_backend_buffer *made = allocate(device->host, sizeof *made);
    if (!made) {
        release(device->host, memory, (size_t)bytes);
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a buffer's description");
    }
    *made = (weft_backend_buffer){.bytes = bytes, .memory = memory};
    *buffer = made;
    return WEFT_OK;
}

static void null_buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer) {
    release(device->host, buffer->memory, (size_t)buffer->bytes);
    release(device->host, buffer, sizeof *buffer);
}

static void *null_buffer_map(weft_backend_device *device, weft_backend_buffer *buffer) {
    (void)device;
    return buffer->memory;
}

/* ---- Steps ---- */

static void run(const queued_step *step) {
    const weft_schedule *schedule = &step->plan->schedule;
    const null_copy *copies = step->plan->copies;
    const char *inputs = schedule->n_step_copies ? schedule->step_ring->memory + step->step_slot * schedule->step_stride : NULL;
    char *results = schedule->n_result_copies ? schedule->result_ring->memory + step->result_slot * schedule->result_stride : NULL;
    for (size_t i = 0; i < schedule->n_step_copies; i++) {
        const weft_ring_copy *copy = &copies[i].copy;
        memcpy(copy->buffer->memory + copy->offset, inputs + copy->ring_offset, (size_t)copy->bytes);
    }
    /* Here a real backend runs its phases, in their order or in any that keeps what each names in `after`. */
    for (size_t i = schedule->n_step_copies; i < step->plan->n_copies; i++) {
        const weft_ring_copy *copy = &copies[i].copy;
        char *from = copy->buffer->memory + copy->offset;
        if (copies[i].made) memset(from, 0, (size_t)copy->bytes);
        memcpy(results + copy->ring_offset, from, (size_t)copy->bytes);
    }
}

/* Runs what is queued up to and with `ticket`, with the lock held: here a step takes no time. */
static void run_until(weft_backend_device *device, uint64_t ticket) {
    while (device->first < device->end && device->steps[device->first % MAX_QUEUED].ticket <= ticket) {
        queued_step *next = &device->steps[device->first % MAX_QUEUED];
        if (next->plan) run(next);
        next->plan = NULL;
        device->first++;
    }
}

static weft_status null_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                    uint32_t result_slot, weft_error *error) {
    weft_status status = WEFT_OK;
    lock(device);
    if (device->end - device->first == MAX_QUEUED) {
        status = device->host->fail(error, WEFT_FULL, "%d steps are queued: wait for one", MAX_QUEUED);
    } else {
        device->steps[device->end++ % MAX_QUEUED] =
            (queued_step){.ticket = ticket, .plan = plan, .step_slot = step_slot, .result_slot = result_slot};
    }
    unlock(device);
    return status;
}

static weft_status null_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    weft_status status = WEFT_OK;
    lock(device);
    if (timeout_ns > 0) run_until(device, ticket);
    for (uint64_t i = device->end > MAX_QUEUED ? device->end - MAX_QUEUED : 0; i < device->end; i++) {
        const queued_step *candidate = &device->steps[i % MAX_QUEUED];
        if (candidate->ticket == ticket) status = i < device->first ? candidate->status : WEFT_TIMEOUT;
    }
    unlock(device);
    if (status == WEFT_TIMEOUT) return device->host->fail(error, status, "the step has not run yet");
    if (status) return device->host->fail(error, status, "the step was cancelled");
    return WEFT_OK;
}

static void null_cancel(weft_backend_device *device) {
    lock(device);
    for (; device->first < device->end; device->first++) {
        queued_step *dropped = &device->steps[device->first % MAX_QUEUED];
        dropped->plan = NULL;
        dropped->status = WEFT_CANCELLED;
    }
    unlock(device);
}

/* Everything submitted before has ended when one of these touches memory. */
static void finish(weft_backend_device *device) {
    lock(device);
    run_until(device, UINT64_MAX);
    unlock(device);
}

static weft_status null_write(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                              size_t bytes, weft_error *error) {
    (void)error;
    finish(device);
    memcpy(buffer->memory + offset, from, bytes);
    return WEFT_OK;
}

static weft_status null_read(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                             weft_error *error) {
    (void)error;
    finish(device);
    memcpy(into, buffer->memory + offset, bytes);
    return WEFT_OK;
}

/* ---- Plans ---- */

/* A real backend has a table of kernels (backends/table.h picks from one), and says which row would run the node or why none fits.
 * This one has a single row, for every op. */
static void null_supports(weft_backend_device *device, const weft_phase *phase, weft_support *support) {
    (void)device;
    (void)phase;
    *support = (weft_support){.supported = true, .name = "nothing"};
}

/* Since no phase writes its outputs, they hold the earlier content of the memory. */
static bool is_made(const weft_schedule *schedule, const weft_ring_copy *result) {
    for (size_t i = 0; i < schedule->n_phases; i++) {
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS; j++) {
            const weft_place *place = &schedule->phases[i].outputs[j];
            if (place->buffer == result->buffer && place->offset == result->offset) return true;
        }
    }
    return false;
}

static weft_status null_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                    weft_error *error) {
    weft_backend_plan *made = allocate(device->host, sizeof *made);
    if (!made) return device->host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
    *made = (weft_backend_plan){.schedule = *schedule, .n_copies = schedule->n_step_copies + schedule->n_result_copies};
    if (made->n_copies > 0) {
        made->copies = allocate(device->host, made->n_copies * sizeof *made->copies);
        if (!made->copies) {
            release(device->host, made, sizeof *made);
            return device->host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
        }
    }
    null_copy *copy = made->copies;
    for (size_t i = 0; i < schedule->n_step_copies; i++) *copy++ = (null_copy){.copy = schedule->step_copies[i]};
    for (size_t i = 0; i < schedule->n_result_copies; i++)
        *copy++ = (null_copy){.copy = schedule->result_copies[i], .made = is_made(schedule, &schedule->result_copies[i])};
    *plan = made;
    return WEFT_OK;
}

static void null_plan_destroy(weft_backend_device *device, weft_backend_plan *plan) {
    release(device->host, plan->copies, plan->n_copies * sizeof *plan->copies);
    release(device->host, plan, sizeof *plan);
}

const weft_backend weft_null_backend = {
    .abi = WEFT_BACKEND_ABI,
    .size = sizeof(weft_backend),
    .name = "null",
    .rank = -1, /* so that "auto" never chooses it */
    .devices = null_devices,
    .open = null_open,
    .close = null_close,
    .memory_info = null_memory_info,
    .buffer_create = null_buffer_create,
    .buffer_destroy = null_buffer_destroy,
    .buffer_map = null_buffer_map,
    .write = null_write,
    .read = null_read,
    .supports = null_supports,
    /* weight_layout and weight_pack are left out: weights stay as they are in the file. */
    .plan_create = null_plan_create,
    .plan_destroy = null_plan_destroy,
    .plan_submit = null_plan_submit,
    .wait = null_wait,
    .cancel = null_cancel,
    /* status is left out: host memory is not lost; stage too: it would only copy what can be read into place. */
};

/* A backend in a library of its own also needs
 *
 *     WEFT_API const weft_backend *weft_backend_entry(const weft_host *host) {
 *         return host->abi == WEFT_BACKEND_ABI ? &weft_null_backend : NULL;
 *     }
 */
