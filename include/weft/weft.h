/* weft: run a decoder language model as one small graph of fused tensor operations.
 *
 * This header is the core: runtime, devices, graphs, stores and plans. Models, tokenizers and conversations are in decoder.h,
 * tables for rotary position embedding in rope_table.h, oracles and comparisons in check.h, and what a backend implements in
 * backend.h.
 *
 * Conventions
 * - Every call that can fail returns a weft_status and takes an optional `weft_error *` last, which receives the message.
 *   On failure an out-parameter is left untouched unless its description says otherwise, and nothing is leaked.
 * - Handles are opaque. `_create`/`_open` is paired with `_destroy`/`_close`, which take NULL.
 * - NULL where a handle, a struct, an array of more than no elements or a place for a result is needed is WEFT_INVALID_ARGUMENT. A
 *   function that returns no status then gives 0, false or NULL, fills what it can with zeros, and else does nothing.
 * - In a parameter struct zero means the default. Shapes are innermost first and unused dimensions are 1.
 * - Most structs end in `reserved` words, to which a later version may give a meaning (docs/api.md). In a struct that the caller
 *   fills they must be zero: any other value is WEFT_INVALID_ARGUMENT. In a struct that the library fills they are zero.
 * - Strings are UTF-8 and zero-terminated; those returned live as long as the handle they came from.
 * - Any call may come from any thread. Calls on one device are serialised inside; one graph is built by one thread at a time.
 * - Nothing here ends the process, prints, reads the environment or starts a thread on its own account
 *   (an opened CPU device owns the worker threads it was asked for).
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define WEFT_API __attribute__((visibility("default")))
#else
#define WEFT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ---- */

/* Of this header: 0x000100 and "0.1.0". The build reads it from these three lines; docs/api.md says what each number means. */
#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
#define WEFT_VERSION_NUMBER (WEFT_VERSION_MAJOR << 16 | WEFT_VERSION_MINOR << 8 | WEFT_VERSION_PATCH)
#define WEFT_VERSION WEFT_VERSION_TEXT_(WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR, WEFT_VERSION_PATCH)
#define WEFT_VERSION_TEXT_(major, minor, patch) WEFT_VERSION_JOIN_(major, minor, patch)
#define WEFT_VERSION_JOIN_(major, minor, patch) #major "." #minor "." #patch

/* Of the library that runs, which may be a newer one. */
WEFT_API uint32_t weft_version(void);
WEFT_API const char *weft_version_text(void);

/* ---- Status and messages ---- */

typedef enum weft_status {
    WEFT_OK = 0,
    WEFT_INVALID_ARGUMENT, /* the caller broke a documented rule */
    WEFT_OUT_OF_MEMORY,    /* host or device memory; nothing was lost, and smaller requests may still succeed */
    WEFT_OUT_OF_PAGES,     /* no free KV-cache page */
    WEFT_FULL,             /* a ring or table has no free slot now; wait for a ticket and try again */
    WEFT_NOT_FOUND,        /* no such file, device, backend, tensor or key */
    WEFT_IO,               /* the operating system could not read or write */
    WEFT_BAD_FILE,         /* a file's content breaks its format */
    WEFT_UNSUPPORTED,      /* well-formed, but this build, backend or device cannot do it */
    WEFT_CANCELLED,        /* somebody asked for it to stop */
    WEFT_TIMEOUT,          /* the time given to a wait ran out; the work goes on */
    WEFT_DEVICE_LOST,      /* sticky: close the device and open it again */
    WEFT_FAILED            /* the work itself failed (a kernel fault, a dependency that failed) */
} weft_status;

/* A message a user can act on. `status` is the status that was returned with it. */
typedef struct weft_error {
    weft_status status;
    char message[500];
} weft_error;

/* "out of memory" and so on; never NULL. */
WEFT_API const char *weft_status_text(weft_status status);

/* Fills `error` (NULL is ignored) with a printf-style message and returns `status`: `return weft_fail(error, WEFT_IO, "...")`. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
WEFT_API weft_status
weft_fail(weft_error *error, weft_status status, const char *format, ...);

/* For code that takes structs with reserved words: WEFT_INVALID_ARGUMENT where one of the `bytes` bytes of `words` is not zero.
 * `name` is what the message calls them: weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error).
 */
WEFT_API weft_status weft_require_zero(const char *name, const uint64_t *words, size_t bytes, weft_error *error);

/* ---- Runtime ---- */

