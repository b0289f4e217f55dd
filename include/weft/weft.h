/* weft: run a decoder language model as one small graph of fused tensor operations.
 *
 * This header is the core: runtime, devices, graphs, stores and plans. Models, tokenizers and conversations are in decoder.h,
 * tables for rotary position embedding in rope_table.h, how fast a device is in speed.h, oracles and comparisons in check.h, and
 * what a backend implements in backend.h.
 *
 * Conventions
 * - A call that can fail returns a weft_status. Its last argument is a `weft_error *`, which may be NULL and receives the message.
 *   On failure the out-parameters keep their values unless their description says otherwise, and nothing is leaked.
 * - Three statuses are not repeated below. WEFT_INVALID_ARGUMENT: the caller broke a rule that is stated here. WEFT_OUT_OF_MEMORY:
 * of any call that allocates. WEFT_DEVICE_LOST: of any call that reaches a device.
 * - Handles are opaque. What `_create` or `_open` makes belongs to the caller, who ends it with `_destroy` or `_close`, for which
 * NULL is nothing to do. A handle is destroyed after everything that was made from it: a device after its stores, and so on.
 * - Where a handle, a struct, an array with elements or a place for a result is needed, NULL is WEFT_INVALID_ARGUMENT. Functions
 *   without a status then return 0, false or NULL, zero the struct that they would fill, and do nothing else.
 * - In a struct of options zero means the default. Shapes are innermost first, and unused dimensions are 1.
 * - Most structs end in `reserved` words, to which a later version may give a meaning (docs/api.md). In a struct that the caller
 *   fills they must be zero: any other value is WEFT_INVALID_ARGUMENT. In a struct that the library fills they are zero.
 * - Strings are UTF-8 and zero-terminated. The library copies those that it is given, and returned strings live as long as the
 *   handle that they came from.
 * - Any call may come from any thread, and the library serialises the calls on one device. The exceptions: only one thread at a
 *   time builds a graph, and no other call, not even a cancel, may use a handle once its `_destroy` or `_close` has begun.
 * - A callback is called by a thread that is inside of a call, possibly while the library holds locks. Unless its description
 *   allows it, it calls no function on a device, an engine or what was made from them.
 * - The library never ends the process, prints or reads the environment. It starts no threads, except the worker threads of an
 *   opened CPU device.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ---- */

/* The version of this header: 0x000100 and "0.1.0". The build reads these three lines; docs/api.md says what each number means. */
#define WEFT_VERSION_MAJOR 0
#define WEFT_VERSION_MINOR 1
#define WEFT_VERSION_PATCH 0
#define WEFT_VERSION_NUMBER (WEFT_VERSION_MAJOR << 16 | WEFT_VERSION_MINOR << 8 | WEFT_VERSION_PATCH)
#define WEFT_VERSION WEFT_VERSION_TEXT_(WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR, WEFT_VERSION_PATCH)
#define WEFT_VERSION_TEXT_(major, minor, patch) WEFT_VERSION_JOIN_(major, minor, patch)
#define WEFT_VERSION_JOIN_(major, minor, patch) #major "." #minor "." #patch

/* The version of the library that runs, which may be newer than the header. The text is static. */
WEFT_API uint32_t weft_version(void);
WEFT_API const char *weft_version_text(void);

/* ---- Status and messages ---- */

typedef enum weft_status {
    WEFT_OK = 0,
    WEFT_INVALID_ARGUMENT, /* the caller broke a documented rule */
    WEFT_OUT_OF_MEMORY,    /* of the host or the device; nothing was lost, and a smaller request may succeed */
    WEFT_OUT_OF_PAGES,     /* no free KV-cache page */
    WEFT_FULL,             /* no free slot in a ring or table; free one and try again */
    WEFT_NOT_FOUND,        /* no such file, device, backend, tensor or key */
    WEFT_IO,               /* the operating system could not read or write */
    WEFT_BAD_FILE,         /* a file's content breaks its format */
    WEFT_UNSUPPORTED,      /* well-formed, but this build, backend or device cannot do it */
    WEFT_CANCELLED,        /* a callback or another call asked for it to stop */
    WEFT_TIMEOUT,          /* the time given to a wait ran out; the work goes on */
    WEFT_DEVICE_LOST,      /* every later call on the device returns this too: close the device and open it again */
    WEFT_FAILED            /* the work itself failed (a kernel fault, a dependency that failed) */
} weft_status;

