/* Recorded plans: a schedule with its pointers resolved, and how one step of it is run, a stage at a time. */
#include "backends/cpu/plan.h"

#include <string.h>

static void *allocate(const weft_host *host, size_t bytes) {
    void *memory = host->allocate(host->user, bytes == 0 ? 1 : bytes, 64);
    if (memory != NULL) memset(memory, 0, bytes);
    return memory;
}

static void release(const weft_host *host, void *memory, size_t bytes) {
    if (memory != NULL) host->release(host->user, memory, bytes == 0 ? 1 : bytes);
}

static void resolve(const weft_place *place, weft_cpu_tensor *tensor) {
    tensor->present = place->buffer != NULL;
    if (!tensor->present) return;
    tensor->data = place->buffer->data + place->offset;
    tensor->type = place->tensor.type;
    tensor->layout = place->layout;
    memcpy(tensor->shape, place->tensor.shape, sizeof tensor->shape);
}

static weft_status resolve_phase(weft_backend_device *device, const weft_phase *from, weft_cpu_phase *phase, weft_error *error) {
    phase->device = device;
    phase->op = weft_cpu_op_get(from->op);
    phase->precision = from->precision;
    if (phase->op == NULL)
        return device->host->fail(error, WEFT_UNSUPPORTED, "cpu: op %s is not implemented", device->host->op_name(from->op));
    if (from->params_size > 0) memcpy(phase->params, from->params, from->params_size);
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) resolve(&from->inputs[i], &phase->inputs[i]);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) resolve(&from->outputs[i], &phase->outputs[i]);
    if (from->scratch.buffer != NULL) phase->scratch = from->scratch.buffer->data + from->scratch.offset;
    return WEFT_OK;
}

static void free_plan(const weft_host *host, weft_backend_plan *plan) {
    release(host, plan->phases, plan->n_phases * sizeof *plan->phases);
    release(host, plan->step_copies, plan->n_step_copies * sizeof *plan->step_copies);
    release(host, plan->result_copies, plan->n_result_copies * sizeof *plan->result_copies);
    release(host, plan, sizeof *plan);
}

weft_status weft_cpu_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                 weft_error *error) {
    const weft_host *host = device->host;
    weft_backend_plan *created = allocate(host, sizeof *created);
    if (created == NULL) return host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory for a plan");
    created->n_phases = schedule->n_phases;
    created->n_step_copies = schedule->n_step_copies;
    created->n_result_copies = schedule->n_result_copies;
    created->phases = allocate(host, created->n_phases * sizeof *created->phases);
    created->step_copies = allocate(host, created->n_step_copies * sizeof *created->step_copies);
    created->result_copies = allocate(host, created->n_result_copies * sizeof *created->result_copies);
    weft_status status = WEFT_OK;
    if (created->phases == NULL || created->step_copies == NULL || created->result_copies == NULL)
        status = host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory for a plan of %zu phases", schedule->n_phases);
    for (size_t i = 0; status == WEFT_OK && i < schedule->n_phases; i++)
        status = resolve_phase(device, &schedule->phases[i], &created->phases[i], error);
    if (status != WEFT_OK) {
        free_plan(host, created);
        return status;
    }
    for (size_t i = 0; i < schedule->n_step_copies; i++) created->step_copies[i] = schedule->step_copies[i];
    for (size_t i = 0; i < schedule->n_result_copies; i++) created->result_copies[i] = schedule->result_copies[i];
    created->step_ring = schedule->step_ring;
    created->result_ring = schedule->result_ring;
    created->step_stride = schedule->step_stride;
    created->result_stride = schedule->result_stride;
    *plan = created;
    return WEFT_OK;
}

void weft_cpu_plan_destroy(weft_backend_device *device, weft_backend_plan *plan) {
    if (plan == NULL) return;
    weft_cpu_queue_drain(device);
    free_plan(device->host, plan);
}

static void copy_in(const weft_backend_plan *plan, uint32_t slot) {
    for (size_t i = 0; i < plan->n_step_copies; i++) {
        const weft_ring_copy *copy = &plan->step_copies[i];
        memcpy(copy->buffer->data + copy->offset, plan->step_ring->data + slot * plan->step_stride + copy->ring_offset,
               (size_t)copy->bytes);
    }
}

static void copy_out(const weft_backend_plan *plan, uint32_t slot) {
    for (size_t i = 0; i < plan->n_result_copies; i++) {
        const weft_ring_copy *copy = &plan->result_copies[i];
        memcpy(plan->result_ring->data + slot * plan->result_stride + copy->ring_offset, copy->buffer->data + copy->offset,
               (size_t)copy->bytes);
    }
}

bool weft_cpu_step_run(weft_backend_device *device, weft_cpu_step *step, uint64_t deadline) {
    const weft_backend_plan *plan = step->plan;
    for (; step->stage < plan->n_phases + 2; step->stage++) {
        if (weft_cpu_pool_stopped(device->pool)) return false;
        if (deadline != UINT64_MAX && weft_os_now() >= deadline) return false;
        if (step->stage == 0)
            copy_in(plan, step->step_slot);
        else if (step->stage <= plan->n_phases) {
            const weft_cpu_phase *phase = &plan->phases[step->stage - 1];
            phase->op->run(phase);
        } else
            copy_out(plan, step->result_slot);
    }
    return true;
}
