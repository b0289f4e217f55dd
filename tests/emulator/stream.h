/* Streams of the emulated device: queued work runs in order, in a thread of the stream's own. */
#ifndef WEFT_EMULATOR_STREAM_H
#define WEFT_EMULATOR_STREAM_H

#include "backends/cuda/driver.h"
#include "tests/emulator/emulator.h"

#define EXPORT __attribute__((visibility("default")))

/* A call of the driver fails as long as the device is broken. */
#define ENTER()                                                                                                                    \
    do {                                                                                                                           \
        int failure = weft_emulated_broken();                                                                                      \
        if (failure != 0) return failure;                                                                                          \
    } while (0)

struct weft_cuda_module_handle {
    void *library;
    int file; /* that it was opened from */
    weft_cuda_function functions;
};

struct weft_cuda_function_handle {
    const weft_emulated_kernel *kernel;
    uint32_t *(*shared)(void);
    int number; /* of its name */
    struct weft_cuda_function_handle *next;
};

struct weft_cuda_event_handle {
    uint64_t recorded, reached; /* how often */
    uint64_t when;              /* ns */
};

/* A kernel with its argument, and which of its graph's nodes come before it. */
struct weft_cuda_node_handle {
    weft_cuda_function function;
    weft_emulated_index grid, block;
    uint32_t shared_bytes;
    void *argument;
    size_t *after;
    size_t n_after, index;
    struct weft_cuda_node_handle *next;
};

struct weft_cuda_graph_handle {
    weft_cuda_node first;
    weft_cuda_node *last;
    size_t n_nodes;
};

struct weft_cuda_recording_handle {
    weft_cuda_node *nodes;
    size_t n_nodes;
    uint64_t n_queued; /* launches that have not ended */
};

typedef struct weft_emulated_work {
    enum { WORK_COPY, WORK_FILL, WORK_EVENT, WORK_GRAPH, WORK_KERNEL } kind;
    void *to;
    const void *from;
    size_t bytes;
    unsigned char value;
    weft_cuda_event event;
    weft_cuda_recording recording;
    weft_cuda_node node; /* of a launch without a graph; owned */
    struct weft_emulated_work *next;
} weft_emulated_work;

weft_cuda_stream weft_emulated_stream_create(void); /* NULL: no memory or thread */
void weft_emulated_stream_destroy(weft_cuda_stream stream);
/* Queues a copy of `work`. False: no memory. */
bool weft_emulated_stream_add(weft_cuda_stream stream, const weft_emulated_work *work);
void weft_emulated_stream_drain(weft_cuda_stream stream);
bool weft_emulated_stream_is_idle(weft_cuda_stream stream);
/* Waits for an event, where it was recorded. */
void weft_emulated_event_wait(weft_cuda_event event);
void weft_emulated_recording_drain(weft_cuda_recording recording);
void weft_emulated_node_free(weft_cuda_node node);
/* Counts a launch, or a node of a graph. */
void weft_emulated_count_node(const struct weft_cuda_function_handle *function);
/* How many of them a kernel has had. For tests, which find it in the library. */
EXPORT unsigned weft_emulated_nodes(const char *name);

/* The error that every call returns after a kernel failed; success before. */
int weft_emulated_broken(void);

#endif