/* A message that a user can act on, zero-terminated. `status` is the status that was returned with it. */
typedef struct weft_error {
    weft_status status;
    char message[500];
} weft_error;

/* "out of memory" and so on; static and never NULL. */
WEFT_API const char *weft_status_text(weft_status status);

/* Writes a printf-style message, cut if it is too long, to `error`, which may be NULL, and returns `status`. */
WEFT_PRINTF(3, 4) WEFT_API weft_status weft_fail(weft_error *error, weft_status status, const char *format, ...);

/* For code that takes structs with reserved words: WEFT_INVALID_ARGUMENT if one of the words is not zero. `bytes` is their size,
 * and `name` their name in the message, such as "options.reserved". */
WEFT_API weft_status weft_require_zero(const char *name, const uint64_t *words, size_t bytes, weft_error *error);

/* ---- Runtime ---- */

typedef enum weft_log_level { WEFT_LOG_ERROR, WEFT_LOG_WARNING, WEFT_LOG_INFO, WEFT_LOG_DEBUG } weft_log_level;

/* The source of all host memory of a runtime, except what drivers and system libraries allocate by themselves. `allocate` gets a
 * size in bytes and an alignment, a power of two. If it returns NULL, the call that needed the memory returns WEFT_OUT_OF_MEMORY.
 * `release` gets the size that was asked for. Both may be called from any thread, from several at once. */
typedef struct weft_allocator {
    void *(*allocate)(void *user, size_t size, size_t alignment);
    void (*release)(void *user, void *memory, size_t size);
    void *user;
    uint64_t reserved[4];
} weft_allocator;

typedef struct weft_runtime_options {
    const weft_allocator *allocator; /* copied; NULL: the C library's */
    /* Receives messages, from any thread and from several at once; NULL: there is no logger. `message` lives during the call. */
    void (*log)(void *user, weft_log_level level, const char *message);
    void *log_user;
    uint64_t reserved[8];
} weft_runtime_options;

typedef struct weft_runtime weft_runtime;
/* Creates a runtime with the built-in backends. No driver is loaded before devices are listed or opened. `options` may be NULL. */
WEFT_API weft_status weft_runtime_create(const weft_runtime_options *options, weft_runtime **runtime, weft_error *error);
WEFT_API void weft_runtime_destroy(weft_runtime *runtime);

/* Adds the backend in the shared library at `path`, which exports the entry of backend.h. The library stays loaded until the
 * runtime is destroyed. WEFT_NOT_FOUND: it cannot be loaded. WEFT_UNSUPPORTED: it has no backend for this WEFT_BACKEND_ABI.
 * WEFT_INVALID_ARGUMENT: there is a backend of that name. WEFT_FULL: the runtime can hold no more backends. */
WEFT_API weft_status weft_runtime_load_backend(weft_runtime *runtime, const char *path, weft_error *error);

/* Memory from the runtime's allocator, for code above the core. Sizes are bytes. `weft_allocate` returns memory of zeros, aligned
 * for any type, or NULL. `weft_reallocate` moves the first min(old_size, size) bytes of `memory` (NULL: none) to new memory, zeroes
 * the rest and releases `memory`; on failure it returns NULL and `memory` stays valid. `weft_release` takes NULL. */
WEFT_API void *weft_allocate(weft_runtime *runtime, size_t size);
WEFT_API void *weft_reallocate(weft_runtime *runtime, void *memory, size_t old_size, size_t size);
WEFT_API void weft_release(weft_runtime *runtime, void *memory);

/* Passes a message to the runtime's logger, if there is one. */
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
    WEFT_Q2_K = 10,
    WEFT_Q3_K = 11,
    WEFT_Q4_K = 12,
    WEFT_Q5_K = 13,
    WEFT_Q6_K = 14,
    WEFT_IQ4_NL = 20,
    WEFT_IQ4_XS = 23,
    WEFT_I32 = 26,
    WEFT_BF16 = 30,
    WEFT_MXFP4 = 39,
    WEFT_TYPE_COUNT = 40
} weft_type;

