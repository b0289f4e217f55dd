/* Recorded plans. A plan is one CUDA graph. Its first kernel finds the step's entry in the queue and copies its inputs. Then follow
 * the launches of the phases, in the schedule's partial order. The last kernel copies the results and tells the host of the end.
 * The graph does not change from step to step.
 */
#include <string.h>

#include "backends/cuda/cuda.h"

#define SMALL_RESULTS 65536 /* in bytes; the last kernel, which is one block, copies these results */
#define COPY_BLOCKS 64
#define EARLY_CAPABILITY 90 /* `griddepcontrol` */

struct weft_cuda_recorder {
    weft_backend_device *device;
    weft_cuda_graph graph;
    const char *file;      /* of kernels/ */
    weft_cuda_node *last;  /* of each phase */
    bool *has_next;        /* for each phase: another comes after it */
    weft_cuda_node *after; /* the nodes before the next launch */
    size_t n_after;
    size_t n_phases, n_launches, n_counters;
    weft_status status;
    weft_error *error;
};

/* ---- Launches ---- */

weft_backend_device *weft_cuda_recorder_device(const weft_cuda_recorder *recorder) {
    return recorder->device;
}

uint64_t weft_cuda_recorder_control(const weft_cuda_recorder *recorder) {
    return recorder->device->control;
}

uint64_t weft_cuda_counters(weft_cuda_recorder *recorder, size_t n) {
    if (WEFT_CUDA_COUNTERS - recorder->n_counters < n) return 0;
    recorder->n_counters += n;
    return recorder->device->control + sizeof(weft_cuda_control) + (recorder->n_counters - n) * sizeof(uint32_t);
}

/* Lets a kernel's blocks have as much shared memory as there is. */
static weft_cuda_result ask_for_shared(weft_backend_device *device, weft_cuda_function function) {
    weft_cuda_result result = device->driver.function_set(function, WEFT_CUDA_FUNCTION_SHARED_BYTES, device->shared_bytes);
    if (result != WEFT_CUDA_SUCCESS) return result;
    return device->driver.function_set(function, WEFT_CUDA_FUNCTION_CARVEOUT, 100);
}

/* A launch that comes after one other may start before that one has ended: every kernel of kernels/ waits by itself. */
static weft_cuda_result add_kernel(weft_cuda_recorder *r, const weft_cuda_kernel_node *node, weft_cuda_node *added) {
    const weft_cuda_driver *driver = &r->device->driver;
    bool early = r->n_after == 1 && r->device->capability >= EARLY_CAPABILITY && driver->graph_add_edges != NULL;
    weft_cuda_result result = driver->graph_add_kernel(added, r->graph, r->after, early ? 0 : r->n_after, node);
    if (result != WEFT_CUDA_SUCCESS || !early) return result;
    const weft_cuda_edge edge = WEFT_CUDA_EARLY_EDGE;
    return driver->graph_add_edges(r->graph, r->after, added, &edge, 1);
}

void weft_cuda_launch(weft_cuda_recorder *r, const char *file, const char *entry, weft_cuda_shape shape, void *argument) {
    if (r->status != WEFT_OK) return;
    void *arguments[] = {argument};
    weft_cuda_kernel_node node = {.grid = {(unsigned)shape.grid[0], (unsigned)shape.grid[1], 1},
                                  .block = {shape.block, 1, 1},
                                  .shared_bytes = shape.shared_bytes,
                                  .arguments = arguments};
    r->status = weft_cuda_find_kernel(r->device, file, entry, &node.function, r->error);
    if (r->status != WEFT_OK) return;
    weft_cuda_node added = NULL;
    weft_cuda_result result = WEFT_CUDA_SUCCESS;
    if (shape.shared_bytes > WEFT_CUDA_PLAIN_SHARED_BYTES) result = ask_for_shared(r->device, node.function);
    if (result == WEFT_CUDA_SUCCESS) result = add_kernel(r, &node, &added);
    r->status = weft_cuda_result_of(r->device, result, "record a kernel", r->error);
    r->after[0] = added;
    r->n_after = 1;
    r->n_launches++;
}

static weft_cuda_tensor tensor_at(const weft_place *place) {
    weft_cuda_tensor tensor = {.data = place->address, .type = (int32_t)place->tensor.type, .layout = place->layout};
    memcpy(tensor.shape, place->tensor.shape, sizeof tensor.shape);
    return tensor;
}

