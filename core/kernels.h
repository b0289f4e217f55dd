/* The third pass over a graph, after the weights' layouts are known. It chooses each node's kernel, and the storage of each value
 * between nodes so that the kernels on both sides can use it. Nothing else chooses either. */
#ifndef WEFT_CORE_KERNELS_H
#define WEFT_CORE_KERNELS_H

#include "core/query.h"
#include "core/residents.h"

typedef struct weft_kernels {
    weft_runtime *runtime;
    const weft_graph *graph;
    weft_precision precision;
    const weft_residents *residents;
    const weft_forced_kernels *forced; /* or NULL */
    weft_support *supports;            /* of each node; all zeros for leaves */
    weft_storage *storages;            /* of each value */
} weft_kernels;

/* Asks the device about each node. A node that cannot run gets `supported` false, which is not an error. `graph`, `residents` and
 * `forced` must outlive the result. */
weft_status weft_kernels_choose(weft_device *device, const weft_graph *graph, weft_precision precision,
                                const weft_residents *residents, const weft_forced_kernels *forced, weft_kernels *kernels,
                                weft_error *error);
void weft_kernels_release(weft_kernels *kernels);

/* A node with its layouts and storages, as a question or for a schedule, which adds the places in memory. `phase` points to the
 * node's parameters. */
void weft_kernels_phase(const weft_kernels *kernels, const weft_core_node *node, weft_phase *phase);

/* Reports each row of the device's table for the node's op. */
weft_status weft_kernels_list(weft_device *device, const weft_kernels *kernels, const weft_core_node *node,
                              weft_status (*report)(void *user, const weft_node_support *kernel), void *user);

/* The bytes of a stored value with its companion, and the offset of the companion. */
uint64_t weft_storage_bytes(const weft_tensor *tensor, const weft_storage *storage);
uint64_t weft_storage_companion_offset(const weft_tensor *tensor, const weft_storage *storage);
/* Applies the scales behind `raw`, the value as it is stored, to its elements as F32. */
void weft_storage_scale(const weft_tensor *tensor, const weft_storage *storage, const void *raw, float *values);
/* "F32", "F16 + sums of squares / 16"; returns `text`. */
const char *weft_storage_text(const weft_storage *storage, char *text, size_t size);

#endif
