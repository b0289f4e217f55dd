/* NVIDIA's driver library, opened at run time: the few types and numbers of its ABI that the backend needs (CUDA driver API
 * reference), so that neither headers nor libraries of the toolkit are needed to build or to run. */
#ifndef WEFT_CUDA_DRIVER_H
#define WEFT_CUDA_DRIVER_H

#include "os/os.h"
#include "weft/backend.h"

typedef int weft_cuda_result;
typedef struct weft_cuda_context_handle *weft_cuda_context;
typedef struct weft_cuda_stream_handle *weft_cuda_stream;
typedef struct weft_cuda_event_handle *weft_cuda_event;
typedef struct weft_cuda_module_handle *weft_cuda_module;
typedef struct weft_cuda_function_handle *weft_cuda_function;
typedef struct weft_cuda_graph_handle *weft_cuda_graph;
typedef struct weft_cuda_node_handle *weft_cuda_node;
typedef struct weft_cuda_recording_handle *weft_cuda_recording; /* an instantiated graph */

/* CUDA_KERNEL_NODE_PARAMS, first version. */
typedef struct weft_cuda_kernel_node {
    weft_cuda_function function;
    unsigned grid[3], block[3];
    unsigned shared_bytes;
    void **arguments;
    void **extra;
} weft_cuda_kernel_node;

/* CUgraphEdgeData. */
typedef struct weft_cuda_edge {
    uint8_t from_port, to_port, type, reserved[5];
} weft_cuda_edge;

/* A kernel that may start before the one ahead has ended: CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC,
 * CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC. */
#define WEFT_CUDA_EARLY_EDGE ((weft_cuda_edge){.from_port = 1, .type = 1})

enum { /* CUresult */
       WEFT_CUDA_SUCCESS = 0,
       WEFT_CUDA_OUT_OF_MEMORY = 2,
       WEFT_CUDA_NO_DEVICE = 100,
       WEFT_CUDA_NOT_READY = 600
};

enum { /* CUdevice_attribute */
       WEFT_CUDA_MULTIPROCESSORS = 16,
       WEFT_CUDA_INTEGRATED = 18,
       WEFT_CUDA_CAPABILITY_MAJOR = 75,
       WEFT_CUDA_CAPABILITY_MINOR = 76,
       WEFT_CUDA_SHARED_BYTES = 97 /* that a block can have, if its kernel asks for so many */
};

enum { /* CUfunction_attribute */
       WEFT_CUDA_FUNCTION_SHARED_BYTES = 8,
       WEFT_CUDA_FUNCTION_CARVEOUT = 9 /* percent of a multiprocessor's cache to become shared memory */
};

#define WEFT_CUDA_PLAIN_SHARED_BYTES 49152 /* which a block can have without asking */

#define WEFT_CUDA_CONTEXT_BLOCKING 0x04u /* waits sleep */
#define WEFT_CUDA_CONTEXT_MAP_HOST 0x08u
#define WEFT_CUDA_STREAM_NON_BLOCKING 0x1u
#define WEFT_CUDA_EVENT_BLOCKING 0x1u
#define WEFT_CUDA_EVENT_NO_TIMING 0x2u
#define WEFT_CUDA_HOST_MAPPED 0x2u

#define WEFT_CUDA_OLDEST_DRIVER 11040 /* 11.4: graph instantiation with flags */

typedef struct weft_cuda_driver {
    weft_os_library library;
#define WEFT_CUDA_SYMBOL(member, name, arguments) weft_cuda_result(*member) arguments;
#define WEFT_CUDA_NEWER_SYMBOL(member, name, arguments) WEFT_CUDA_SYMBOL(member, name, arguments) /* NULL in an older driver */
#include "backends/cuda/driver.def"
#undef WEFT_CUDA_NEWER_SYMBOL
#undef WEFT_CUDA_SYMBOL
} weft_cuda_driver;

/* Opens the library and starts the driver. WEFT_NOT_FOUND without a driver, WEFT_UNSUPPORTED where it is too old or does not start.
 * On success the library stays loaded until the process ends: the driver leaves threads and exit handlers behind. */
weft_status weft_cuda_driver_open(const weft_host *host, weft_cuda_driver *driver, weft_error *error);

/* WEFT_OUT_OF_MEMORY, WEFT_DEVICE_LOST for what leaves a context unusable, else WEFT_FAILED. */
weft_status weft_cuda_status(weft_cuda_result result);
/* "out of memory (CUDA_ERROR_OUT_OF_MEMORY)" */
void weft_cuda_describe(const weft_cuda_driver *driver, weft_cuda_result result, char *text, size_t size);
/* Fails with the translated status and "cuda: cannot WHAT: ...". WEFT_CUDA_SUCCESS is WEFT_OK. */
weft_status weft_cuda_check(const weft_host *host, const weft_cuda_driver *driver, weft_cuda_result result, const char *what,
                            weft_error *error);

#endif