weft_cuda_phase weft_cuda_phase_of(const weft_cuda_recorder *recorder, const weft_phase *phase, weft_cuda_columns columns) {
    weft_cuda_phase argument = {.control = recorder->device->control,
                                .scratch = phase->scratch.address,
                                .first_column = columns.first,
                                .n_columns = columns.n};
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) argument.inputs[i] = tensor_at(&phase->inputs[i]);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) argument.outputs[i] = tensor_at(&phase->outputs[i]);
    if (phase->params_size > 0) memcpy(argument.params, phase->params, phase->params_size);
    return argument;
}

void weft_cuda_record_columns(weft_cuda_recorder *recorder, const char *file, const char *entry, weft_cuda_shape shape,
                              const weft_phase *phase, weft_cuda_columns columns) {
    weft_cuda_phase argument = weft_cuda_phase_of(recorder, phase, columns);
    weft_cuda_launch(recorder, file != NULL ? file : recorder->file, entry, shape, &argument);
}

void weft_cuda_record(weft_cuda_recorder *recorder, const char *entry, weft_cuda_shape shape, const weft_phase *phase) {
    weft_cuda_record_columns(recorder, NULL, entry, shape, phase, (weft_cuda_columns){0});
}

void weft_cuda_record_entry(weft_cuda_recorder *recorder, const char *file, const char *entry, weft_cuda_shape shape,
                            const weft_phase *phase) {
    weft_cuda_record_columns(recorder, file, entry, shape, phase, (weft_cuda_columns){0});
}

/* ---- Phases ---- */

static void record_phase(weft_cuda_recorder *r, const weft_schedule *schedule, size_t index, weft_cuda_node begin) {
    const weft_phase *phase = &schedule->phases[index];
    const weft_host *host = r->device->host;
    const weft_cuda_kernel *kernel = (const weft_cuda_kernel *)(const void *)weft_kernel_get(&weft_cuda_table, phase->kernel);
    if (kernel == NULL || kernel->kernel.op != phase->op) {
        r->status = host->fail(r->error, WEFT_INVALID_ARGUMENT, "cuda: op %s has no kernel number %u", host->op_name(phase->op),
                               (unsigned)phase->kernel);
        return;
    }
    r->file = kernel->file;
    r->after[0] = begin;
    r->n_after = phase->n_after > 0 ? phase->n_after : 1;
    for (uint32_t i = 0; i < phase->n_after; i++) {
        r->after[i] = r->last[phase->after[i]];
        r->has_next[phase->after[i]] = true;
    }
    kernel->record(r, phase);
    r->last[index] = r->after[0];
}

/* ---- Copies ---- */

static weft_cuda_copies list_copies(const weft_cuda_recorder *r, const weft_backend_buffer *ring, uint64_t stride,
                                    const weft_ring_copy *copies, size_t n) {
    weft_cuda_copies list = {.control = r->device->control, .queue = r->device->queue_address, .stride = stride};
    list.ring = ring == NULL ? 0 : ring->address;
    list.n_copies = (int64_t)n;
    for (size_t i = 0; i < n; i++)
        list.copies[i] = (weft_cuda_copy){copies[i].buffer->address + copies[i].offset, copies[i].ring_offset, copies[i].bytes};
    return list;
}

