#include "scripted_backend.h"

#include <stdlib.h>
#include <string.h>

#include "scripted_ops.h"
#include "scripted_stage.h"

#define MAX_STEPS 256 /* in the life of a device */
#define LAYOUT_HEADER 64

scripted script;

struct weft_backend_buffer {
    uint64_t bytes;
    unsigned char *memory;
    weft_memory kind;
};

struct weft_backend_plan {
    weft_schedule schedule;
    weft_phase *phases;
    uint32_t *after;
    weft_ring_copy *copies;
    size_t n_after, n_copies;
};

typedef struct queued {
    uint64_t ticket;
    weft_backend_plan *plan;
    uint32_t step_slot, result_slot;
    weft_status status;
    bool ended;
} queued;

struct weft_backend_device {
    const weft_host *host;
    weft_os_mutex mutex;
    weft_os_condition changed;
    queued steps[MAX_STEPS];
    size_t first, end; /* of those that have not ended */
    bool running, cancelled, lost;
};

void script_reset(void) {
    script = (scripted){0};
    weft_os_mutex_init(&script.mutex);
    weft_os_condition_init(&script.changed);
}

void script_end(void) {
    weft_os_condition_destroy(&script.changed);
    weft_os_mutex_destroy(&script.mutex);
}

void script_go(void) {
    weft_os_mutex_lock(&script.mutex);
    script.go = true;
    weft_os_condition_wake_all(&script.changed);
    weft_os_mutex_unlock(&script.mutex);
}

void script_wait_for_slow_step(void) {
    weft_os_mutex_lock(&script.mutex);
    while (!script.step_runs) weft_os_condition_wait(&script.changed, &script.mutex, UINT64_MAX);
    weft_os_mutex_unlock(&script.mutex);
}

static void require(bool kept, const char *rule) {
    if (kept) return;
    script.broken = true;
    script.complaint = rule;
}

/* ---- Devices ---- */

static weft_status list_devices(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error) {
    (void)host;
    (void)error;
    *count = 1;
    if (capacity > 0)
        list[0] = (weft_device_info){.name = "scripted", .host_memory = !script.unmapped, .host_processor = !script.unmapped};
    return WEFT_OK;
}

static weft_status open_device(const weft_host *host, size_t index, const weft_device_options *options,
                               weft_backend_device **device, weft_error *error) {
    (void)index;
    (void)options;
    weft_backend_device *made = host->allocate(host->user, sizeof *made, 64);
    if (!made) return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a device");
    memset(made, 0, sizeof *made);
    made->host = host;
    weft_os_mutex_init(&made->mutex);
    weft_os_condition_init(&made->changed);
    *device = made;
    return WEFT_OK;
}

static void close_device(weft_backend_device *device) {
    const weft_host *host = device->host;
    require(device->first == device->end, "a device is closed with steps under way");
    require(script.live_pieces == 0, "staging memory was not given back");
    weft_os_condition_destroy(&device->changed);
    weft_os_mutex_destroy(&device->mutex);
    host->release(host->user, device, sizeof *device);
}

static weft_status memory_info(weft_backend_device *device, uint64_t *total, uint64_t *free_bytes, weft_error *error) {
    (void)device;
    (void)error;
    *total = (uint64_t)1 << 40;
    *free_bytes = script.memory_free ? script.memory_free : *total;
    return WEFT_OK;
}

/* ---- Buffers ---- */

static weft_status buffer_create(weft_backend_device *device, weft_memory kind, uint64_t bytes, weft_backend_buffer **buffer,
                                 weft_error *error) {
    const weft_host *host = device->host;
    require(bytes > 0, "an empty buffer");
    weft_backend_buffer *made = NULL;
    if (++script.n_buffers != script.fail_buffer) made = host->allocate(host->user, sizeof *made, 64);
    unsigned char *memory = made ? host->allocate(host->user, (size_t)bytes, 64) : NULL;
    if (!memory) {
        if (made) host->release(host->user, made, sizeof *made);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a buffer");
    }
    memset(memory, 0, (size_t)bytes);
    *made = (weft_backend_buffer){bytes, memory, kind};
    script.live_buffers++;
    *buffer = made;
    return WEFT_OK;
}

