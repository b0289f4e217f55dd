/* The second pass over fused graphs: one layout for each weight, from all its uses. */
#ifndef WEFT_CORE_LAYOUTS_H
#define WEFT_CORE_LAYOUTS_H

#include "core/query.h"
#include "core/residents.h"

/* Collects the weights and states of `graphs` and sets the layout of each, and which of them share one: the one place where a
 * layout is chosen. `forced` may be NULL. A failure leaves nothing behind. */
weft_status weft_layouts_make(weft_device *device, const weft_graph *const *graphs, size_t n_graphs, weft_precision precision,
                              const weft_forced_kernels *forced, weft_residents *residents, weft_error *error);

#endif
