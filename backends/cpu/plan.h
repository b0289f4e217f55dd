/* The structs of a recorded plan and of a queued step. */
#ifndef WEFT_CPU_PLAN_H
#define WEFT_CPU_PLAN_H

#include "backends/cpu/kernel.h"

struct weft_backend_plan {
    weft_cpu_call *calls;  /* n_phases: the calls of a step */
    weft_phase *phases;    /* copies, whose parameters stand in `params` */
    unsigned char *params; /* each at a multiple of 8 */
    size_t n_phases, params_bytes;
    weft_ring_copy *step_copies, *result_copies;
    size_t n_step_copies, n_result_copies;
    weft_backend_buffer *step_ring, *result_ring;
    uint64_t step_stride, result_stride;
};

typedef struct weft_cpu_step {
    const weft_backend_plan *plan;
    uint64_t ticket;
    uint32_t step_slot, result_slot;
    size_t stage; /* the next to run: 0 copies in, then the phases, then copies out */
} weft_cpu_step;

/* The slot. WEFT_UNSUPPORTED where a phase names a row that this device or the phase's op does not have. */
weft_status weft_cpu_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                 weft_error *error);
/* Once no step of it is queued any more. `plan` may be NULL. */
void weft_cpu_plan_free(weft_backend_device *device, weft_backend_plan *plan);

/* Runs stages until the step has ended (true), the pool is stopped, or `deadline` has passed; it can then go on where it stood. */
bool weft_cpu_step_run(weft_backend_device *device, weft_cpu_step *step, uint64_t deadline);

#endif
