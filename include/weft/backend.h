/* What a backend implements and what it may call: the plug-in ABI.
 *
 * A backend is one `struct weft_backend`. The core validates before it dispatches, so a backend may assume that nodes follow their
 * op's rules, that offsets lie inside buffers and that handles are its own. The core serialises the calls on one device except
 * `wait` and `cancel`, which may come at any time from any thread.
 *
 * A plug-in is a shared library that exports `weft_backend_entry`, gets its host services as an argument and calls nothing else of
 * weft (os/ is compiled into it).
 */
#ifndef WEFT_BACKEND_H
#define WEFT_BACKEND_H

#include "weft/ops/ports.h"
#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a slot changes meaning. Slots are only ever appended; `size` tells how many there are. */
#define WEFT_BACKEND_ABI 1

typedef struct weft_host {
    uint32_t size; /* of this struct, bytes */
    uint32_t abi;
    void *user;
    void *(*allocate)(void *user, size_t size, size_t alignment); /* NULL: out of memory; not zeroed */
    void (*release)(void *user, void *memory, size_t size);
    void (*log)(void *user, weft_log_level level, const char *message);
    weft_status (*fail)(weft_error *error, weft_status status, const char *format, ...);
    const weft_type_info *(*type)(weft_type type);
    const char *(*op_name)(weft_op op);
    weft_status (*dequantise)(weft_type type, const void *blocks, int64_t n_elements, float *values, weft_error *error);
} weft_host;

/* Opaque to the core; each backend defines its own. */
typedef struct weft_backend_device weft_backend_device;
typedef struct weft_backend_buffer weft_backend_buffer;
typedef struct weft_backend_plan weft_backend_plan;

typedef enum weft_memory {
    WEFT_MEMORY_DEVICE, /* fastest for kernels */
    WEFT_MEMORY_RING    /* mapped: the host writes steps and reads results */
} weft_memory;

/* How a weight lies in memory. Layout 0 is the file's own. The others are the backend's business. */
typedef struct weft_layout {
    uint32_t id;
    uint32_t rows_at_once; /* weight_pack is given multiples of this many rows, the last call the rest; 0: 1 */
    uint64_t bytes;        /* of the whole packed weight */
    const char *name;      /* "file", "q4_k 8 rows": for people */
} weft_layout;

/* One use of a weight: which input of which op, at how many columns, in which precision. */
typedef struct weft_use {
    weft_op op;
    uint32_t input;
    int64_t n_columns;
    weft_precision precision;
} weft_use;

/* A tensor as a query sees it: `present` is false for an optional one left out. */
typedef struct weft_query_tensor {
    bool present;
    weft_tensor tensor;
    weft_leaf leaf;
    uint32_t layout; /* of a weight; 0 before layouts are chosen */
} weft_query_tensor;

typedef struct weft_query {
    weft_op op;
    weft_precision precision;
    const void *params;
    size_t params_size;
    weft_query_tensor inputs[WEFT_MAX_INPUTS];
    weft_query_tensor outputs[WEFT_MAX_OUTPUTS];
} weft_query;

typedef struct weft_support {
    bool supported;
    uint32_t kernel;        /* the backend's number for what will run it; handed back in the phase */
    const char *name;       /* "mul_mat q4_k avx512vnni": static */
    char reason[160];       /* why not; or why this kernel rather than a faster one; or "" */
    uint64_t scratch_bytes; /* needed only while the phase runs */
    bool in_place;          /* output 0 may share memory with an F32 input of the same size that dies here */
} weft_support;

typedef struct weft_place {
    weft_backend_buffer *buffer; /* NULL: an optional tensor left out */
    uint64_t offset;             /* bytes, a multiple of 64 */
    weft_tensor tensor;
    weft_leaf leaf;
    uint32_t layout;
} weft_place;

typedef struct weft_phase {
    weft_op op;
    uint32_t kernel;
    weft_precision precision;
    const char *name;
    const void *params; /* copied by plan_create if needed later */
    size_t params_size;
    weft_place inputs[WEFT_MAX_INPUTS];
    weft_place outputs[WEFT_MAX_OUTPUTS]; /* a new state version is at its state's place */
    weft_place scratch;                   /* buffer NULL where scratch_bytes was 0 */
    const uint32_t *after;                /* phases this one must come after: read after write, write after read or write */
    uint32_t n_after;
} weft_phase;

/* A copy between the arena and a ring slot. */
typedef struct weft_ring_copy {
    weft_backend_buffer *buffer;
    uint64_t offset, ring_offset, bytes;
} weft_ring_copy;

/* A plan to record. A step first copies its `step` slot to the fixed places, then runs the phases, then copies the results out.
 * Slot i of a ring begins at i * its stride. */
typedef struct weft_schedule {
    const weft_phase *phases;
    size_t n_phases;
    weft_backend_buffer *step_ring, *result_ring;
    uint64_t step_stride, result_stride;
    const weft_ring_copy *step_copies, *result_copies;
    size_t n_step_copies, n_result_copies;
    weft_precision precision;
} weft_schedule;

