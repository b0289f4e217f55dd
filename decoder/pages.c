/* The pool of KV-cache pages. */
#include "decoder/pages.h"

#include <string.h>

#include "decoder/hash.h"

static int32_t buckets_for(int32_t n_pages) {
    int32_t n = 1;
    while (n < n_pages) n *= 2;
    return n;
}

static bool allocate_names(weft_pages *pages) {
    size_t n = (size_t)pages->n_pages;
    pages->n_buckets = buckets_for(pages->n_pages);
    pages->entries = weft_allocate(pages->runtime, n * sizeof *pages->entries);
    pages->tokens = weft_allocate(pages->runtime, n * (size_t)pages->page_size * sizeof *pages->tokens);
    pages->buckets = weft_allocate(pages->runtime, (size_t)pages->n_buckets * sizeof *pages->buckets);
    for (int32_t i = 0; pages->buckets && i < pages->n_buckets; i++) pages->buckets[i] = -1;
    return pages->entries && pages->tokens && pages->buckets;
}

weft_status weft_pages_create(weft_pages *pages, weft_runtime *runtime, int32_t n_pages, int32_t page_size, int32_t max_kept,
                              weft_error *error) {
    size_t n = (size_t)n_pages;
    *pages = (weft_pages){.runtime = runtime,
                          .n_pages = n_pages,
                          .n_free = n_pages,
                          .page_size = page_size,
                          .max_kept = max_kept,
                          .oldest = -1,
                          .newest = -1};
    pages->free = weft_allocate(runtime, n * sizeof *pages->free);
    pages->waiting = weft_allocate(runtime, n * sizeof *pages->waiting);
    pages->n_users = weft_allocate(runtime, n * sizeof *pages->n_users);
    pages->seen = weft_allocate(runtime, n * sizeof *pages->seen);
    if (!pages->free || !pages->waiting || !pages->n_users || !pages->seen || (max_kept >= 0 && !allocate_names(pages))) {
        weft_pages_destroy(pages);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the list of %d KV-cache pages", (int)n_pages);
    }
    /* The lowest page is taken first. */
    for (int32_t i = 0; i < n_pages; i++) pages->free[i] = n_pages - 1 - i;
    return WEFT_OK;
}

void weft_pages_destroy(weft_pages *pages) {
    weft_release(pages->runtime, pages->free);
    weft_release(pages->runtime, pages->waiting);
    weft_release(pages->runtime, pages->n_users);
    weft_release(pages->runtime, pages->seen);
    weft_release(pages->runtime, pages->entries);
    weft_release(pages->runtime, pages->tokens);
    weft_release(pages->runtime, pages->buckets);
    *pages = (weft_pages){.runtime = pages->runtime};
}

/* ---- Kept pages ---- */

static void keep(weft_pages *pages, int32_t page) {
    weft_page_entry *entry = &pages->entries[page];
    entry->is_kept = true;
    entry->older = pages->newest;
    entry->newer = -1;
    if (pages->newest >= 0)
        pages->entries[pages->newest].newer = page;
    else
        pages->oldest = page;
    pages->newest = page;
    pages->n_kept++;
}

static void keep_no_longer(weft_pages *pages, int32_t page) {
    weft_page_entry *entry = &pages->entries[page];
    if (entry->older >= 0)
        pages->entries[entry->older].newer = entry->newer;
    else
        pages->oldest = entry->newer;
    if (entry->newer >= 0)
        pages->entries[entry->newer].older = entry->older;
    else
        pages->newest = entry->older;
    entry->is_kept = false;
    pages->n_kept--;
}

static void free_oldest(weft_pages *pages) {
    int32_t page = pages->oldest;
    weft_pages_unname(pages, page); /* which frees it */
}

/* No sequence has the page and no step uses it. */
static void settle(weft_pages *pages, int32_t page) {
    if (!pages->entries || pages->entries[page].name == 0) {
        pages->free[pages->n_free++] = page;
        return;
    }
    keep(pages, page);
    if (pages->n_kept > pages->max_kept) free_oldest(pages);
}

/* ---- Taking and giving ---- */

weft_status weft_pages_take(weft_pages *pages, int32_t n, int32_t *taken, weft_error *error) {
    if (n > weft_pages_available(pages))
        return weft_fail(error, WEFT_OUT_OF_PAGES, "%d KV-cache pages are needed and %d of %d are free", (int)n,
                         (int)weft_pages_available(pages), (int)pages->n_pages);
    while (n > pages->n_free) free_oldest(pages);
    for (int32_t i = 0; i < n; i++) {
        taken[i] = pages->free[--pages->n_free];
        pages->n_users[taken[i]] = 1;
    }
    return WEFT_OK;
}

