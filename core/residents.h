/* Weights and states of graphs: what lives on a device from step to step. */
#ifndef WEFT_CORE_RESIDENTS_H
#define WEFT_CORE_RESIDENTS_H

#include "core/graph.h"
#include "core/runtime.h"
#include "core/slice.h"

typedef struct weft_resident {
    char name[WEFT_NAME_SIZE];
    weft_leaf leaf;
    weft_tensor tensor;
    weft_slice *slice;  /* of a weight that is one */
    weft_layout layout; /* of a state: the file's */
    size_t owner;       /* the resident whose place it shares: itself, or the first member of those with one layout */
    uint32_t member, n_members;
    size_t buffer; /* its place in a store */
    uint64_t offset;
} weft_resident;

typedef struct weft_residents {
    weft_runtime *runtime;
    weft_resident *items; /* in the order of first use */
    size_t n;
    uint32_t *by_name; /* their numbers, sorted by name */
} weft_residents;

/* Collects the weights and states of `graphs`, which must agree about them; layouts are not chosen yet. A failure leaves nothing
 * behind. */
weft_status weft_residents_collect(weft_runtime *runtime, const weft_graph *const *graphs, size_t n_graphs,
                                   weft_residents *residents, weft_error *error);
void weft_residents_release(weft_residents *residents);

/* The resident with that name, or NULL. */
weft_resident *weft_residents_find(const weft_residents *residents, const char *name);
/* That of a weight, a state or a state's version. */
weft_resident *weft_residents_of(const weft_residents *residents, const weft_graph *graph, weft_value value);

bool weft_tensor_same(const weft_tensor *a, const weft_tensor *b);

#endif
