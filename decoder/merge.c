#include "decoder/merge.h"

#include <string.h>

#define MERGED_AWAY (-2)

/* The number of merges between two checks for a cancel, in a long piece; a power of two. */
#define LOOK_EVERY 4096

static bool is_cancelled(const weft_merger *merger, size_t turn) {
    return turn % LOOK_EVERY == 0 && weft_token_cancelled(merger->cancelled);
}

void weft_merger_init(weft_merger *merger, weft_runtime *runtime, const atomic_bool *cancelled) {
    merger->runtime = runtime;
    merger->cancelled = cancelled;
    merger->symbols = merger->symbols_inside;
    merger->queue = merger->queue_inside;
    merger->capacity = merger->queue_capacity = WEFT_SYMBOLS_INSIDE;
    weft_merger_begin(merger, 0);
}

void weft_merger_clear(weft_merger *merger) {
    if (merger->symbols != merger->symbols_inside) weft_release(merger->runtime, merger->symbols);
    if (merger->queue != merger->queue_inside) weft_release(merger->runtime, merger->queue);
}

void weft_merger_begin(weft_merger *merger, uint32_t text_size) {
    merger->n_symbols = merger->n_queued = 0;
    merger->text_size = text_size;
}

/* Doubles an array that began inside the merger. */
static void *grow(weft_merger *merger, void *items, const void *inside, size_t *capacity, size_t item_size) {
    size_t old_size = *capacity * item_size;
    void *grown;
    if (items == inside) {
        grown = weft_allocate(merger->runtime, 2 * old_size);
        if (grown) memcpy(grown, items, old_size);
    } else {
        grown = weft_reallocate(merger->runtime, items, old_size, 2 * old_size);
    }
    if (grown) *capacity *= 2;
    return grown;
}

weft_status weft_merger_add(weft_merger *merger, weft_token token, uint32_t start, weft_error *error) {
    if (is_cancelled(merger, merger->n_symbols)) return WEFT_CANCELLED;
    if (merger->n_symbols == merger->capacity) {
        weft_symbol *grown = grow(merger, merger->symbols, merger->symbols_inside, &merger->capacity, sizeof *grown);
        if (!grown) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to tokenize a piece of %u bytes", merger->text_size);
        merger->symbols = grown;
    }
    uint32_t index = (uint32_t)merger->n_symbols++;
    if (index) merger->symbols[index - 1].next = index;
    merger->symbols[index] = (weft_symbol){token, start, index ? index - 1 : WEFT_NO_SYMBOL, WEFT_NO_SYMBOL};
    return WEFT_OK;
}

uint32_t weft_merger_end(const weft_merger *merger, const weft_symbol *symbol) {
    return symbol->next == WEFT_NO_SYMBOL ? merger->text_size : merger->symbols[symbol->next].start;
}

static bool pair_at(const weft_merger *merger, uint32_t index, uint32_t *order, weft_token *token) {
    const weft_symbol *left = &merger->symbols[index];
    if (left->next == WEFT_NO_SYMBOL) return false;
    const weft_symbol *right = &merger->symbols[left->next];
    return merger->pair(merger->user, left, right, weft_merger_end(merger, right), order, token);
}

/* Children of entry i are WIDTH * i + 1 .. WIDTH * i + WIDTH: a wide heap touches fewer cache lines than a binary one. */
#define WIDTH 8

static void sift_down(uint64_t *queue, size_t n, size_t at) {
    uint64_t entry = queue[at];
    for (size_t first; (first = WIDTH * at + 1) < n;) {
        size_t min = first, end = n - first < WIDTH ? n : first + WIDTH;
        for (size_t child = first + 1; child < end; child++) min = queue[child] < queue[min] ? child : min;
        if (entry <= queue[min]) break;
        queue[at] = queue[min];
        at = min;
    }
    queue[at] = entry;
}

static weft_status queue_append(weft_merger *merger, uint64_t entry, weft_error *error) {
    if (merger->n_queued == merger->queue_capacity) {
        uint64_t *grown = grow(merger, merger->queue, merger->queue_inside, &merger->queue_capacity, sizeof *grown);
        if (!grown) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to tokenize a piece of %u bytes", merger->text_size);
        merger->queue = grown;
    }
    merger->queue[merger->n_queued++] = entry;
    return WEFT_OK;
}

static weft_status queue_push(weft_merger *merger, uint64_t entry, weft_error *error) {
    weft_status status = queue_append(merger, entry, error);
    if (status != WEFT_OK) return status;
    uint64_t *queue = merger->queue;
    size_t at = merger->n_queued - 1;
    for (; at && entry < queue[(at - 1) / WIDTH]; at = (at - 1) / WIDTH) queue[at] = queue[(at - 1) / WIDTH];
    queue[at] = entry;
    return WEFT_OK;
}

static uint64_t queue_pop(weft_merger *merger) {
    uint64_t first = merger->queue[0];
    merger->queue[0] = merger->queue[--merger->n_queued];
    if (merger->n_queued) sift_down(merger->queue, merger->n_queued, 0);
    return first;
}

static weft_status fill_queue(weft_merger *merger, weft_error *error) {
    for (uint32_t i = 0; i + 1 < merger->n_symbols; i++) {
        if (is_cancelled(merger, i)) return WEFT_CANCELLED;
        uint32_t order;
        weft_token token;
        weft_status status = pair_at(merger, i, &order, &token) ? queue_append(merger, (uint64_t)order << 32 | i, error) : WEFT_OK;
        if (status != WEFT_OK) return status;
    }
    for (size_t i = merger->n_queued; i-- > 0;) /* leaves first: nothing to do for them */
        if (WIDTH * i + 1 < merger->n_queued) sift_down(merger->queue, merger->n_queued, i);
    return WEFT_OK;
}

weft_status weft_merger_run(weft_merger *merger, weft_error *error) {
    weft_status status = fill_queue(merger, error);
    for (size_t turn = 0; status == WEFT_OK && merger->n_queued; turn++) {
        if (is_cancelled(merger, turn)) return WEFT_CANCELLED;
        uint64_t entry = queue_pop(merger);
        uint32_t index = (uint32_t)entry, order;
        weft_symbol *left = &merger->symbols[index];
        weft_token token;
        /* A queue entry is stale if one of its symbols has merged with another since. */
        if (left->token == MERGED_AWAY || !pair_at(merger, index, &order, &token) || order != entry >> 32) continue;
        weft_symbol *right = &merger->symbols[left->next];
        left->token = token;
        left->next = right->next;
        right->token = MERGED_AWAY;
        if (left->next != WEFT_NO_SYMBOL) merger->symbols[left->next].previous = index;
        if (pair_at(merger, index, &order, &token)) status = queue_push(merger, (uint64_t)order << 32 | index, error);
        if (status == WEFT_OK && left->previous != WEFT_NO_SYMBOL && pair_at(merger, left->previous, &order, &token))
            status = queue_push(merger, (uint64_t)order << 32 | left->previous, error);
    }
    return status;
}
