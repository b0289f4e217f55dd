/* The plug-in ABI: the functions that a backend implements, and those that it may call.
 *
 * A backend is one `struct weft_backend`. The core checks everything first, so a backend may assume that nodes follow their op's
 * rules, that offsets are inside of buffers and that handles are its own. The core serialises the calls on one device, except
 * `wait` and `cancel`, which may come at any time from any thread. Statuses and out-parameters follow weft.h. No pointer is NULL
 * unless its description says so.
 *
 * Two structs carry their size because members may be appended: `weft_host` and `weft_backend`. WEFT_BACKEND_ABI fixes all others:
 * a library and a plug-in of the same number agree on them.
 *
 * A plug-in is a shared library that exports `weft_backend_entry`. It gets its host services as an argument, calls nothing else of
 * weft, and is not linked with it: the installed headers are all that it needs.
 */
#ifndef WEFT_BACKEND_H
#define WEFT_BACKEND_H

#include "weft/ops/ports.h"
#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A change of a slot or a struct raises this number. Within one number slots are only appended, and `size` says how many there are.
 */
#define WEFT_BACKEND_ABI 3

typedef struct weft_host {
    uint32_t size;                                                /* bytes of this struct */
    uint32_t abi;                                                 /* WEFT_BACKEND_ABI */
    void *user;                                                   /* the first argument of the next three */
    void *(*allocate)(void *user, size_t size, size_t alignment); /* not zeroed; NULL: out of memory */
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
    WEFT_MEMORY_DEVICE, /* the fastest for kernels */
    WEFT_MEMORY_RING    /* mapped by the host, which writes steps and reads results */
} weft_memory;

/* ---- Weights ---- */

#define WEFT_LAYOUT_FILE 0
/* The layout of a weight in questions that fusion asks, before the core has asked for a layout. */
#define WEFT_LAYOUT_UNCHOSEN UINT32_MAX

/* Max weights that share one layout. One node reads them together: gate and up, or Q, K and V. */
#define WEFT_MAX_MEMBERS 4

/* The order of a weight's bytes in memory. WEFT_LAYOUT_FILE is that of the file; the backend defines the others. */
typedef struct weft_layout {
    uint32_t id;
    uint32_t rows_at_once; /* weight_pack gets a multiple of this many rows, except in the last call; 0: 1 */
    uint64_t bytes;        /* of the whole packed weight; if weights share the layout, of all together */
    const char *name;      /* "file", "q4_k 8 rows": for people; static */
} weft_layout;

/* ---- Values between nodes ---- */

/* The bit of a weft_type in a set of types. */
#define WEFT_TYPE_BIT(type) (UINT64_C(1) << (type))
/* The storage of a value before the kernels on both sides have agreed on one. */
#define WEFT_STORAGE_UNCHOSEN UINT32_MAX

/* F32 numbers that are stored beside a value, one for each `group` consecutive elements of a column. One kernel writes them, so
 * that the next one need not compute them again. */
typedef enum weft_companion_kind {
    WEFT_COMPANION_NONE,
    WEFT_COMPANION_SUM_SQUARES, /* the sum of squares of a group's elements, before they were rounded to the storage type */
    WEFT_COMPANION_SCALE        /* the factor for a group's stored elements; without it these are not the value */
} weft_companion_kind;

typedef struct weft_companion {
    weft_companion_kind kind;
    uint32_t group; /* elements for each number; 0: the whole column */
} weft_companion;

/* The storage of a value between two nodes. */
typedef struct weft_storage {
    uint32_t type; /* weft_type: F32, F16, BF16 or Q8_0 (blocks of int8); WEFT_STORAGE_UNCHOSEN */
    weft_companion companion;
} weft_storage;

/* The storages that a kernel can read or write for one input or output. All zeros: F32 only. */
typedef struct weft_storage_set {
    uint64_t types;           /* WEFT_TYPE_BIT of each type; 0: F32 only */
    weft_companion companion; /* of an input: it is read if the value has it; of an output: it can be written. A kernel that needs a
                                 companion answers a question about a value without one with `supported` false */
} weft_storage_set;

