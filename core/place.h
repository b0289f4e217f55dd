/* Memory placement: offsets in one arena for things that live during known spans of a schedule. */
#ifndef WEFT_CORE_PLACE_H
#define WEFT_CORE_PLACE_H

#include "weft/weft.h"

#define WEFT_PLACE_ALIGNMENT 64

/* Something that needs memory from phase `first` to phase `last`, both included. */
typedef struct weft_place_item {
    uint64_t bytes;
    int32_t first, last;
    int32_t replaces; /* an earlier item of the same size that ends in the phase where this one begins and may give it its memory,
                       * or -1 */
    uint64_t offset;  /* out: a multiple of the alignment */
} weft_place_item;

/* Chooses the offsets, so that no two items that live at once share memory but for those that replace one another, and tells the
 * arena's size. Each item can be replaced once: the first that asks gets it. `keep`: no two items share memory at all.
 * WEFT_OUT_OF_MEMORY; WEFT_UNSUPPORTED where the sizes add up to more than can be addressed. */
weft_status weft_place_items(weft_runtime *runtime, weft_place_item *items, size_t n_items, bool keep, uint64_t *total,
                             weft_error *error);

#endif