/* With a granularity: like a device that rounds sizes up and keeps rings in the host's memory. */
static uint64_t buffer_bytes_used(weft_backend_device *device, weft_memory kind, uint64_t bytes) {
    (void)device;
    if (!script.granularity) return bytes;
    return kind == WEFT_MEMORY_RING ? 0 : (bytes + script.granularity - 1) / script.granularity * script.granularity;
}

static uint64_t plan_bytes_used(weft_backend_device *device, const weft_backend_plan *plan) {
    (void)device;
    return plan->schedule.n_phases * 100;
}

static void buffer_destroy(weft_backend_device *device, weft_backend_buffer *buffer) {
    const weft_host *host = device->host;
    script.live_buffers--;
    host->release(host->user, buffer->memory, (size_t)buffer->bytes);
    host->release(host->user, buffer, sizeof *buffer);
}

static void *buffer_map(weft_backend_device *device, weft_backend_buffer *buffer) {
    (void)device;
    return script.unmapped && buffer->kind == WEFT_MEMORY_DEVICE ? NULL : buffer->memory;
}

static void check_range(const weft_backend_buffer *buffer, uint64_t offset, uint64_t bytes) {
    require(offset <= buffer->bytes && bytes <= buffer->bytes - offset, "a range outside its buffer");
}

static weft_status check_idle(weft_backend_device *device, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    bool idle = device->first == device->end && !device->running;
    weft_os_mutex_unlock(&device->mutex);
    return idle ? WEFT_OK : device->host->fail(error, WEFT_FAILED, "the scripted device reads and writes only when it is idle");
}

static weft_status write_buffer(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from,
                                size_t bytes, weft_error *error) {
    check_range(buffer, offset, bytes);
    script.n_writes++;
    scripted_stage_copy(from, buffer->memory + offset, bytes, false);
    return check_idle(device, error);
}

static weft_status read_buffer(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                               weft_error *error) {
    check_range(buffer, offset, bytes);
    scripted_stage_settle();
    memcpy(into, buffer->memory + offset, bytes);
    return check_idle(device, error);
}

/* ---- Weights: layout 1 is the rows, each byte inverted, behind a header ---- */

static void weight_layout(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                          size_t n_uses, weft_layout *layout) {
    const weft_tensor *weight = weights[0];
    if (n_weights > 1) return;
    script.n_uses += n_uses;
    for (size_t i = 0; i < n_uses; i++) require(uses[i].phase->op != WEFT_OP_NONE, "a use without an op");
    if (!script.packs) return;
    const weft_type_info *type = device->host->type(weight->type);
    uint64_t elements = (uint64_t)(weight->shape[0] * weight->shape[1] * weight->shape[2] * weight->shape[3]);
    *layout = (weft_layout){1, 3, LAYOUT_HEADER + elements / type->block_elements * type->block_bytes, "inverted"};
}

static weft_status weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error) {
    (void)error;
    const weft_tensor *weight = packing->weight;
    const weft_layout *layout = packing->layout;
    int64_t first_row = packing->first_row, n_rows = packing->n_rows;
    const weft_type_info *type = device->host->type(weight->type);
    uint64_t stride = (uint64_t)weight->shape[0] / type->block_elements * type->block_bytes;
    int64_t all_rows = weight->shape[1] * weight->shape[2] * weight->shape[3];
    require(first_row % layout->rows_at_once == 0, "packing begins inside a group of rows");
    require(n_rows % layout->rows_at_once == 0 || first_row + n_rows == all_rows, "packing ends inside a group of rows");
    check_range(packing->buffer, packing->offset, layout->bytes);
    scripted_stage_copy(packing->from, packing->buffer->memory + packing->offset + LAYOUT_HEADER + (uint64_t)first_row * stride,
                        (uint64_t)n_rows * stride, true);
    script.n_packs++;
    return WEFT_OK;
}

static weft_status stage(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error) {
    return scripted_stage(device->host, bytes, memory, error);
}

/* ---- Plans ---- */