typedef enum weft_log_level { WEFT_LOG_ERROR, WEFT_LOG_WARNING, WEFT_LOG_INFO, WEFT_LOG_DEBUG } weft_log_level;

/* Where every byte of host memory comes from. `alignment` is a power of two; NULL from `allocate` becomes
 * WEFT_OUT_OF_MEMORY. `release` gets the size that was asked for. Both may be called from any thread. */
typedef struct weft_allocator {
    void *(*allocate)(void *user, size_t size, size_t alignment);
    void (*release)(void *user, void *memory, size_t size);
    void *user;
    uint64_t reserved[4];
} weft_allocator;

typedef struct weft_runtime_options {
    const weft_allocator *allocator; /* copied; NULL: the C library's */
    void (*log)(void *user, weft_log_level level, const char *message);
    void *log_user;
    uint64_t reserved[8];
} weft_runtime_options;

typedef struct weft_runtime weft_runtime;

/* Creates a runtime that knows the built-in backends. No driver is loaded until devices are listed or opened.
 * `options` may be NULL. Everything made from a runtime must be destroyed before it. */
WEFT_API weft_status weft_runtime_create(const weft_runtime_options *options, weft_runtime **runtime, weft_error *error);
WEFT_API void weft_runtime_destroy(weft_runtime *runtime);

/* Adds the backend in the shared library at `path` (the entry of backend.h). It stays loaded with the runtime. */
WEFT_API weft_status weft_runtime_load_backend(weft_runtime *runtime, const char *path, weft_error *error);

/* Memory from the runtime's allocator, for code above the core. `weft_allocate` returns zeroed memory aligned for any
 * type, or NULL; `weft_release` takes NULL. `weft_reallocate` keeps the first min(old_size, size) bytes, zeroes the
 * rest, and on failure returns NULL and leaves `memory` as it was. */
WEFT_API void *weft_allocate(weft_runtime *runtime, size_t size);
WEFT_API void *weft_reallocate(weft_runtime *runtime, void *memory, size_t old_size, size_t size);
WEFT_API void weft_release(weft_runtime *runtime, void *memory);

/* Passes a message to the runtime's logger, if it has one. */
WEFT_API void weft_log(weft_runtime *runtime, weft_log_level level, const char *message);

/* ---- Element types ---- */

/* The numbers are those of the GGUF format. */
typedef enum weft_type {
    WEFT_F32 = 0,
    WEFT_F16 = 1,
    WEFT_Q4_0 = 2,
    WEFT_Q4_1 = 3,
    WEFT_Q5_0 = 6,
    WEFT_Q5_1 = 7,
    WEFT_Q8_0 = 8,
    WEFT_Q4_K = 12,
    WEFT_Q5_K = 13,
    WEFT_Q6_K = 14,
    WEFT_I32 = 26,
    WEFT_BF16 = 30,
    WEFT_TYPE_COUNT = 31
} weft_type;

typedef struct weft_type_info {
    const char *name;        /* "Q4_K" */
    uint32_t block_elements; /* weights that share a block: 1, 32 or 256 */
    uint32_t block_bytes;
} weft_type_info;

/* NULL where `type` is not one of the enum's. */
WEFT_API const weft_type_info *weft_type_get(weft_type type);
/* The type of that name; false where there is none. */
WEFT_API bool weft_type_from_name(const char *name, weft_type *type);
/* Bytes of `n_elements` in a row, a multiple of the block; 0 where the type or the count is not valid. */
WEFT_API uint64_t weft_type_bytes(weft_type type, int64_t n_elements);
/* Expands `n_elements` (a multiple of the block) of any type but I32 to F32, bit for bit as the format defines them. */
WEFT_API weft_status weft_dequantise(weft_type type, const void *blocks, int64_t n_elements, float *values, weft_error *error);

#define WEFT_MAX_DIMENSIONS 4

typedef struct weft_tensor {
    weft_type type;
    int64_t shape[WEFT_MAX_DIMENSIONS]; /* innermost first; each at least 1 */
} weft_tensor;

/* Bytes of a contiguous tensor; 0 where its shape or type is not valid or the size overflows. */
WEFT_API uint64_t weft_tensor_bytes(const weft_tensor *tensor);

/* ---- Devices ---- */

#define WEFT_NAME_SIZE 64

