/* Recorded plans: copies of a schedule's phases with the kernels they named, and how one step is run, a stage at a time. */
#include "backends/cpu/plan.h"

#include <string.h>

#include "backends/cpu/table.h"
#include "os/os.h"

static void *allocate(const weft_host *host, size_t bytes) {
    void *memory = host->allocate(host->user, bytes == 0 ? 1 : bytes, 64);
    if (memory != NULL) memset(memory, 0, bytes);
    return memory;
}

static void release(const weft_host *host, void *memory, size_t bytes) {
    if (memory != NULL) host->release(host->user, memory, bytes == 0 ? 1 : bytes);
}

static size_t room_for(size_t params_size) {
    return (params_size + 7) / 8 * 8;
}

void weft_cpu_plan_free(weft_backend_device *device, weft_backend_plan *plan) {
    if (plan == NULL) return;
    const weft_host *host = device->host;
    release(host, plan->calls, plan->n_phases * sizeof *plan->calls);
    release(host, plan->phases, plan->n_phases * sizeof *plan->phases);
    release(host, plan->params, plan->params_bytes);
    release(host, plan->step_copies, plan->n_step_copies * sizeof *plan->step_copies);
    release(host, plan->result_copies, plan->n_result_copies * sizeof *plan->result_copies);
    release(host, plan, sizeof *plan);
}

/* Allocates a plan and copies everything but the phases from the schedule. */
static weft_backend_plan *make_plan(weft_backend_device *device, const weft_schedule *schedule) {
    const weft_host *host = device->host;
    weft_backend_plan *plan = allocate(host, sizeof *plan);
    if (plan == NULL) return NULL;
    *plan = (weft_backend_plan){.n_phases = schedule->n_phases,
                                .n_step_copies = schedule->n_step_copies,
                                .n_result_copies = schedule->n_result_copies,
                                .step_ring = schedule->step_ring,
                                .result_ring = schedule->result_ring,
                                .step_stride = schedule->step_stride,
                                .result_stride = schedule->result_stride};
    for (size_t i = 0; i < schedule->n_phases; i++) plan->params_bytes += room_for(schedule->phases[i].params_size);
    plan->calls = allocate(host, plan->n_phases * sizeof *plan->calls);
    plan->phases = allocate(host, plan->n_phases * sizeof *plan->phases);
    plan->params = allocate(host, plan->params_bytes);
    plan->step_copies = allocate(host, plan->n_step_copies * sizeof *plan->step_copies);
    plan->result_copies = allocate(host, plan->n_result_copies * sizeof *plan->result_copies);
    if (plan->calls != NULL && plan->phases != NULL && plan->params != NULL && plan->step_copies != NULL &&
        plan->result_copies != NULL)
        return plan;
    weft_cpu_plan_free(device, plan);
    return NULL;
}

static weft_status record(weft_backend_device *device, const weft_phase *from, unsigned char *params, weft_phase *phase,
                          weft_cpu_call *call, weft_error *error) {
    const weft_cpu_kernel *kernel = (const void *)weft_kernel_get(&weft_cpu_table, from->kernel);
    if (kernel == NULL || kernel->kernel.op != from->op || !weft_cpu_has_set(device, kernel))
        return device->host->fail(error, WEFT_UNSUPPORTED, "cpu: kernel %u does not run %s on this device", (unsigned)from->kernel,
                                  device->host->op_name(from->op));
    *phase = *from;
    phase->after = NULL; /* phases run in the schedule's order */
    phase->n_after = 0;
    phase->params = params;
    if (from->params_size > 0) memcpy(params, from->params, from->params_size);
    *call = (weft_cpu_call){device, kernel, phase};
    return WEFT_OK;
}

weft_status weft_cpu_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                 weft_error *error) {
    weft_backend_plan *made = make_plan(device, schedule);
    if (made == NULL)
        return device->host->fail(error, WEFT_OUT_OF_MEMORY, "cpu: no memory for a plan of %zu phases", schedule->n_phases);
    weft_status status = WEFT_OK;
    unsigned char *params = made->params;
    for (size_t i = 0; status == WEFT_OK && i < schedule->n_phases; i++) {
        status = record(device, &schedule->phases[i], params, &made->phases[i], &made->calls[i], error);
        params += room_for(schedule->phases[i].params_size);
    }
    if (status != WEFT_OK) {
        weft_cpu_plan_free(device, made);
        return status;
    }
    for (size_t i = 0; i < schedule->n_step_copies; i++) made->step_copies[i] = schedule->step_copies[i];
    for (size_t i = 0; i < schedule->n_result_copies; i++) made->result_copies[i] = schedule->result_copies[i];
    *plan = made;
    return WEFT_OK;
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
            const weft_cpu_call *call = &plan->calls[step->stage - 1];
            call->kernel->run(call);
        } else
            copy_out(plan, step->result_slot);
    }
    return true;
}