static void supports(weft_backend_device *device, const weft_phase *query, weft_support *support) {
    (void)device;
    *support = (weft_support){.supported = scripted_op_known(query->op),
                              .name = "scripted",
                              .kernel = (uint32_t)query->op,
                              .scratch_bytes = script.scratch_bytes,
                              .in_place = script.in_place && (query->op == WEFT_OP_ADD || query->op == WEFT_OP_MUL)};
    if (!support->supported) strcpy(support->reason, "the script does not know this op");
}

static void plan_destroy(weft_backend_device *device, weft_backend_plan *plan) {
    const weft_host *host = device->host;
    for (size_t i = device->first; i < device->end; i++) require(device->steps[i].plan != plan, "a plan is destroyed under way");
    host->release(host->user, plan->phases, (plan->schedule.n_phases + 1) * sizeof *plan->phases);
    host->release(host->user, plan->after, (plan->n_after + 1) * sizeof *plan->after);
    host->release(host->user, plan->copies, (plan->n_copies + 1) * sizeof *plan->copies);
    host->release(host->user, plan, sizeof *plan);
    script.live_plans--;
}

static void check_phase(const weft_phase *phase, size_t number) {
    for (uint32_t i = 0; i < phase->n_after; i++) {
        require(phase->after[i] < number, "a phase comes after a later one");
        require(i == 0 || phase->after[i - 1] < phase->after[i], "a list of phases is not sorted");
    }
    require(phase->kernel == (uint32_t)phase->op, "the kernel's number got lost");
    require((phase->scratch.buffer != NULL) == (script.scratch_bytes > 0), "scratch is there when it was not asked for");
    if (phase->inputs[0].buffer == phase->outputs[0].buffer && phase->inputs[0].offset == phase->outputs[0].offset &&
        phase->op != WEFT_OP_SCATTER) {
        script.n_replaced++;
    }
}

static void copy_schedule(weft_backend_plan *plan, const weft_schedule *schedule) {
    size_t n_after = 0;
    for (size_t i = 0; i < schedule->n_phases; i++) {
        plan->phases[i] = schedule->phases[i];
        plan->phases[i].after = plan->after + n_after;
        for (uint32_t j = 0; j < schedule->phases[i].n_after; j++) plan->after[n_after++] = schedule->phases[i].after[j];
        check_phase(&plan->phases[i], i);
    }
    for (size_t i = 0; i < schedule->n_step_copies; i++) plan->copies[i] = schedule->step_copies[i];
    for (size_t i = 0; i < schedule->n_result_copies; i++) plan->copies[schedule->n_step_copies + i] = schedule->result_copies[i];
}

static weft_status plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                               weft_error *error) {
    const weft_host *host = device->host;
    weft_backend_plan *made = NULL;
    if (++script.n_plans != script.fail_plan) made = host->allocate(host->user, sizeof *made, 64);
    if (!made) return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
    *made = (weft_backend_plan){.schedule = *schedule, .n_copies = schedule->n_step_copies + schedule->n_result_copies};
    for (size_t i = 0; i < schedule->n_phases; i++) made->n_after += schedule->phases[i].n_after;
    script.live_plans++;
    made->phases = host->allocate(host->user, (schedule->n_phases + 1) * sizeof *made->phases, 64);
    made->after = host->allocate(host->user, (made->n_after + 1) * sizeof *made->after, 64);
    made->copies = host->allocate(host->user, (made->n_copies + 1) * sizeof *made->copies, 64);
    if (!made->phases || !made->after || !made->copies) {
        plan_destroy(device, made);
        return host->fail(error, WEFT_OUT_OF_MEMORY, "no memory for a plan");
    }
    copy_schedule(made, schedule);
    *plan = made;
    return WEFT_OK;
}

/* ---- Steps ---- */

static const void *input_of(const weft_phase *phase, size_t index, unsigned char **unpacked) {
    const weft_place *place = &phase->inputs[index];
    if (!place->buffer) return NULL;
    unsigned char *memory = place->buffer->memory + place->offset;
    if (place->layout == 0) return memory;
    size_t bytes = scripted_tensor_bytes(&place->tensor);
    *unpacked = malloc(bytes);
    for (size_t i = 0; i < bytes; i++) (*unpacked)[i] = (unsigned char)~memory[LAYOUT_HEADER + i];
    return *unpacked;
}

