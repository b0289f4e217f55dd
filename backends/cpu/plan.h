/* What a recorded plan and a queued step are. */
#ifndef WEFT_CPU_PLAN_H
#define WEFT_CPU_PLAN_H

#include "backends/cpu/cpu.h"

struct weft_backend_plan {
    weft_cpu_phase *phases;
    size_t n_phases;
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

/* Runs stages until the step has ended (true), the pool is stopped, or `deadline` has passed; it can then go on where it stood. */
bool weft_cpu_step_run(weft_backend_device *device, weft_cpu_step *step, uint64_t deadline);

#endif