/* ---- Nodes, in questions and in schedules ---- */

/* One input or output. In a question `buffer`, `offset` and the addresses are 0. */
typedef struct weft_place {
    bool present; /* false: an optional tensor that is left out; all other members are 0 */
    weft_leaf leaf;
    weft_tensor tensor;   /* as in the graph, where a value between nodes is F32, whatever its storage */
    uint32_t layout;      /* of a weight; may be WEFT_LAYOUT_UNCHOSEN */
    uint32_t member;      /* the weight's index among those that share the layout */
    weft_storage storage; /* of a value between nodes; for all others the tensor's type */
    weft_backend_buffer *buffer;
    uint64_t offset;    /* bytes, a multiple of 64 */
    uint64_t address;   /* buffer_address plus offset */
    uint64_t companion; /* the address of its companion, or 0 */
} weft_place;

/* In place of a kernel's number: the best kernel that fits. */
#define WEFT_KERNEL_ANY UINT32_MAX

/* One entry of a schedule: a node, its kernel and its places in memory. The same struct, without places in memory, is the question
 * whether a device can run a node. */
typedef struct weft_phase {
    weft_op op;
    weft_precision precision;
    uint32_t kernel;    /* the number that `supports` gave; in a question WEFT_KERNEL_ANY, or the only kernel allowed */
    const char *name;   /* of the kernel; NULL in a question */
    const void *params; /* the op's parameter block (weft/ops/STEM.h); valid during the call */
    size_t params_size;
    weft_place inputs[WEFT_MAX_INPUTS];
    weft_place outputs[WEFT_MAX_OUTPUTS]; /* a new version of a state has the state's place */
    weft_place scratch;                   /* `present` is false if scratch_bytes was 0 */
    const uint32_t *after;                /* indices of phases that must end before (read after write, write after read or write),
                                             but for those that one of them waits for by way of a chain of phases */
    uint32_t n_after;
} weft_phase;

/* The answer of `supports`. */
typedef struct weft_support {
    bool supported;
    uint32_t kernel;        /* the index in the backend's table of kernels; plan_create uses this kernel */
    const char *name;       /* "mul_mat q4_k avx512vnni": static */
    char reason[160];       /* why no kernel fits; or why not a faster one; or "" */
    uint64_t scratch_bytes; /* memory that the phase needs while it runs */
    bool in_place;          /* output 0 may have the memory of an input of the same size and storage that nothing reads later */
    weft_storage_set inputs[WEFT_MAX_INPUTS], outputs[WEFT_MAX_OUTPUTS]; /* that the kernel can read and write */
} weft_support;

/* One row of a backend's table of kernels, for people. */
typedef struct weft_kernel_info {
    weft_op op;
    const char *name;
} weft_kernel_info;

/* One use of weights: the question about the node that reads them, and the index of each weight among the node's inputs. */
typedef struct weft_use {
    const weft_phase *phase;
    uint32_t inputs[WEFT_MAX_MEMBERS];
} weft_use;

/* Rows of a weight to pack. */
typedef struct weft_packing {
    const weft_tensor *weight;
    const weft_layout *layout;
    uint32_t member, n_members; /* the weight's index among those that share the layout, and their number: 0 and 1 if it is alone */
    weft_backend_buffer *buffer; /* the packed weights begin at `offset` bytes */
    uint64_t offset;
    int64_t first_row, n_rows;
    const void *from; /* n_rows rows in the file's layout */
} weft_packing;

/* ---- Plans ---- */

/* A copy between the arena and a ring slot. */
typedef struct weft_ring_copy {
    weft_backend_buffer *buffer;
    uint64_t offset, ring_offset, bytes;
} weft_ring_copy;

/* A plan to record. A step first copies its slot of the step ring to the places of the step inputs, then runs the phases, then
 * copies the results to its slot of the result ring. Slot i of a ring begins at byte i * stride. */