typedef struct weft_type_info {
    const char *name;        /* "Q4_K" */
    uint32_t block_elements; /* elements in a block: 1, 32 or 256 */
    uint32_t block_bytes;
} weft_type_info;

/* Static; NULL if `type` is not in the enum. */
WEFT_API const weft_type_info *weft_type_get(weft_type type);
/* Finds the type of that name, such as "Q4_K". False if there is none; `type` then keeps its value. */
WEFT_API bool weft_type_from_name(const char *name, weft_type *type);
/* Bytes of a row of `n_elements`, which is a multiple of block_elements. 0 if the type or the count is not valid. */
WEFT_API uint64_t weft_type_bytes(weft_type type, int64_t n_elements);
/* Expands `n_elements` elements (a multiple of block_elements, or 0) of any type except I32 to F32, exactly as the format says. */
WEFT_API weft_status weft_dequantise(weft_type type, const void *blocks, int64_t n_elements, float *values, weft_error *error);

#define WEFT_MAX_DIMENSIONS 4

typedef struct weft_tensor {
    weft_type type;
    int64_t shape[WEFT_MAX_DIMENSIONS]; /* innermost first; each 1 or more */
} weft_tensor;

/* Bytes of a contiguous tensor. 0 if its type or shape is not valid or the number does not fit. */
WEFT_API uint64_t weft_tensor_bytes(const weft_tensor *tensor);

/* ---- Devices ---- */

#define WEFT_NAME_SIZE 64

/* The kind of processor. A menu offers all usable devices except those of the last two kinds. */
typedef enum weft_device_kind {
    WEFT_DEVICE_UNKNOWN = 0, /* the backend does not know the kind, or found no device */
    WEFT_DEVICE_CPU,
    WEFT_DEVICE_GPU,            /* with memory of its own */
    WEFT_DEVICE_INTEGRATED_GPU, /* uses the host's memory */
    WEFT_DEVICE_VIRTUAL_GPU,    /* the part of a GPU that a virtual machine has */
    WEFT_DEVICE_SOFTWARE_GPU,   /* a driver that runs on the processor, for tests: slower than the cpu backend */
    WEFT_DEVICE_NOTHING         /* the null backend, which computes nothing */
} weft_device_kind;

typedef struct weft_device_info {
    char backend[WEFT_NAME_SIZE];       /* "cpu" */
    char id[WEFT_NAME_SIZE];            /* "cuda:0": its index in the backend's list, which can change with cards and drivers */
    char stable_id[WEFT_NAME_SIZE];     /* "cuda:8f6c1c3e-...", for a settings file: names this device alone, also after a restart.
                                           Equal to `id` if the backend knows no such name, as for the cpu */
    char name[128];                     /* the processor's name */
    char driver[128];                   /* the driver's version, or "" */
    char features[256];                 /* "avx2 avx512vnni", for people to read */
    char unusable[256];                 /* why the device cannot be opened, or "" */
    uint64_t memory_total, memory_free; /* bytes; 0: unknown */
    bool host_memory;                   /* the device's memory is the host's */
    bool host_processor;                /* steps run on the host's processor, so queueing steps ahead gains nothing */
    weft_device_kind kind;
    int32_t rank;   /* of the device, added to its backend's rank */
    bool automatic; /* set by the core: "auto" may open the device, since the sum of the ranks is 0 or more and it is usable */
    uint64_t reserved[8];
} weft_device_info;

/* Writes the number of devices to `count` and up to `capacity` descriptions to `list` (NULL if `capacity` is 0), the best device
 * first. A backend whose driver is missing lists one device, with `unusable` set. */
WEFT_API weft_status weft_devices(weft_runtime *runtime, weft_device_info *list, size_t capacity, size_t *count, weft_error *error);

typedef struct weft_device_options {
    uint32_t n_threads;       /* cpu: worker threads; 0: one for each physical core */
    const char *simd;         /* cpu: "none", "avx2", "avxvnni", "avx512vnni" or "neon", for tests; NULL: the best there is */
    const char *cache_folder; /* vulkan: an existing folder that keeps compiled shaders between runs; NULL: they are not kept */
    uint64_t spin_ns;         /* time for which a wait spins before it sleeps; 0: none. Devices with `host_processor` ignore it */
    uint64_t reserved[8];
} weft_device_options;

