/* Places the largest item first. Each item goes into the smallest sufficient gap between the placed items that live at the same
 * time ("greedy by size" of Pisarchyk and Lee 2020, Efficient Memory Management for Deep Neural Net Inference). A chain of items
 * that replace one another is placed as one item, which lives from the first's beginning to the last's end.
 */
#include "core/place.h"

#include <stdlib.h>

/* Items that share one place. */
typedef struct chain {
    uint64_t bytes, offset;
    int32_t first, last;
    int32_t item; /* the one that begins it: the order of chains of equal size, so that placement is the same everywhere */
} chain;

static uint64_t aligned(uint64_t bytes) {
    return (bytes + WEFT_PLACE_ALIGNMENT - 1) / WEFT_PLACE_ALIGNMENT * WEFT_PLACE_ALIGNMENT;
}

#define LARGEST_SUM ((uint64_t)1 << 60)

/* Every offset is at most the sum of all sizes, so that no later sum can overflow. */
static weft_status check_sizes(const weft_place_item *items, size_t n_items, weft_error *error) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n_items; i++) {
        if (items[i].bytes > LARGEST_SUM || sum > LARGEST_SUM) {
            return weft_fail(error, WEFT_UNSUPPORTED, "the values of a step need more memory than can be addressed");
        }
        sum += aligned(items[i].bytes);
    }
    return WEFT_OK;
}

static int by_size(const void *a, const void *b) {
    const chain *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Makes the chains, and sets chain_of for each item. Only the last item of a chain so far can be replaced. */
static size_t make_chains(const weft_place_item *items, size_t n_items, bool keep, chain *chains, int32_t *chain_of) {
    size_t n_chains = 0;
    for (size_t i = 0; i < n_items; i++) {
        const weft_place_item *item = &items[i];
        int32_t replaced = keep ? -1 : item->replaces;
        if (replaced >= 0 && (size_t)replaced < i && items[replaced].bytes == item->bytes && items[replaced].last == item->first &&
            chains[chain_of[replaced]].last == item->first) {
            chain_of[i] = chain_of[replaced];
            chains[chain_of[i]].last = item->last;
            continue;
        }
        chain_of[i] = (int32_t)n_chains;
        chains[n_chains++] = (chain){.bytes = aligned(item->bytes), .first = item->first, .last = item->last, .item = (int32_t)i};
    }
    return n_chains;
}

/* `placed` is sorted by offset. */
static void place_chain(chain *placed, size_t n_placed, chain *new_chain, bool keep) {
    uint64_t end = 0, best = UINT64_MAX, best_gap = UINT64_MAX;
    for (size_t i = 0; i < n_placed; i++) {
        const chain *other = &placed[i];
        if (!keep && (other->last < new_chain->first || other->first > new_chain->last)) continue;
        if (other->offset > end && other->offset - end >= new_chain->bytes && other->offset - end < best_gap) {
            best = end;
            best_gap = other->offset - end;
        }
        if (other->offset + other->bytes > end) end = other->offset + other->bytes;
    }
    new_chain->offset = best == UINT64_MAX ? end : best;
    size_t at = n_placed;
    for (; at > 0 && placed[at - 1].offset > new_chain->offset; at--) placed[at] = placed[at - 1];
    placed[at] = *new_chain;
}

weft_status weft_place_items(weft_runtime *runtime, weft_place_item *items, size_t n_items, bool keep, uint64_t *total,
                             weft_error *error) {
    *total = 0;
    if (n_items == 0) return WEFT_OK;
    weft_status status = check_sizes(items, n_items, error);
    if (status != WEFT_OK) return status;
    /* The chains, the same in the order of their offsets, and each item's chain. */
    chain *chains = weft_allocate(runtime, n_items * (2 * sizeof *chains + sizeof(int32_t)));
    if (!chains) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to place %zu values", n_items);
    chain *placed = chains + n_items;
    int32_t *chain_of = (int32_t *)(void *)(placed + n_items);
    size_t n_chains = make_chains(items, n_items, keep, chains, chain_of);
    qsort(chains, n_chains, sizeof *chains, by_size);
    for (size_t i = 0; i < n_chains; i++) {
        place_chain(placed, i, &chains[i], keep);
        uint64_t end = chains[i].offset + chains[i].bytes;
        if (end > *total) *total = end;
    }
    for (size_t i = 0; i < n_chains; i++) items[chains[i].item].offset = chains[i].offset;
    for (size_t i = 0; i < n_items; i++) { /* an item comes after the one it replaces */
        int32_t replaced = items[i].replaces;
        if (replaced >= 0 && (size_t)replaced < i && chain_of[i] == chain_of[replaced]) items[i].offset = items[replaced].offset;
    }
    weft_release(runtime, chains);
    return WEFT_OK;
}