/* What computes. A menu offers the usable devices but those of the last two kinds. */
typedef enum weft_device_kind {
    WEFT_DEVICE_UNKNOWN = 0, /* its backend does not say, or found no device */
    WEFT_DEVICE_CPU,
    WEFT_DEVICE_GPU,            /* with memory of its own */
    WEFT_DEVICE_INTEGRATED_GPU, /* in the host's memory */
    WEFT_DEVICE_VIRTUAL_GPU,    /* what a virtual machine is given of one */
    WEFT_DEVICE_SOFTWARE_GPU,   /* the processor, playing a GPU for tests: slower than the cpu backend */
    WEFT_DEVICE_NOTHING         /* computes nothing: the null backend */
} weft_device_kind;

typedef struct weft_device_info {
    char backend[WEFT_NAME_SIZE];   /* "cpu" */
    char id[WEFT_NAME_SIZE];        /* "cuda:0": by its place among the backend's devices, which changes with cards and drivers */
    char stable_id[WEFT_NAME_SIZE]; /* "cuda:8f6c1c3e-...", to keep in a settings file: means this device alone, also after a
                                       restart. The id where the backend knows nothing better, as of the cpu */
    char name[128];                 /* the processor's name */
    char driver[128];               /* version, or "" */
    char features[256];             /* "avx2 avx512vnni", for people to read */
    char unusable[256];             /* why it cannot be opened, or "" */
    uint64_t memory_total, memory_free; /* bytes; 0 where unknown */
    bool host_memory;                   /* its memory is the host's */
    bool host_processor;                /* its steps run on the host's processor: queueing them ahead gains nothing */
    weft_device_kind kind;
    int32_t rank; /* added to its backend's, where devices of one backend differ; "auto" takes none below 0 */
    uint64_t reserved[8];
} weft_device_info;

/* Writes up to `capacity` descriptions and the number of devices there are to `count`. A backend whose driver is missing
 * lists one device with `unusable` set. The best device comes first. */
WEFT_API weft_status weft_devices(weft_runtime *runtime, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);

typedef struct weft_device_options {
    uint32_t n_threads;       /* cpu: 0 means one a physical core */
    const char *simd;         /* cpu: NULL the best there is, or "none", "avx2", "avx512vnni", "neon": for tests and comparisons */
    const char *cache_folder; /* vulkan: where compiled shaders are kept between runs, an existing folder; NULL: nowhere */
    uint64_t spin_ns;         /* how long a wait asks again and again before it sleeps; 0: it sleeps at once. Not where the device's
                                 memory is the host's */
    uint64_t reserved[8];
} weft_device_options;

typedef struct weft_device weft_device;

/* Opens "auto" (the first usable device of weft_devices, without those of ranks below 0: what is there for tests alone), a
 * backend's name (its first usable device), or a device's id or stable id, which asks that backend alone. There is no silent
 * fallback: a name that cannot be opened is an error that says why. */
WEFT_API weft_status weft_device_open(weft_runtime *runtime, const char *name, const weft_device_options *options,
                                      weft_device **device, weft_error *error);
/* Waits for what is in flight. Stores on the device must have been destroyed. */
WEFT_API void weft_device_close(weft_device *device);
/* The description, with memory_free as it is now. */
WEFT_API weft_status weft_device_describe(weft_device *device, weft_device_info *info, weft_error *error);
/* The runtime it was opened with. */
WEFT_API weft_runtime *weft_device_runtime(const weft_device *device);

/* Measures how fast the device reads its own memory, in a second or less: the limit for decoding. WEFT_UNSUPPORTED where the
 * backend cannot tell. */
WEFT_API weft_status weft_device_read_bandwidth(weft_device *device, double *bytes_per_s, weft_error *error);

/* ---- Graphs ---- */

typedef enum weft_op {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) WEFT_OP_##enum_name = number,
#include "weft/ops.def"
#undef WEFT_OP
} weft_op;

/* "mul_mat"; NULL where there is no such op. */
WEFT_API const char *weft_op_name(weft_op op);
/* Number of inputs and outputs an op can have, optional ones counted. */
WEFT_API size_t weft_op_input_count(weft_op op);
WEFT_API size_t weft_op_output_count(weft_op op);

#define WEFT_MAX_INPUTS 24
#define WEFT_MAX_OUTPUTS 4

/* A leaf or an output of a node. */
typedef int32_t weft_value;
#define WEFT_NONE (-1)

typedef struct weft_graph weft_graph;

WEFT_API weft_status weft_graph_create(weft_runtime *runtime, weft_graph **graph, weft_error *error);
WEFT_API void weft_graph_destroy(weft_graph *graph);