typedef struct weft_device weft_device;
/* Opens a device by `name`: "auto" or NULL (the first `automatic` device of weft_devices; weft_engine_choose knows a better one for
 * a model), a backend's name (its first usable device), or a device's id or stable id. Only "auto" asks more than one
 * backend. `options` may be NULL. No other device is opened instead. WEFT_NOT_FOUND: no such device. */
WEFT_API weft_status weft_device_open(weft_runtime *runtime, const char *name, const weft_device_options *options,
                                      weft_device **device, weft_error *error);
WEFT_API void weft_device_close(weft_device *device);
/* Writes the device's description, with the present memory_total and memory_free. */
WEFT_API weft_status weft_device_describe(weft_device *device, weft_device_info *info, weft_error *error);
/* The runtime that opened the device. */
WEFT_API weft_runtime *weft_device_runtime(const weft_device *device);

/* Measures how fast the device reads its own memory, in up to a second. WEFT_UNSUPPORTED: the backend cannot measure this. */
WEFT_API weft_status weft_device_read_bandwidth(weft_device *device, double *bytes_per_s, weft_error *error);

/* ---- Graphs ---- */

typedef enum weft_op {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) WEFT_OP_##enum_name = number,
#include "weft/ops.def"
#undef WEFT_OP
} weft_op;

/* "mul_mat"; NULL if there is no such op. Static. */
WEFT_API const char *weft_op_name(weft_op op);
/* The number of inputs and outputs of an op, optional ones included; 0 if there is no such op. */
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

/* Leaves. A leaf's name (1 to WEFT_NAME_SIZE - 1 bytes) is unique in its graph. Graphs of one store that use the same name for a
 * weight or state share its memory, and must give it the same type and shape.
 * A weight is read-only. A step input (F32 or I32) is written by the host for each step. A state (F32, F16 or I32) keeps its
 * content from step to step and starts as zeros; its leaf is its version at the start of a step. `tensor` is copied. */
WEFT_API weft_status weft_graph_weight(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                                       weft_error *error);
WEFT_API weft_status weft_graph_input(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                                      weft_error *error);
WEFT_API weft_status weft_graph_state(weft_graph *graph, const char *name, const weft_tensor *tensor, weft_value *value,
                                      weft_error *error);

/* Part of a tensor of the weights' source: in each dimension i the elements from first[i] on, as many as the weight has there. */
typedef struct weft_slice {
    const char *source;                 /* the tensor's name in the source, up to WEFT_NAME_SIZE - 1 bytes */
    int64_t shape[WEFT_MAX_DIMENSIONS]; /* of the source tensor, whose type is the weight's */
    int64_t first[WEFT_MAX_DIMENSIONS]; /* first[0] is a multiple of block_elements */
    uint64_t reserved[4];
} weft_slice;

/* Adds a weight that is a slice: rows, columns or matrices of a larger tensor of the source, such as Q in a fused Q, K and V. It is
 * a weight with a name of its own. Graphs of one store that use this name must give the same slice. `slice` is copied. */
WEFT_API weft_status weft_graph_weight_slice(weft_graph *graph, const char *name, const weft_tensor *tensor,
                                             const weft_slice *slice, weft_value *value, weft_error *error);

/* Adds a node. `name` may be NULL. `inputs` has weft_op_input_count(op) values, at the indices that weft/ops/ports.h names;
 * WEFT_NONE leaves an optional one out. `params` is the op's parameter block from weft/ops/STEM.h, which is copied, and
 * `params_size` its size; NULL and 0 mean no block or one of zeros. `outputs` receives weft_op_output_count(op) values; WEFT_NONE
 * is an output that the parameters switch off. This call checks every rule of the op. A state output is a new version of the state
 * input, and no later node may use the old one. */
WEFT_API weft_status weft_graph_add(weft_graph *graph, weft_op op, const char *name, const weft_value *inputs, const void *params,
                                    size_t params_size, weft_value *outputs, weft_error *error);

