/* The second pass over fused graphs: one layout for each weight, from all its uses. */
#ifndef WEFT_CORE_LAYOUTS_H
#define WEFT_CORE_LAYOUTS_H

#include "core/query.h"
#include "core/residents.h"

/* Collects the weights and states of `graphs`, chooses the layout of each, and decides which weights share one. Nothing else
 * chooses a layout. `forced` may be NULL. After a failure there is nothing to free. */
weft_status weft_layouts_make(weft_device *device, const weft_graph *const *graphs, size_t n_graphs, weft_precision precision,
                              const weft_forced_kernels *forced, weft_residents *residents, weft_error *error);

#endif
