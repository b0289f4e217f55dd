/* The CPU backend's device and buffers, and the little that every other file of it uses. */
#ifndef WEFT_CPU_DEVICE_H
#define WEFT_CPU_DEVICE_H

#include "backends/cpu/exact.h"
#include "backends/cpu/kernels.h"
#include "backends/cpu/pool.h"

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
};

/* NULL if the input or output is absent, and in a question. */
static inline void *weft_cpu_data(const weft_place *place) {
    return (void *)(uintptr_t)place->address;
}

static inline weft_cpu_matrix weft_cpu_matrix_of(const weft_place *place) {
    const weft_tensor *tensor = &place->tensor;
    return (weft_cpu_matrix){tensor->type, place->layout, tensor->shape[0], tensor->shape[1] * tensor->shape[2] * tensor->shape[3],
                             weft_cpu_data(place)};
}

/* Allocates pieces of a phase's scratch, aligned to 64 bytes; with `base` NULL it only counts their bytes. */
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

#endif