/* Makes a node's output a result of the step; a leaf or a state cannot be one. A graph has up to 8 results, numbered from 0 in the
 * order of these calls. Plans drop nodes that neither a result nor the last version of a state needs. */
WEFT_API weft_status weft_graph_output(weft_graph *graph, weft_value value, weft_error *error);

/* Writes the type and shape of a value. */
WEFT_API weft_status weft_graph_tensor(const weft_graph *graph, weft_value value, weft_tensor *tensor, weft_error *error);

/* One node, for code that walks a graph. A leaf is a node too, with op WEFT_OP_NONE. Pointers are valid until the next call that
 * adds to the graph or destroys it. */
typedef enum weft_leaf { WEFT_LEAF_NOT, WEFT_LEAF_WEIGHT, WEFT_LEAF_INPUT, WEFT_LEAF_STATE } weft_leaf;
typedef struct weft_node {
    weft_op op;
    weft_leaf leaf;
    const char *name;
    const void *params;
    size_t params_size;
    weft_value inputs[WEFT_MAX_INPUTS];
    weft_value outputs[WEFT_MAX_OUTPUTS]; /* a leaf's value is outputs[0] */
    const weft_slice *slice;              /* of a weight that is a slice; NULL otherwise */
    uint64_t reserved[8];
} weft_node;
WEFT_API size_t weft_graph_node_count(const weft_graph *graph);
WEFT_API weft_status weft_graph_node(const weft_graph *graph, size_t index, weft_node *node, weft_error *error);

typedef enum weft_precision { WEFT_FAST = 0, WEFT_EXACT = 1 } weft_precision;

/* Whether and how a device would run a node, which is not fused first. */
typedef struct weft_node_support {
    bool supported;
    uint32_t number;    /* of the kernel in the device's table */
    const char *kernel; /* the kernel's name, or ""; lives as long as the device */
    char reason[160];   /* why no kernel fits, or why this one was chosen, or "" */
    uint64_t reserved[8];
} weft_node_support;

/* Asks about node `index`, which is not a leaf, with the weights' layouts and the values' storages that the whole graph leads to. A
 * node that the device cannot run is no failure: `supported` is then false. */
WEFT_API weft_status weft_graph_support(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                                        weft_node_support *support, weft_error *error);
/* Calls `report` for each kernel of the node's op in the device's table, in the table's order: whether it can run node `index`, or
 * why not. A status other than WEFT_OK from `report` ends the listing and is returned. WEFT_UNSUPPORTED: it lists no kernels. */
WEFT_API weft_status weft_graph_kernels(const weft_graph *graph, size_t index, weft_device *device, weft_precision precision,
                                        weft_status (*report)(void *user, const weft_node_support *kernel), void *user,
                                        weft_error *error);

/* The cost of one run of node `index`: arithmetic operations, and the bytes that it moves if weights are as in the file. Both count
 * a KV cache as full, up to the end of the page table. Both are 0 for a leaf. */
WEFT_API weft_status weft_graph_node_cost(const weft_graph *graph, size_t index, uint64_t *operations, uint64_t *bytes,
                                          weft_error *error);

/* Makes a new graph, which the caller destroys: fused nodes replace groups of nodes where `device` supports the fused node, and
 * nodes that nothing needs are gone. Its values have other numbers. `graph` is not changed. */
WEFT_API weft_status weft_graph_fuse(const weft_graph *graph, weft_device *device, weft_precision precision, weft_graph **fused,
                                     weft_error *error);

typedef enum weft_graph_format { WEFT_GRAPH_TEXT, WEFT_GRAPH_DOT } weft_graph_format;

typedef struct weft_graph_print_options {
    weft_graph_format format;
    weft_device *device; /* its kernels are printed too; NULL: the graph alone */
    weft_precision precision;
    bool all_kernels; /* also print the kernels that were not chosen, and why: WEFT_GRAPH_TEXT only */
    uint64_t reserved[8];
} weft_graph_print_options;

/* Prints nodes with shapes, bytes moved and operations. With a device it also prints the number and name of each node's kernel (or
 * why there is none), the storage of values that are not F32, and the layout of weights that are not as in the file. `options` may
 * be NULL. `write` gets pieces of text, which end with no zero. Its status, if not WEFT_OK, ends the printing and is returned. */