typedef struct weft_schedule {
    const weft_phase *phases;
    size_t n_phases;
    weft_backend_buffer *step_ring, *result_ring;
    uint64_t step_stride, result_stride;
    const weft_ring_copy *step_copies, *result_copies;
    size_t n_step_copies, n_result_copies;
    /* NULL, or whether nobody wants the plan any more. A backend that compiles kernels for it asks before each of them, and then
     * ends with WEFT_CANCELLED. */
    bool (*stops)(void *user);
    void *stops_user;
} weft_schedule;

/* ---- Backends ---- */

typedef struct weft_backend {
    uint32_t abi;  /* WEFT_BACKEND_ABI */
    uint32_t size; /* bytes of this struct */
    const char *name;
    int32_t rank; /* "auto" opens the usable device with the highest rank */

    /* Writes the number of devices to `count` and describes up to `capacity` of them. A missing driver is no failure: the list is
     * then one device with `unusable` set. The core sets `backend` and `id`. `stable_id` is a UUID or "", and the core writes the
     * backend's name before it. */
    weft_status (*devices)(const weft_host *host, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);
    /* Opens device `index` of that list. `host` lives longer than the device. */
    weft_status (*open)(const weft_host *host, size_t index, const weft_device_options *options, weft_backend_device **device,
                        weft_error *error);
    void (*close)(weft_backend_device *device);
    weft_status (*memory_info)(weft_backend_device *device, uint64_t *total, uint64_t *free, weft_error *error);

    /* Creates a buffer of zeros. */
    weft_status (*buffer_create)(weft_backend_device *device, weft_memory memory, uint64_t bytes, weft_backend_buffer **buffer,
                                 weft_error *error);
    void (*buffer_destroy)(weft_backend_device *device, weft_backend_buffer *buffer);
    /* The buffer's address for kernels; the addresses of places are this plus the offset. NULL: all addresses are 0, and the
     * backend uses `buffer` and `offset`. */
    uint64_t (*buffer_address)(weft_backend_device *device, const weft_backend_buffer *buffer);
    /* The host's pointer to a ring buffer. On a device with `host_memory` it maps other buffers too, and weights in the file's
     * layout are read from the file into them. Returns NULL if the host cannot map the buffer. */
    void *(*buffer_map)(weft_backend_device *device, weft_backend_buffer *buffer);
    /* Copy bytes to or from a buffer, after everything that was submitted before. They have ended on return, except a `write` from
     * memory of `stage`. */
    weft_status (*write)(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, const void *from, size_t bytes,
                         weft_error *error);
    weft_status (*read)(weft_backend_device *device, weft_backend_buffer *buffer, uint64_t offset, void *into, size_t bytes,
                        weft_error *error);

    /* Whether and how the device runs a node: picks the best kernel in the backend's table that fits the question, or says why none
     * does. The answer depends on nothing but the question and the device. An unchosen layout or storage fits each kernel whose own
     * layout or storage could still be chosen. If `phase->kernel` is a number, only this kernel may be picked. */
    void (*supports)(weft_backend_device *device, const weft_phase *phase, weft_support *support);
    /* Describes kernel `number` of the table; false past the last one. NULL: the table cannot be listed. */
    bool (*kernel_at)(weft_backend_device *device, uint32_t number, weft_kernel_info *info);
    /* Picks one lossless layout for a weight from all its uses; in each use some kernel must read it. For several weights it picks
     * a layout that they share, or WEFT_LAYOUT_FILE: the core then asks about each weight alone. `layout` is all zeros before the
     * call. NULL: always the file's layout. */
    void (*weight_layout)(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights, const weft_use *uses,
                          size_t n_uses, weft_layout *layout);
    /* Converts rows from the file's layout and writes them to the weight's place. On return `from` is no longer needed, unless it
     * is memory of `stage`. NULL: there is only the file's layout, which the core writes with `write`. */
    weft_status (*weight_pack)(weft_backend_device *device, const weft_packing *packing, weft_error *error);

    /* Records a schedule. Of the schedule only the buffers live longer than the call. */
    weft_status (*plan_create)(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                               weft_error *error);
    void (*plan_destroy)(weft_backend_device *device, weft_backend_plan *plan);
    /* Queues one step. Tickets of a device rise from call to call, and steps run in their order. */
    weft_status (*plan_submit)(weft_backend_device *device, weft_backend_plan *plan, uint64_t ticket, uint32_t step_slot,
                               uint32_t result_slot, weft_error *error);
    /* Waits until the step of the ticket has ended, and returns how. Time and statuses are as in weft_plan_wait. */
    weft_status (*wait)(weft_backend_device *device, uint64_t ticket, uint64_t timeout_ns, weft_error *error);
    /* Drops queued steps and stops the running one early. Their tickets end as WEFT_CANCELLED. */
    void (*cancel)(weft_backend_device *device);
    /* WEFT_OK, or WEFT_DEVICE_LOST and the reason. NULL: the device is never lost. */
    weft_status (*status)(weft_backend_device *device, weft_error *error);
    /* Measures how fast the device reads its memory while nothing else runs. NULL: it cannot. */
    weft_status (*read_bandwidth)(weft_backend_device *device, double *bytes_per_s, weft_error *error);
    /* Gives a piece of host memory for loading weights: at least `bytes` bytes, 64-byte aligned, which the device can read by
     * itself. The core fills the piece and passes its beginning once as `from` of `write` or `weight_pack`. These may then return
     * before the device has read the piece, so that the core reads the next part of a file meanwhile. Everything that is submitted,
     * written, read or packed later comes after it. The next call of `stage` takes the piece back, used or not, and waits only if
     * no piece is free. With `bytes` 0 (`memory` is NULL) the load is over: the call waits for all copies, returns the failure of
     * any, and frees all pieces, whatever the status and also on a lost device. A call that fails gives no piece. Only one load of
     * a device runs at a time; calls with other memory may come in between. NULL: the core uses memory of its own. */
    weft_status (*stage)(weft_backend_device *device, uint64_t bytes, void **memory, weft_error *error);
    /* The number of launches in a step of the plan, including those that copy its inputs and results. NULL: unknown. */
    size_t (*plan_dispatches)(weft_backend_device *device, const weft_backend_plan *plan);
    /* By how much a buffer of `bytes` bytes, and a plan's recording, lower the free memory of memory_info. NULL: by `bytes`, and by
     * 0. */
    uint64_t (*buffer_bytes_used)(weft_backend_device *device, weft_memory memory, uint64_t bytes);
    uint64_t (*plan_bytes_used)(weft_backend_device *device, const weft_backend_plan *plan);

    /* For several devices of one backend that work together. If all are NULL, the host copies and waits. */

    /* Queues a copy from a buffer of another device of this backend. Its place in this device's order is that of a step. */
    weft_status (*copy_from)(weft_backend_device *device, weft_backend_buffer *into, uint64_t offset,
                             weft_backend_device *from_device, weft_backend_buffer *from, uint64_t from_offset, uint64_t bytes,
                             weft_error *error);
    /* Creates an event, which occurs when everything that was queued on the device before has ended. It is destroyed on the device
     * that made it, after all waits for it have ended. */
    weft_status (*event_create)(weft_backend_device *device, weft_backend_event **event, weft_error *error);
    void (*event_destroy)(weft_backend_device *device, weft_backend_event *event);
    /* Makes everything that is queued on the device later begin after the event, which is of this or another device of this
     * backend. Returns at once. */
    weft_status (*event_wait)(weft_backend_device *device, weft_backend_event *event, weft_error *error);

    /* How often, in a step of the plan, the device waits for all launches so far. NULL: unknown. */
    size_t (*plan_barriers)(weft_backend_device *device, const weft_backend_plan *plan);
} weft_backend;

/* The symbol that a plug-in exports: a function that returns the backend, which lives as long as the library is loaded, or NULL if
 * the plug-in does not know the ABI of `host`. */
#define WEFT_BACKEND_ENTRY "weft_backend_entry"
typedef const weft_backend *(*weft_backend_entry_function)(const weft_host *host);

#ifdef __cplusplus
}
#endif
#endif