static void run_phase(const weft_phase *phase) {
    unsigned char *unpacked[2] = {NULL, NULL};
    const void *inputs[2] = {input_of(phase, 0, &unpacked[0]), input_of(phase, 1, &unpacked[1])};
    if (phase->scratch.buffer) {
        check_range(phase->scratch.buffer, phase->scratch.offset, script.scratch_bytes);
        memset(phase->scratch.buffer->memory + phase->scratch.offset, 0xfe, (size_t)script.scratch_bytes);
    }
    void *output = phase->outputs[0].buffer->memory + phase->outputs[0].offset;
    scripted_op_run(phase, inputs, output);
    free(unpacked[0]);
    free(unpacked[1]);
}

/* Runs the phases in a random order: always one of those whose `after` list has run. */
static void run_phases(const weft_backend_plan *plan) {
    size_t n = plan->schedule.n_phases, n_done = 0;
    bool *done = calloc(n + 1, sizeof *done);
    while (n_done < n) {
        size_t chosen = n, n_ready = 0;
        for (size_t i = 0; i < n; i++) {
            bool ready = !done[i];
            for (uint32_t j = 0; ready && j < plan->phases[i].n_after; j++) ready = done[plan->phases[i].after[j]];
            script.seed = script.seed * 6364136223846793005u + 1442695040888963407u;
            if (ready && (script.seed >> 33) % ++n_ready == 0) chosen = i;
        }
        if (chosen == n) break; /* check_phase has complained */
        run_phase(&plan->phases[chosen]);
        done[chosen] = true;
        n_done++;
    }
    free(done);
}

static void run_copies(const queued *step) {
    const weft_schedule *schedule = &step->plan->schedule;
    const weft_ring_copy *copy = step->plan->copies;
    for (size_t i = 0; i < schedule->n_step_copies; i++, copy++) {
        uint64_t from = step->step_slot * schedule->step_stride + copy->ring_offset;
        check_range(schedule->step_ring, from, copy->bytes);
        check_range(copy->buffer, copy->offset, copy->bytes);
        memcpy(copy->buffer->memory + copy->offset, schedule->step_ring->memory + from, (size_t)copy->bytes);
    }
    run_phases(step->plan);
    for (size_t i = 0; i < schedule->n_result_copies; i++, copy++) {
        uint64_t into = step->result_slot * schedule->result_stride + copy->ring_offset;
        check_range(schedule->result_ring, into, copy->bytes);
        memcpy(schedule->result_ring->memory + into, copy->buffer->memory + copy->offset, (size_t)copy->bytes);
    }
}

/* A slow step runs until script_go or a cancel. */
static bool linger(weft_backend_device *device) {
    weft_os_mutex_lock(&script.mutex);
    script.step_runs = true;
    weft_os_condition_wake_all(&script.changed);
    bool cancelled = false;
    while (!script.go && !cancelled) {
        weft_os_condition_wait(&script.changed, &script.mutex, 1000000);
        weft_os_mutex_lock(&device->mutex);
        cancelled = device->cancelled;
        weft_os_mutex_unlock(&device->mutex);
    }
    weft_os_mutex_unlock(&script.mutex);
    return cancelled;
}

/* The caller holds the mutex, which is released while the step runs. */
static void run_next(weft_backend_device *device) {
    queued *step = &device->steps[device->first];
    int number = ++script.n_steps;
    device->running = true;
    device->cancelled = false;
    weft_os_mutex_unlock(&device->mutex);
    if (number == script.slow_step && linger(device)) {
        step->status = WEFT_CANCELLED;
    } else if (number == script.fail_step) {
        step->status = script.fail_status;
    } else {
        run_copies(step);
    }
    weft_os_mutex_lock(&device->mutex);
    if (step->status == WEFT_DEVICE_LOST) device->lost = true;
    step->ended = true;
    device->running = false;
    while (device->first < device->end && device->steps[device->first].ended) device->first++;
    weft_os_condition_wake_all(&device->changed);
}