WEFT_API weft_status weft_graph_print(const weft_graph *graph, const weft_graph_print_options *options,
                                      weft_status (*write)(void *user, const char *text, size_t size), void *user,
                                      weft_error *error);

/* ---- Stores: what plans share on a device ---- */

typedef struct weft_store weft_store;
/* Lets the nodes of an op run with only one kernel, given by its number in the device's table: for tests and comparisons. */
typedef struct weft_forced_kernel {
    weft_op op;
    uint32_t kernel;
} weft_forced_kernel;

typedef struct weft_store_options {
    weft_precision precision;
    bool unfused;     /* plans run the graph's own nodes and fuse none */
    bool keep;        /* plans reuse no memory, so that weft_plan_read can read any value after a step */
    uint32_t n_slots; /* steps that can be queued at once; 0: 4 */
    /* Called while weights are loaded, in the thread that loads: bytes that are done, and all bytes. False cancels. NULL: none. */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    bool unpruned; /* plans run every node as it was added, also those that nothing needs, and fuse none: for timing */
    const weft_forced_kernel *forced; /* n_forced of them, copied; WEFT_UNSUPPORTED if a node cannot run with its op's kernel */
    size_t n_forced;
    /* Asked while a plan is made, in the thread that makes it: true ends that with WEFT_CANCELLED. What the device has compiled by
     * then is kept for the next plan. NULL: nobody asks. */
    bool (*stops)(void *user);
    void *stops_user;
    uint64_t reserved[6];
} weft_store_options;

/* The exact number of bytes on the device, known before anything is allocated. */
typedef struct weft_store_bytes {
    uint64_t weights; /* in their layouts on the device */
    uint64_t packed;  /* the part of `weights` whose layout is not the file's */
    uint64_t states;
    uint64_t arena; /* activations and scratch of the largest plan */
    uint64_t rings; /* step inputs and results of all slots */
    uint64_t total;
    uint64_t bytes_used; /* by how much `memory_free` of weft_device_info falls: `total` rounded up as the device allocates, without
                            what it allocates in other memory */
    uint64_t reserved[8];
} weft_store_bytes;

/* Prepares memory for plans of `graphs`, which are as they were built, unfused. Fuses each graph, collects weights and states, lets
 * the device choose one layout for each weight from all its uses, and sizes one arena for the largest graph. Allocates no device
 * memory. The graphs may be destroyed after the call. `options` may be NULL. WEFT_UNSUPPORTED: the device cannot run a node. */
WEFT_API weft_status weft_store_create(weft_device *device, const weft_graph *const *graphs, size_t n_graphs,
                                       const weft_store_options *options, weft_store **store, weft_error *error);
/* Cancels queued steps and waits for running ones. */
WEFT_API void weft_store_destroy(weft_store *store);
WEFT_API void weft_store_measure(const weft_store *store, weft_store_bytes *bytes);

/* The source of weights. `read` reads all of `size` bytes, from byte `offset` of the named tensor on, or fails. For a slice it is
 * called with the name of the source's tensor, once for each contiguous run of bytes. It is called by the thread that loads, one
 * call after the other. `name` lives during the call; this struct is needed until the function that it was given to returns. */
typedef struct weft_weight_source {
    weft_status (*read)(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error);
    void *user;
    uint64_t reserved[8];
} weft_weight_source;

/* Reads a weight of a graph from `source` in the file's type: the whole weight, or the slice if it is one. `size` must be the
 * weft_tensor_bytes of its tensor. A status of `source` is returned. */
WEFT_API weft_status weft_graph_read_weight(const weft_graph *graph, weft_value value, const weft_weight_source *source, void *into,
                                            size_t size, weft_error *error);

/* Allocates the device memory, zeroes the states and loads the weights. A store is loaded once. `source` may be NULL if there are
 * no weights. On failure all memory is given back, and the call can be repeated. WEFT_OUT_OF_MEMORY: the device has too little free
 * memory. WEFT_CANCELLED: `progress` returned false. A status of `source` is returned. */
WEFT_API weft_status weft_store_load(weft_store *store, const weft_weight_source *source, weft_error *error);

