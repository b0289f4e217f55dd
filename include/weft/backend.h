/* What a backend implements and what it may call: the plug-in ABI.
 *
 * Two structs carry their size, because their ends grow: `weft_host` and `weft_backend`. Every other struct here is fixed by
 * WEFT_BACKEND_ABI: a library and a plug-in of the same number agree on all of them.
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

/* Raised when a slot or a struct changes. Within one number slots are only ever appended; `size` tells how many there are. */
#define WEFT_BACKEND_ABI 2

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
typedef struct weft_backend_event weft_backend_event;

typedef enum weft_memory {
    WEFT_MEMORY_DEVICE, /* fastest for kernels */
    WEFT_MEMORY_RING    /* mapped: the host writes steps and reads results */
} weft_memory;

/* ---- Weights ---- */

#define WEFT_LAYOUT_FILE 0
/* The layout of a weight before the core has asked for one: in the questions that fusion asks. */
#define WEFT_LAYOUT_UNCHOSEN UINT32_MAX

/* Weights that can share one layout: those that one node reads together, such as gate and up, or Q, K and V. */
#define WEFT_MAX_MEMBERS 4

/* How a weight lies in memory. Layout WEFT_LAYOUT_FILE is the file's own. The others are the backend's business. */
typedef struct weft_layout {
    uint32_t id;
    uint32_t rows_at_once; /* weight_pack is given multiples of this many rows, the last call the rest; 0: 1 */
    uint64_t bytes;        /* of the whole packed weight; of all members together where weights share it */
    const char *name;      /* "file", "q4_k 8 rows": for people; static */
} weft_layout;

/* ---- Values between nodes ---- */

/* The bit of a weft_type in a set of types. */
#define WEFT_TYPE_BIT(type) (UINT64_C(1) << (type))
/* The storage of a value before the kernels on both sides have agreed on one. */
#define WEFT_STORAGE_UNCHOSEN UINT32_MAX

/* F32 numbers that come with a value, `group` of its values (of a column, in order) to each: what a kernel computes on the side and
 * the next one would otherwise compute again. */
typedef enum weft_companion_kind {
    WEFT_COMPANION_NONE,
    WEFT_COMPANION_SUM_SQUARES, /* the sum of the squares of a group's values, before they were rounded to the storage type */
    WEFT_COMPANION_SCALE        /* what a group's stored values must be multiplied with: a part of every value that is not F32 */
} weft_companion_kind;

typedef struct weft_companion {
    weft_companion_kind kind;
    uint32_t group; /* values to each number; 0: the whole column */
} weft_companion;

/* How a value between two nodes lies in memory. */
typedef struct weft_storage {
    uint32_t type; /* weft_type: F32, F16, BF16 or Q8_0 (blocks of int8); WEFT_STORAGE_UNCHOSEN */
    weft_companion companion;
} weft_storage;

/* What a kernel can read or write of one input or output, in place of plain F32. All zeros: F32 alone. */
typedef struct weft_storage_set {
    uint64_t types;           /* WEFT_TYPE_BIT of each; 0: F32 */
    weft_companion companion; /* read where it is there and `types` allows, or can be written; a kernel that only works with one
                                 says so when it is asked about a value that has none */
} weft_storage_set;

/* ---- Nodes, as a backend is asked about them and as it runs them ---- */

/* One input or output. In a question `buffer`, `offset` and the addresses are 0. */
typedef struct weft_place {
    bool present; /* false: an optional tensor left out, and all else is 0 */
    weft_leaf leaf;
    weft_tensor tensor;   /* as the graph has it: a value between nodes is F32 here, however it is stored */
    uint32_t layout;      /* of a weight; WEFT_LAYOUT_UNCHOSEN */
    uint32_t member;      /* which of the weights that share the layout */
    weft_storage storage; /* of a value between nodes; otherwise the tensor's type */
    weft_backend_buffer *buffer;
    uint64_t offset;    /* bytes, a multiple of 64 */
    uint64_t address;   /* buffer_address plus offset */
    uint64_t companion; /* the address of its companion, or 0 */
} weft_place;

/* No number of a kernel: the best that fits. */
#define WEFT_KERNEL_ANY UINT32_MAX

/* A node as one entry of a schedule. The same struct asks whether a device can run it, then without places in memory. */
typedef struct weft_phase {
    weft_op op;
    weft_precision precision;
    uint32_t kernel;    /* the number `supports` gave; in a question WEFT_KERNEL_ANY, or the only one that may run it */
    const char *name;   /* of the kernel; NULL in a question */
    const void *params; /* copied by plan_create if needed later */
    size_t params_size;
    weft_place inputs[WEFT_MAX_INPUTS];
    weft_place outputs[WEFT_MAX_OUTPUTS]; /* a new state version is at its state's place */
    weft_place scratch;                   /* `present` is false where scratch_bytes was 0 */
    const uint32_t *after;                /* phases this one must come after: read after write, write after read or write */
    uint32_t n_after;
} weft_phase;

