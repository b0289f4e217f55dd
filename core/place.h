/* Memory placement: offsets in an arena for items whose lifetimes in a schedule are known. */
#ifndef WEFT_CORE_PLACE_H
#define WEFT_CORE_PLACE_H

#include "weft/weft.h"

#define WEFT_PLACE_ALIGNMENT 64

/* Something that needs memory from phase `first` to phase `last`, both included. */
typedef struct weft_place_item {
    uint64_t bytes;
    int32_t first, last;
    int32_t replaces; /* an earlier item of the same size, ending in the phase where this one begins, whose memory this item may
                         use; or -1 */
    uint64_t offset;  /* out: a multiple of the alignment */
} weft_place_item;

/* Chooses the offsets and returns the arena's size. Items that live at the same time do not share memory, except that an item may
 * take over the memory of the item it replaces. An item can be replaced once, by the first item that asks for it. `keep`: no items
 * share memory. WEFT_OUT_OF_MEMORY; WEFT_UNSUPPORTED where the sizes add up to more than can be addressed. */
weft_status weft_place_items(weft_runtime *runtime, weft_place_item *items, size_t n_items, bool keep, uint64_t *total,
                             weft_error *error);

#endif