static weft_status plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                               uint32_t result_slot, weft_error *error) {
    weft_status status = WEFT_OK;
    weft_os_mutex_lock(&device->mutex);
    require(device->end == 0 || device->steps[device->end - 1].ticket < ticket, "tickets do not rise");
    scripted_stage_settle();
    if (++script.n_submits == script.fail_submit) {
        status = device->host->fail(error, WEFT_OUT_OF_MEMORY, "no memory to submit");
    } else if (device->end == MAX_STEPS) {
        status = device->host->fail(error, WEFT_FULL, "a scripted device runs %d steps", MAX_STEPS);
    } else {
        device->steps[device->end++] = (queued){ticket, plan, step_slot, result_slot, WEFT_OK, false};
    }
    weft_os_mutex_unlock(&device->mutex);
    return status;
}

static queued *find(weft_backend_device *device, uint64_t ticket) {
    for (size_t i = device->end; i-- > 0;) {
        if (device->steps[i].ticket == ticket) return &device->steps[i];
    }
    return NULL;
}

static weft_status wait_step(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error) {
    uint64_t start = weft_os_now();
    weft_status status = WEFT_TIMEOUT;
    weft_os_mutex_lock(&device->mutex);
    queued *step = find(device, ticket);
    require(step != NULL, "a wait for a ticket that was never submitted");
    if (timeout_ns == 0 && ++script.n_asks == script.run_at_ask) run_next(device);
    if (timeout_ns > 0) script.n_waits++;
    while (step && !step->ended && !device->lost) {
        uint64_t passed = weft_os_now() - start;
        if (timeout_ns != UINT64_MAX && passed >= timeout_ns) break;
        if (!device->running) {
            run_next(device);
        } else {
            weft_os_condition_wait(&device->changed, &device->mutex, timeout_ns == UINT64_MAX ? timeout_ns : timeout_ns - passed);
        }
    }
    if (step && step->ended) status = step->status;
    if (device->lost && (!step || !step->ended)) {
        status = WEFT_DEVICE_LOST;
        device->first = device->end;
    }
    weft_os_mutex_unlock(&device->mutex);
    return status == WEFT_OK ? WEFT_OK
                             : device->host->fail(error, status, "scripted: %s", status == WEFT_TIMEOUT ? "late" : "fault");
}

static void cancel(weft_backend_device *device) {
    weft_os_mutex_lock(&device->mutex);
    device->cancelled = true;
    size_t keep = device->running ? device->first + 1 : device->first;
    for (size_t i = keep; i < device->end; i++) {
        device->steps[i].status = WEFT_CANCELLED;
        device->steps[i].ended = true;
    }
    if (!device->running) device->first = device->end;
    weft_os_condition_wake_all(&device->changed);
    weft_os_mutex_unlock(&device->mutex);
}

static weft_status device_status(weft_backend_device *device, weft_error *error) {
    weft_os_mutex_lock(&device->mutex);
    bool lost = device->lost;
    weft_os_mutex_unlock(&device->mutex);
    return lost ? device->host->fail(error, WEFT_DEVICE_LOST, "it fell off the bus") : WEFT_OK;
}

/* clang-format off */
#define SLOTS .abi = WEFT_BACKEND_ABI, .size = sizeof(weft_backend), .name = "scripted", .devices = list_devices,                  \
    .open = open_device, .close = close_device, .memory_info = memory_info, .buffer_create = buffer_create,                        \
    .buffer_destroy = buffer_destroy, .buffer_map = buffer_map, .write = write_buffer, .read = read_buffer, .supports = supports,  \
    .weight_layout = weight_layout, .weight_pack = weight_pack, .plan_create = plan_create, .plan_destroy = plan_destroy,          \
    .plan_submit = plan_submit, .wait = wait_step, .cancel = cancel, .status = device_status, .buffer_bytes_used = buffer_bytes_used, .plan_bytes_used = plan_bytes_used
/* clang-format on */

const weft_backend scripted_backend = {SLOTS};
const weft_backend scripted_staging_backend = {SLOTS, .stage = stage};