/* The answer of `supports`. */
typedef struct weft_support {
    bool supported;
    uint32_t kernel;        /* the row of the backend's table of kernels that will run it; plan_create obeys it */
    const char *name;       /* "mul_mat q4_k avx512vnni": static */
    char reason[160];       /* why not; or why this kernel rather than a faster one; or "" */
    uint64_t scratch_bytes; /* needed only while the phase runs */
    bool in_place;          /* output 0 may share memory with an input of the same size and storage that dies here */
    weft_storage_set inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS]; /* what the kernel can read and write */
} weft_support;

/* One row of a backend's table of kernels, for people. */
typedef struct weft_kernel_info {
    weft_op op;
    const char *name;
} weft_kernel_info;

/* One use of weights: the question about a node, and which of its inputs they are, in the members' order. */
typedef struct weft_use {
    const weft_phase *phase;
    uint32_t inputs[WEFT_MAX_MEMBERS];
} weft_use;

/* Rows of a weight to pack. */
typedef struct weft_packing {
    const weft_tensor *weight;
    const weft_layout *layout;
    uint32_t member, n_members;  /* of the weights that share the layout; 0 and 1 where it is alone */
    weft_backend_buffer *buffer; /* the place of the layout begins at `offset` */
    uint64_t offset;
    int64_t first_row, n_rows;
    const void *from; /* the rows as they are in the file */
} weft_packing;

/* ---- Plans ---- */

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
} weft_schedule;

/* ---- Backends ---- */

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
    /* Where kernels find a buffer: what a phase's addresses are counted from. NULL: addresses are 0, and the backend resolves
     * `buffer` and `offset` itself. */
    uint64_t (*buffer_address)(weft_backend_device *device, const weft_backend_buffer *buffer);
    /* The host's view of a ring buffer, and of any other where the device's memory is the host's (`host_memory`): weights that stay
     * as they are in the file are then read straight into it. NULL: the host cannot see it. */
    void *(*buffer_map)(weft_backend_device *device, weft_backend_buffer *buffer);
    /* Ordered after everything submitted before, and finished on return but for what came from `stage`. */
    weft_status (*write)(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from, size_t bytes,
                         weft_error *error);
    weft_status (*read)(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                        weft_error *error);

    /* Whether and how a node would run: picks the best row of the backend's table of kernels that fits the question, or says why
     * none does. Must not depend on anything but the question and the device. A layout or a storage that has not been chosen fits
     * every kernel that could get its own. With `phase->kernel` set only that row may be picked. */
    void (*supports)(weft_backend_device *device, const weft_phase *phase, weft_support *support);
    /* Describes row `number` of the table: false past the last. NULL: the table cannot be listed. */
    bool (*kernel_at)(weft_backend_device *device, uint32_t number, weft_kernel_info *info);
    /* Picks one lossless layout from all uses of a weight; some kernel must read it in each use. With more than one weight: a
     * layout that they share, where the backend has one for them; WEFT_LAYOUT_FILE leaves each to itself, and it is asked about
     * each alone. `layout` comes as all zeros. NULL: always the file's. */
    void (*weight_layout)(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                          size_t n_uses, weft_layout *layout);
    /* Converts rows from the file's layout into the weight's place; when it returns, `from` has been taken, but for what came from
     * `stage`. NULL: only the file's layout, which the core writes itself. */
    weft_status (*weight_pack)(weft_backend_device *device, const weft_packing *packing, weft_error *error);

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
    /* The bytes of the memory that memory_info tells of that a buffer would use, and that a plan's recording uses. NULL: `bytes`,
     * and none. */
    uint64_t (*buffer_bytes_used)(weft_backend_device *device, weft_memory memory, uint64_t bytes);
    uint64_t (*plan_bytes_used)(weft_backend_device *device, const weft_backend_plan *plan);

    /* What several devices of one backend need to work together. All of them NULL: the host copies, and waits in between. */

    /* Queues a copy from a buffer of another device of this backend, ordered on this device as a step is. */
    weft_status (*copy_from)(weft_backend_device *device, weft_backend_buffer *into, uint64_t offset,
                             weft_backend_device *from_device, weft_backend_buffer *from, uint64_t from_offset, uint64_t bytes,
                             weft_error *error);
    /* An event that occurs when everything queued on the device so far has ended. Destroyed on the device that made it, after
     * whoever waits for it. */
    weft_status (*event_create)(weft_backend_device *device, weft_backend_event **event, weft_error *error);
    void (*event_destroy)(weft_backend_device *device, weft_backend_event *event);
    /* What is queued on the device later begins after the event, of this or another device of this backend. Does not block. */
    weft_status (*event_wait)(weft_backend_device *device, weft_backend_event *event, weft_error *error);
} weft_backend;

/* The symbol a plug-in exports: returns the backend, which lives as long as the library is loaded, or NULL where `host` is of an
 * ABI it does not know. */
#define WEFT_BACKEND_ENTRY "weft_backend_entry"
typedef const weft_backend *(*weft_backend_entry_function)(const weft_host *host);

#ifdef __cplusplus
}
#endif
#endif