/* Leaves. Names are unique in a graph (up to WEFT_NAME_SIZE - 1 bytes) and shared between graphs: two graphs that name the
 * same weight or state in one store mean the same memory, and must give it the same type and shape.
 * A weight is read-only. A step input (F32 or I32) is written by the host for each step. A state lives from step to step
 * and starts as zeros; its leaf is its version at the start of the step. */
WEFT_API weft_status weft_graph_weight(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                                       weft_error *error);
WEFT_API weft_status weft_graph_input(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                                      weft_error *error);
WEFT_API weft_status weft_graph_state(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                                      weft_error *error);

/* Part of a tensor of the weights' source: of each dimension i the elements first[i] .. first[i] + shape[i] of the weight - 1. */
typedef struct weft_slice {
    const char *source;                 /* the tensor's name in the source, up to WEFT_NAME_SIZE - 1 bytes */
    int64_t shape[WEFT_MAX_DIMENSIONS]; /* the source tensor's; its type is the weight's */
    int64_t first[WEFT_MAX_DIMENSIONS]; /* first[0]: a multiple of the type's block */
    uint64_t reserved[4];
} weft_slice;

/* A weight that is a slice: rows, columns or matrices of a larger tensor of the source, such as Q in a fused Q, K and V, or one
 * device's share. It is a weight of its own with a name of its own. Graphs of one store that name it must give the same slice.
 * Nothing of `slice` needs to live on. */
WEFT_API weft_status weft_graph_weight_slice(weft_graph *graph, const char *name, const weft_tensor *tensor,
                                             const weft_slice *slice, weft_value *value, weft_error *error);

/* Adds a node. `inputs` has weft_op_input_count(op) entries, at the places that weft/ops/ports.h names, WEFT_NONE for an optional
 * one left out.
 * `params` is the op's block from weft/ops/STEM.h, or NULL with size 0: none, or all zeros. `outputs` receives
 * weft_op_output_count(op) values (WEFT_NONE for one the parameters switch off). Every rule of the op is checked here: a
 * graph that was built can be planned. A state output is a new version of its state input, which no later node may use. */
WEFT_API weft_status weft_graph_add(weft_graph *graph, weft_op op, const char *name, const weft_value *inputs, const void *params,
                                    size_t params_size, weft_value *outputs, weft_error *error);

/* Makes a value a result of the step, up to 8 a graph, numbered from 0 in the order of the calls. A node that reaches neither
 * a result nor a final state version is dropped. */
WEFT_API weft_status weft_graph_output(weft_graph *graph, weft_value value, weft_error *error);

/* Type and shape of a value. */
WEFT_API weft_status weft_graph_tensor(const weft_graph *graph, weft_value value, weft_tensor *tensor, weft_error *error);

/* One node, leaves included (op WEFT_OP_NONE), for code that walks a graph. */
typedef enum weft_leaf { WEFT_LEAF_NOT, WEFT_LEAF_WEIGHT, WEFT_LEAF_INPUT, WEFT_LEAF_STATE } weft_leaf;
typedef struct weft_node {
    weft_op op;
    weft_leaf leaf;
    const char *name;
    const void *params;
    size_t params_size;
    weft_value inputs[WEFT_MAX_INPUTS];
    weft_value outputs[WEFT_MAX_OUTPUTS]; /* a leaf's value is outputs[0] */
    const weft_slice *slice;              /* of a weight that is one; else NULL */
    uint64_t reserved[8];
} weft_node;
WEFT_API size_t weft_graph_node_count(const weft_graph *graph);
WEFT_API weft_status weft_graph_node(const weft_graph *graph, size_t index, weft_node *node, weft_error *error);

typedef enum weft_precision { WEFT_FAST = 0, WEFT_EXACT = 1 } weft_precision;

/* Whether and how a device would run a node as it stands. */
typedef struct weft_node_support {
    bool supported;
    uint32_t number;    /* of that kernel in the device's table */
    const char *kernel; /* what would run it, or ""; lives as long as the device */
    char reason[160];   /* why it is not supported, or why this kernel, or "" */
    uint64_t reserved[8];
} weft_node_support;

/* Asks about node `index`, which is not a leaf, with the layouts and storages that the whole graph leads to.
 * WEFT_INVALID_ARGUMENT, WEFT_OUT_OF_MEMORY. */