static weft_cuda_shape copy_shape(const weft_cuda_copies *list) {
    uint64_t bytes = 0;
    for (int64_t i = 0; i < list->n_copies; i++) bytes += list->copies[i].bytes;
    int64_t blocks = (int64_t)(bytes / 16384) + 1;
    return (weft_cuda_shape){{blocks < COPY_BLOCKS ? blocks : COPY_BLOCKS, 1}, 256, 0};
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static weft_cuda_node record_begin(weft_cuda_recorder *r, const weft_schedule *schedule) {
    size_t done = 0;
    do {
        size_t count = smaller(schedule->n_step_copies - done, WEFT_CUDA_COPIES);
        weft_cuda_copies list = list_copies(r, schedule->step_ring, schedule->step_stride, schedule->step_copies + done, count);
        list.is_first = done == 0;
        weft_cuda_launch(r, "step", "weft_begin", copy_shape(&list), &list);
        done += count;
    } while (done < schedule->n_step_copies);
    return r->after[0];
}

static void record_end(weft_cuda_recorder *r, const weft_schedule *schedule, weft_cuda_node begin) {
    r->after[0] = begin;
    r->n_after = 0;
    for (size_t i = 0; i < r->n_phases; i++)
        if (!r->has_next[i]) r->after[r->n_after++] = r->last[i];
    if (r->n_after == 0) r->n_after = 1;
    uint64_t bytes = 0;
    size_t done = 0, left = schedule->n_result_copies;
    for (size_t i = 0; i < left; i++) bytes += schedule->result_copies[i].bytes;
    while (bytes > SMALL_RESULTS ? done < left : left - done > WEFT_CUDA_COPIES) {
        size_t count = smaller(left - done, WEFT_CUDA_COPIES);
        weft_cuda_copies list =
            list_copies(r, schedule->result_ring, schedule->result_stride, schedule->result_copies + done, count);
        weft_cuda_launch(r, "step", "weft_collect", copy_shape(&list), &list);
        done += count;
    }
    weft_cuda_copies last =
        list_copies(r, schedule->result_ring, schedule->result_stride, schedule->result_copies + done, left - done);
    weft_cuda_launch(r, "step", "weft_finish", (weft_cuda_shape){{1, 1}, 256, 0}, &last);
}

/* ---- Plans ---- */

static void *allocate(const weft_host *host, size_t bytes) {
    void *memory = host->allocate(host->user, bytes, 64);
    if (memory != NULL) memset(memory, 0, bytes);
    return memory;
}

static void release(const weft_host *host, void *memory, size_t bytes) {
    if (memory != NULL) host->release(host->user, memory, bytes);
}

static void record_all(weft_cuda_recorder *r, const weft_schedule *schedule) {
    weft_cuda_node begin = record_begin(r, schedule);
    for (size_t i = 0; i < schedule->n_phases && r->status == WEFT_OK; i++) record_phase(r, schedule, i, begin);
    if (r->status == WEFT_OK) record_end(r, schedule, begin);
}

static weft_status record(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan *plan, weft_error *error) {
    const weft_host *host = device->host;
    const weft_cuda_driver *driver = &device->driver;
    size_t n = schedule->n_phases + 1;
    weft_cuda_recorder r = {.device = device, .n_phases = schedule->n_phases, .error = error};
    r.last = allocate(host, n * sizeof *r.last);
    r.after = allocate(host, n * sizeof *r.after);
    r.has_next = allocate(host, n * sizeof *r.has_next);
    if (r.last == NULL || r.after == NULL || r.has_next == NULL)
        r.status = host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: no memory for a plan of %zu phases", schedule->n_phases);
    if (r.status == WEFT_OK) r.status = weft_cuda_result_of(device, driver->graph_create(&r.graph, 0), "make a graph", error);
    if (r.status == WEFT_OK) record_all(&r, schedule);
    if (r.status == WEFT_OK)
        r.status = weft_cuda_result_of(device, driver->graph_instantiate(&plan->recording, r.graph, 0), "prepare a graph", error);
    if (r.status == WEFT_OK)
        r.status = weft_cuda_result_of(device, driver->graph_upload(plan->recording, device->stream), "upload a graph", error);
    if (r.graph != NULL) driver->graph_destroy(r.graph);
    plan->n_launches = r.n_launches;
    release(host, r.last, n * sizeof *r.last);
    release(host, r.after, n * sizeof *r.after);
    release(host, r.has_next, n * sizeof *r.has_next);
    return r.status;
}

/* The driver has no other way to tell how much memory a graph uses. 0 if unknown. */
static size_t free_memory(weft_backend_device *device) {
    size_t free_bytes = 0, total = 0;
    return device->driver.memory_info(&free_bytes, &total) == WEFT_CUDA_SUCCESS ? free_bytes : 0;
}

weft_status weft_cuda_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                  weft_error *error) {
    const weft_host *host = device->host;
    weft_status status = weft_cuda_enter(device, error);
    if (status != WEFT_OK) return status;
    size_t before = free_memory(device);
    weft_backend_plan *made = allocate(host, sizeof *made);
    status =
        made == NULL ? host->fail(error, WEFT_OUT_OF_MEMORY, "cuda: no memory for a plan") : record(device, schedule, made, error);
    if (status == WEFT_OK) {
        size_t after = free_memory(device);
        made->bytes_used = after > 0 && after < before ? before - after : 0;
        *plan = made;
    } else if (made != NULL) {
        if (made->recording != NULL) device->driver.recording_destroy(made->recording);
        release(host, made, sizeof *made);
    }
    weft_cuda_leave(device);
    return status;
}

uint64_t weft_cuda_plan_bytes_used(weft_backend_device *device, const weft_backend_plan *plan) {
    (void)device;
    return plan->bytes_used;
}

size_t weft_cuda_plan_dispatches(weft_backend_device *device, const weft_backend_plan *plan) {
    (void)device;
    return plan->n_launches;
}

void weft_cuda_plan_destroy(weft_backend_device *device, weft_backend_plan *plan) {
    if (weft_cuda_enter_to_free(device)) {
        device->driver.recording_destroy(plan->recording);
        weft_cuda_leave(device);
    }
    release(device->host, plan, sizeof *plan);
}