/* Copy `size` bytes of a state, from byte `offset` on, to or from host memory, after all steps that were submitted before have
 * ended. WEFT_NOT_FOUND: no such state. */
WEFT_API weft_status weft_store_read_state(weft_store *store, const char *name, uint64_t offset, void *into, size_t size,
                                           weft_error *error);
WEFT_API weft_status weft_store_write_state(weft_store *store, const char *name, uint64_t offset, const void *from, size_t size,
                                            weft_error *error);

/* ---- Plans: a graph recorded by a device ---- */

typedef struct weft_plan weft_plan;
/* Fuses `graph`, orders its nodes, places its values and records it. The store is loaded, has all weights and states of the graph,
 * and an arena that is large enough: a graph given to weft_store_create fits. The graph may be destroyed after the call.
 * WEFT_CANCELLED: `stops` of the store's options returned true. */
WEFT_API weft_status weft_plan_create(weft_store *store, const weft_graph *graph, weft_plan **plan, weft_error *error);
/* Waits until the plan's submitted steps have ended. */
WEFT_API void weft_plan_destroy(weft_plan *plan);

typedef struct weft_plan_info {
    size_t n_phases;     /* nodes that are run */
    size_t n_dispatches; /* launches for a step, including those that move its inputs and results; 0: unknown */
    /* Bytes of weights that a step reads, in their layouts: of a table only the rows looked up, of experts a matrix each choice. */
    uint64_t weight_bytes;
    uint64_t arena_bytes;
    uint64_t recording_bytes; /* device memory of the recording itself; 0: unknown */
    size_t n_barriers;        /* of a step: how often the device waits for all launches so far; 0: unknown */
    uint64_t reserved[7];
} weft_plan_info;
WEFT_API void weft_plan_describe(const weft_plan *plan, weft_plan_info *info);

/* The number of a step. Within a store numbers rise in the order in which steps begin; 0 is never one. */
typedef uint64_t weft_ticket;

/* Begins a step in a free slot. `inputs` has room for a pointer to each step input, in the order in which they were added to the
 * graph. The pointers lead to zeroed host memory for the caller to fill, valid until the submit. WEFT_FULL: no slot is free. */
WEFT_API weft_status weft_plan_begin(weft_plan *plan, weft_ticket *ticket, void **inputs, weft_error *error);
/* Queues the step. Steps of a store run in the order in which they began, so each must be submitted. A failure frees the slot. */
WEFT_API weft_status weft_plan_submit(weft_plan *plan, weft_ticket ticket, weft_error *error);
/* Waits until the step has ended, for `timeout_ns` at most (UINT64_MAX: without limit; 0: no wait). Returns how it ended: WEFT_OK,
 * WEFT_CANCELLED or the failure; WEFT_TIMEOUT: it has not ended. On WEFT_OK `outputs` (NULL, or room for all results) receives host
 * pointers to the results, valid until the ticket is released. The CPU device runs its queue in the thread that waits. */
WEFT_API weft_status weft_plan_wait(weft_plan *plan, weft_ticket ticket, uint64_t timeout_ns, const void **outputs,
                                    weft_error *error);
/* Frees the slot of a step that has ended; does nothing for any other. */
WEFT_API void weft_plan_release(weft_plan *plan, weft_ticket ticket);
/* Drops all queued steps and stops running ones; their tickets end as WEFT_CANCELLED. Returns at once. A device can only stop all
 * its steps together. So while it also runs steps of another store, the cancelled ones run to their end and still count as
 * cancelled. A device that does not stop within 30 s counts as lost, so that a cancel ends every wait. */
WEFT_API void weft_store_cancel(weft_store *store);

/* Reads a value of the last step as plain F32 or I32, after all submitted steps have ended. The store has `keep`, `value` is a
 * value of weft_plan_graph, and `size` is 4 bytes for each of its elements. WEFT_UNSUPPORTED: a weight in another layout than the
 * file's, or a version of a state that a later node has overwritten. */
WEFT_API weft_status weft_plan_read(weft_plan *plan, weft_value value, void *into, size_t size, weft_error *error);
/* The graph that the plan runs, after fusion. The plan owns it. */
WEFT_API const weft_graph *weft_plan_graph(const weft_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