void weft_pages_give(weft_pages *pages, int32_t page, uint64_t last_step) {
    if (--pages->n_users[page] > 0) return;
    if (last_step <= pages->ended) {
        settle(pages, page);
        return;
    }
    int32_t place = (int32_t)(((int64_t)pages->first_waiting + pages->n_waiting) % pages->n_pages);
    pages->waiting[place] = (weft_page_waiting){.page = page, .step = last_step};
    pages->n_waiting++;
}

void weft_pages_step_ended(weft_pages *pages, uint64_t step) {
    if (step > pages->ended) pages->ended = step;
    while (pages->n_waiting > 0 && pages->waiting[pages->first_waiting].step <= pages->ended) {
        int32_t page = pages->waiting[pages->first_waiting].page;
        pages->first_waiting = (pages->first_waiting + 1) % pages->n_pages;
        pages->n_waiting--;
        settle(pages, page);
    }
}

void weft_pages_share(weft_pages *pages, int32_t page) {
    pages->n_users[page]++;
}

/* ---- Names ---- */

static int32_t *bucket_of(const weft_pages *pages, uint64_t after, uint64_t group, const weft_token *tokens) {
    weft_hash hash = {.value = after};
    weft_hash_add(&hash, &group, sizeof group);
    weft_hash_add(&hash, tokens, (size_t)pages->page_size * sizeof *tokens);
    uint64_t value = weft_hash_value(&hash);
    return &pages->buckets[(value ^ value >> 32) & (uint64_t)(pages->n_buckets - 1)];
}

static weft_token *tokens_of(const weft_pages *pages, int32_t page) {
    return pages->tokens + (size_t)page * (size_t)pages->page_size;
}

/* All tokens are compared, so another text is never taken for this one. */
static int32_t look_up(const weft_pages *pages, uint64_t after, uint64_t group, const weft_token *tokens) {
    int32_t page = *bucket_of(pages, after, group, tokens);
    for (; page >= 0; page = pages->entries[page].next) {
        const weft_page_entry *entry = &pages->entries[page];
        if (entry->after == after && entry->group == group &&
            memcmp(tokens_of(pages, page), tokens, (size_t)pages->page_size * sizeof *tokens) == 0)
            return page;
    }
    return -1;
}

uint64_t weft_pages_name(weft_pages *pages, int32_t page, uint64_t after, uint64_t group, const weft_token *tokens) {
    if (!pages->entries) return 0;
    int32_t found = look_up(pages, after, group, tokens);
    if (found >= 0) return pages->entries[found].name;
    int32_t *bucket = bucket_of(pages, after, group, tokens);
    weft_page_entry *entry = &pages->entries[page];
    if (entry->name != 0) return 0; /* in another group */
    *entry = (weft_page_entry){.name = ++pages->n_names, .after = after, .group = group, .next = *bucket};
    memcpy(tokens_of(pages, page), tokens, (size_t)pages->page_size * sizeof *tokens);
    *bucket = page;
    return entry->name;
}

int32_t weft_pages_look(const weft_pages *pages, uint64_t after, uint64_t group, const weft_token *tokens) {
    int32_t page = pages->entries ? look_up(pages, after, group, tokens) : -1;
    bool waits = page >= 0 && pages->n_users[page] == 0 && !pages->entries[page].is_kept; /* for a step */
    return waits ? -1 : page;
}

int32_t weft_pages_find(weft_pages *pages, uint64_t after, uint64_t group, const weft_token *tokens) {
    int32_t page = weft_pages_look(pages, after, group, tokens);
    if (page < 0) return -1;
    if (pages->entries[page].is_kept) keep_no_longer(pages, page);
    pages->n_users[page]++;
    return page;
}

void weft_pages_unname(weft_pages *pages, int32_t page) {
    if (!pages->entries || pages->entries[page].name == 0) return;
    weft_page_entry *entry = &pages->entries[page];
    int32_t *place = bucket_of(pages, entry->after, entry->group, tokens_of(pages, page));
    while (*place != page) place = &pages->entries[*place].next;
    *place = entry->next;
    entry->name = 0;
    if (!entry->is_kept) return;
    keep_no_longer(pages, page);
    pages->free[pages->n_free++] = page;
}

void weft_pages_unname_all(weft_pages *pages) {
    for (int32_t page = 0; page < pages->n_pages; page++) weft_pages_unname(pages, page);
}
