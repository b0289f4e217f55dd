/* The queue of submitted steps of a device. */
#ifndef WEFT_CPU_QUEUE_H
#define WEFT_CPU_QUEUE_H

#include "backends/cpu/plan.h"

weft_status weft_cpu_queue_create(weft_backend_device *device, weft_error *error);
/* Cancels what is queued. */
void weft_cpu_queue_destroy(weft_backend_device *device);
/* Runs everything submitted so far. */
void weft_cpu_queue_drain(weft_backend_device *device);
/* Makes the caller the only one that uses the pool, between steps. */
void weft_cpu_queue_lock_pool(weft_backend_device *device);
void weft_cpu_queue_unlock_pool(weft_backend_device *device);

/* Slots of the backend. */
weft_status weft_cpu_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                 uint32_t result_slot, weft_error *error);
weft_status weft_cpu_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
void weft_cpu_cancel(weft_backend_device *device);

#endif