WEFT_API weft_status weft_graph_support(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                                        weft_node_support *support, weft_error *error);
/* Reports every row of the device's table of kernels for the op of node `index`, in the table's order: whether it could run the
 * node, or why not. A status that `report` returns ends the listing and is returned. WEFT_UNSUPPORTED where the backend does not
 * list its kernels. */
WEFT_API weft_status weft_graph_kernels(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                                        weft_status (*report)(void *user, const weft_node_support *kernel), void *user,
                                        weft_error *error);

/* What one run of node `index` costs: arithmetic operations, and the bytes it moves with weights as in the file. Both count what is
 * cached as whole pages, up to the end of the page table; both are 0 for a leaf. WEFT_INVALID_ARGUMENT. */
WEFT_API weft_status weft_graph_node_cost(const weft_graph *graph, size_t index, uint64_t *operations, uint64_t *bytes,
                                          weft_error *error);

/* A new graph in which groups of nodes are replaced by fused nodes wherever `device` supports the result, and dead nodes
 * are gone. `graph` is not changed; value numbers are not kept. */
WEFT_API weft_status weft_graph_fuse(const weft_graph *graph, weft_device *device, weft_precision precision, weft_graph **fused,
                                     weft_error *error);

typedef enum weft_graph_format { WEFT_GRAPH_TEXT, WEFT_GRAPH_DOT } weft_graph_format;

typedef struct weft_graph_print_options {
    weft_graph_format format;
    weft_device *device; /* shows what would run each node there; NULL: the graph alone */
    weft_precision precision;
    bool all_kernels; /* the rows of the device's table that were passed over, too, and why: as text alone */
    uint64_t reserved[8];
} weft_graph_print_options;

/* Prints nodes with shapes, bytes moved and operations. With a device also the number and name of each node's kernel (or why it has
 * none), how values between nodes are stored where not as F32, and how weights lie where not as in the file. `options` may be NULL.
 * A status that `write` returns ends the printing and is returned. */
WEFT_API weft_status weft_graph_print(const weft_graph *graph, const weft_graph_print_options *options,
                                      weft_status (*write)(void *user, const char *text, size_t size), void *user,
                                      weft_error *error);

/* ---- Stores: what plans share on a device ---- */

typedef struct weft_store weft_store;

/* The only kernel that nodes of an op may run with, by its number in the device's table: for tests and comparisons. */
typedef struct weft_forced_kernel {
    weft_op op;
    uint32_t kernel;
} weft_forced_kernel;

typedef struct weft_store_options {
    weft_precision precision;
    bool unfused;     /* plans run the parts instead of fused nodes */
    bool keep;        /* plans reuse no memory, so that any value can be read after a step */
    uint32_t n_slots; /* steps that can be queued at once; 0: 4 */
    /* Called between pieces of long work with what is done and the whole, in bytes. Returning false cancels. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    bool unpruned; /* plans run every node as it was added, unfused, those that reach no result too: for timing */
    const weft_forced_kernel *forced; /* n_forced of them, copied; a node that its op's kernel cannot run is WEFT_UNSUPPORTED */
    size_t n_forced;
    uint64_t reserved[8];
} weft_store_options;

/* Exact bytes on the device, before anything is allocated. */
typedef struct weft_store_bytes {
    uint64_t weights; /* as packed */
    uint64_t packed;  /* of these, the ones that lie otherwise than in the file */
    uint64_t states;
    uint64_t arena; /* activations and scratch of the largest plan */
    uint64_t rings; /* step and result slots */
    uint64_t total;
    uint64_t bytes_used; /* of the memory that weft_device_info tells of: rounded up as the device gives memory, without what it
                            leaves to the host */
    uint64_t reserved[8];
} weft_store_bytes;

/* Prepares memory for plans of `graphs` (each as built, unfused): fuses and places each, collects weights and states, lets
 * the device choose each weight's one layout from all its uses, and sizes one arena for the largest. Allocates no device
 * memory. The graphs may be destroyed after the call. */
WEFT_API weft_status weft_store_create(weft_device *device, const weft_graph *const *graphs, size_t n_graphs,
                                       const weft_store_options *options, weft_store **store, weft_error *error);
/* Cancels what is queued and waits for what runs. Plans of the store must have been destroyed. */
WEFT_API void weft_store_destroy(weft_store *store);
WEFT_API void weft_store_measure(const weft_store *store, weft_store_bytes *bytes);

