/* The CPU backend's own types: device, resolved phases and the table of ops. */
#ifndef WEFT_CPU_CPU_H
#define WEFT_CPU_CPU_H

#include "backends/cpu/exact.h"
#include "backends/cpu/kernels.h"
#include "backends/cpu/pool.h"
#include "os/os.h"
#include "weft/backend.h"

/* Room for any op's parameter block. */
#define WEFT_CPU_PARAMS_BYTES 64

typedef struct weft_cpu_queue weft_cpu_queue;

struct weft_backend_device {
    const weft_host *host;
    const weft_cpu_kernels *kernels; /* for fast */
    const weft_cpu_exact *exact;
    weft_cpu_pool *pool;
    uint32_t n_threads;
    weft_cpu_queue *queue;
};

struct weft_backend_buffer {
    char *data;
    uint64_t bytes;
    bool owned;
};

typedef struct weft_cpu_tensor {
    void *data; /* NULL where left out, and in a query */
    bool present;
    weft_type type;
    uint32_t layout;
    int64_t shape[WEFT_MAX_DIMENSIONS];
} weft_cpu_tensor;

/* A phase with its pointers resolved; made from a query too, then without any. */
typedef struct weft_cpu_phase {
    weft_backend_device *device;
    const struct weft_cpu_op *op;
    weft_precision precision;
    weft_cpu_tensor inputs[WEFT_MAX_INPUTS];
    weft_cpu_tensor outputs[WEFT_MAX_OUTPUTS];
    char *scratch; /* 64-byte aligned; NULL in a query */
    _Alignas(8) unsigned char params[WEFT_CPU_PARAMS_BYTES];
} weft_cpu_phase;

/* One op: the constant `weft_cpu_op_STEM` of backends/cpu/ops/STEM.c. */
typedef struct weft_cpu_op {
    void (*run)(const weft_cpu_phase *phase);
    uint64_t (*scratch_bytes)(const weft_cpu_phase *phase); /* NULL: none */
    bool (*in_place)(const weft_cpu_phase *phase);          /* NULL: never */
    uint32_t matrices;                                      /* bit i: input i is multiplied, so it may be packed */
    uint32_t looked_up;                                     /* bit i: rows of input i are unpacked one by one */
    bool has_fast;                                          /* does something else in fast than in exact */
} weft_cpu_op;

/* NULL: no such op here. */
const weft_cpu_op *weft_cpu_op_get(weft_op op);

/* ops.c: the vtable's answers about nodes and weights. */
void weft_cpu_supports(weft_backend_device *device, const weft_query *query, weft_support *support);
void weft_cpu_weight_layout(weft_backend_device *device, const weft_tensor *weight, const weft_use *uses, size_t n_uses,
                            weft_layout *layout);

/* plan.c: plans and the queue of steps. */
weft_status weft_cpu_queue_create(weft_backend_device *device, weft_error *error);
/* Cancels what is queued. */
void weft_cpu_queue_destroy(weft_backend_device *device);
/* Runs everything submitted so far. */
void weft_cpu_queue_drain(weft_backend_device *device);
/* Makes the caller the only one that uses the pool, between steps. */
void weft_cpu_queue_lock_pool(weft_backend_device *device);
void weft_cpu_queue_unlock_pool(weft_backend_device *device);
weft_status weft_cpu_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                 weft_error *error);
void weft_cpu_plan_destroy(weft_backend_device *device, weft_backend_plan *plan);
weft_status weft_cpu_plan_submit(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                                 uint32_t result_slot, weft_error *error);
weft_status weft_cpu_wait(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
void weft_cpu_cancel(weft_backend_device *device);

/* Takes 64-byte aligned pieces of a phase's scratch; with `base` NULL it only counts. */
typedef struct weft_cpu_scratch {
    char *base;
    uint64_t used;
} weft_cpu_scratch;

static inline void *weft_cpu_take(weft_cpu_scratch *scratch, uint64_t bytes) {
    void *piece = scratch->base == NULL ? NULL : scratch->base + scratch->used;
    scratch->used += (bytes + 63) & ~UINT64_C(63);
    return piece;
}

static inline int64_t weft_cpu_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t weft_cpu_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Units (rows, columns) of `work` multiplications each that one chunk takes, a multiple of `unit`: enough chunks to share
 * evenly and to look at the cancel flag often, none so small that handing it out costs more than it does. */
int64_t weft_cpu_chunk(const weft_backend_device *device, int64_t n, int64_t unit, int64_t work);

/* Measures with the device's own threads; nothing else may run on it. */
weft_status weft_cpu_read_bandwidth(weft_backend_device *device, double *bytes_per_s, weft_error *error);

#endif