typedef struct weft_backend {
    uint32_t abi;  /* WEFT_BACKEND_ABI */
    uint32_t size; /* of this struct, bytes */
    const char *name;
    int32_t rank; /* "auto" takes the usable device of the highest rank */

    /* Describes up to `capacity` devices; `count` gets how many there are. Never fails because a driver is missing: it then lists
     * one with `unusable` set. The core sets `backend` and `id`, and writes the backend's name before `stable_id`, which is to be a
     * UUID or "". */
    weft_status (*devices)(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);
    /* Opens device `index` of that list. `host` lives longer than the device. */
    weft_status (*open)(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                        weft_error *error);
    void (*close)(weft_backend_device *device);
    weft_status (*memory_info)(weft_backend_device *device, uint64_t *total, uint64_t *free, weft_error *error);

    /* Memory that reads as zeros. */
    weft_status (*buffer_create)(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                 weft_error *error);
    void (*buffer_destroy)(weft_backend_device *device, weft_backend_buffer *buffer);
    /* Makes host memory, 64-byte aligned, a buffer that does not own it. NULL: not possible. */
    weft_status (*buffer_import)(weft_backend_device *device, void *memory, uint64_t bytes, weft_backend_buffer **buffer,
                                 weft_error *error);
    /* The host's view of a ring buffer, and of any other where the device's memory is the host's (`is_host`): weights that stay as
     * they are in the file are then read straight into it. NULL: the host cannot see it. */
    void *(*buffer_map)(weft_backend_device *device, weft_backend_buffer *buffer);
    /* Ordered after everything submitted before, and finished on return but for what came from `stage`. */
    weft_status (*write)(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from, size_t bytes,
                         weft_error *error);
    weft_status (*read)(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                        weft_error *error);

    /* Whether and how a node would run. Must not depend on anything but the query and the device. */
    void (*supports)(weft_backend_device *device, const weft_query *query, weft_support *support);
    /* Picks one lossless layout for a weight from all its uses; every kernel that `supports` names for these uses must read it.
     * NULL: always the file's. */
    void (*weight_layout)(weft_backend_device *device, const weft_tensor *weight, const weft_use *uses, size_t n_uses,
                          weft_layout *layout);
    /* Converts `n_rows` rows from `first_row` on from the file's layout into the weight's place in `buffer`; when it
     * returns, `from` has been taken, but for what came from `stage`. NULL: only layout 0, which the core writes itself. */
    weft_status (*weight_pack)(weft_backend_device *device, const weft_tensor *weight, const weft_layout *layout,
                               weft_backend_buffer *buffer, uint64_t offset, int64_t first_row, int64_t n_rows, const void *from,
                               weft_error *error);

    /* Records a schedule; nothing in it needs to live on but the buffers. */
    weft_status (*plan_create)(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                               weft_error *error);
    void (*plan_destroy)(weft_backend_device *device, weft_backend_plan *plan);
    /* Queues one step. Tickets of a device rise by one or more from call to call; steps run in that order. */
    weft_status (*plan_submit)(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                               uint32_t result_slot, weft_error *error);
    /* Waits until the step of the ticket has ended and says how. See weft_plan_wait for the statuses. */
    weft_status (*wait)(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
    /* Drops what is queued and makes the running step end early; the tickets end as WEFT_CANCELLED. */
    void (*cancel)(weft_backend_device *device);
    /* WEFT_OK, or why the device can no longer be used. NULL: always usable. */
    weft_status (*status)(weft_backend_device *device, weft_error *error);
    /* Measures reading the device's memory with nothing else running. NULL: cannot tell. */
    weft_status (*read_bandwidth)(weft_backend_device *device, double *bytes_per_s, weft_error *error);
    /* Host memory through which weights stream: `memory` gets at least `bytes` of it, 64-byte aligned, which the device reads by
     * itself. The core fills them and hands them on once, from their beginning, as `from` of `write` or `weight_pack`. For that
     * memory these may return before the device has taken it, so that the next piece of a file is read while this one travels;
     * everything submitted, written, read or packed later comes after it. The next call takes the piece back, whether it was used
     * or not, and waits only where none is free. `bytes` 0 (`memory` NULL) ends it: waits for what still travels, says if any of it
     * failed, and gives all of this memory back, whatever the status and also on a device that is lost. A failed call gives no
     * piece. One load of a device does this at a time; other calls, with other memory, may come between. NULL: the core reads into
     * memory of its own. */
    weft_status (*stage)(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error);
    /* How many launches the plan recorded for a step, those around the phases included. NULL: not known. */
    size_t (*plan_dispatches)(weft_backend_device *device, const weft_backend_plan *plan);
    /* What a buffer would take, and what a plan's recording has taken, of the memory that memory_info tells of. NULL: `bytes`, and
     * nothing. */
    uint64_t (*buffer_takes)(weft_backend_device *device, weft_memory memory, uint64_t bytes);
    uint64_t (*plan_takes)(weft_backend_device *device, const weft_backend_plan *plan);
} weft_backend;

/* The symbol a plug-in exports: returns the backend, which lives as long as the library is loaded, or NULL where `host` is of an
 * ABI it does not know. */
#define WEFT_BACKEND_ENTRY "weft_backend_entry"
typedef const weft_backend *(*weft_backend_entry_function)(const weft_host *host);

#ifdef __cplusplus
}
#endif
#endif