/* Where weights come from: reads `size` bytes of the named tensor from `offset` on, all of them or an error. Slices are asked for
 * by the name of the source's tensor, run by run of bytes that follow each other in it. */
typedef struct weft_weight_source {
    weft_status (*read)(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error);
    void *user;
    uint64_t reserved[8];
} weft_weight_source;

/* Reads a weight of a graph from `source`, slices cut out, as the file's type has it: weft_tensor_bytes of its tensor, which must
 * be `size`. */
WEFT_API weft_status weft_graph_read_weight(const weft_graph *graph, weft_value value, const weft_weight_source *source, void *into,
                                            size_t size, weft_error *error);

/* Compares the bytes needed with what is free, allocates, zeroes the states and loads the weights. On failure or when
 * cancelled everything is given back and the call can be made again. */
WEFT_API weft_status weft_store_load(weft_store *store, const weft_weight_source *source, weft_error *error);

/* Copies part of a state to or from host memory, after every step submitted so far has ended. Bytes. */
WEFT_API weft_status weft_store_read_state(weft_store *store, const char *name, uint64_t offset, void *into, size_t size,
                                           weft_error *error);
WEFT_API weft_status weft_store_write_state(weft_store *store, const char *name, uint64_t offset, const void *from, size_t size,
                                            weft_error *error);

/* ---- Plans: a graph recorded by a device ---- */

typedef struct weft_plan weft_plan;

/* Fuses, orders, places and records `graph`, which must fit the loaded store: its weights and states are there and its
 * arena is not larger. */
WEFT_API weft_status weft_plan_create(weft_store *store, const weft_graph *graph, weft_plan **plan, weft_error *error);
/* Waits for tickets of the plan. */
WEFT_API void weft_plan_destroy(weft_plan *plan);

typedef struct weft_plan_info {
    size_t n_phases;       /* nodes that are dispatched */
    size_t n_dispatches;   /* launches recorded for a step, those that move its inputs and results included; 0: not known */
    uint64_t weight_bytes; /* weight bytes one step reads, as packed (an embedding counts the rows it looks up) */
    uint64_t arena_bytes;
    uint64_t recording_bytes; /* of the device's memory, for the recording itself; 0 where the device does not tell */
    uint64_t reserved[8];
} weft_plan_info;
WEFT_API void weft_plan_describe(const weft_plan *plan, weft_plan_info *info);

/* A submitted step. Numbers rise in the order of submission within a store; 0 is never one. */
typedef uint64_t weft_ticket;

/* Takes a free slot and gives the host pointers of the step inputs, in the order they were added to the graph; zeroed.
 * `inputs` must have room for all of them. WEFT_FULL where no slot is free. */
WEFT_API weft_status weft_plan_begin(weft_plan *plan, weft_ticket *ticket, void **inputs, weft_error *error);
/* Queues the step. Steps of a store run in the order in which they were begun; each begun step must be submitted. If this
 * fails the slot is free again. */
WEFT_API weft_status weft_plan_submit(weft_plan *plan, weft_ticket ticket, weft_error *error);
/* Waits until the step has ended, `timeout_ns` at most (UINT64_MAX: without limit; 0: looks only), and returns how: WEFT_OK,
 * WEFT_CANCELLED, WEFT_TIMEOUT or the failure. On WEFT_OK `outputs` (NULL, or room for all results) receives host pointers to the
 * results, valid until the ticket is released. The CPU device runs its queue in the thread that waits. */
WEFT_API weft_status weft_plan_wait(weft_plan *plan, weft_ticket ticket, uint64_t timeout_ns, const void **outputs,
                                    weft_error *error);
/* Frees the slot of an ended ticket. */
WEFT_API void weft_plan_release(weft_plan *plan, weft_ticket ticket);
/* Drops every queued step and ends the running one early; their tickets end as WEFT_CANCELLED. From any thread. Where
 * another store of the device has steps under way that are wanted, those that the device has are not ended early but in their own
 * time. A device that does not end them within 30 s of being told to counts as lost, so that a cancel ends every wait. */
WEFT_API void weft_store_cancel(weft_store *store);

/* Reads a value of a store made with `keep` after a step, as plain F32 or I32. `value` is one of the graph the plan runs:
 * see weft_plan_graph. */
WEFT_API weft_status weft_plan_read(weft_plan *plan, weft_value value, void *into, size_t size, weft_error *error);
/* The graph as the plan runs it, after fusion. Lives as long as the plan. */
WEFT_API const weft_graph *weft_plan_graph(const weft_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
