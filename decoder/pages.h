/* The pool of KV-cache pages. Sequences can share pages: a page is given back when the last of its sequences gives it. It is free
 * once the last step that reads or writes it has ended. Steps are numbered from 1 in the order in which they were queued.
 *
 * A page whose keys and values are complete can have a name: of its tokens and all tokens before it. Another sequence finds it by
 * its tokens, and uses it too. Named pages are kept after the last sequence has given them, up to a bound, and are taken when there
 * are no free ones, the one that was given first. Nobody writes to a page that several sequences use, or to one with a name. */
#ifndef WEFT_DECODER_PAGES_H
#define WEFT_DECODER_PAGES_H

#include "weft/decoder.h"

typedef struct weft_page_waiting {
    int32_t page;
    uint64_t step;
} weft_page_waiting;

typedef struct weft_page_entry {
    uint64_t name;  /* never used twice; 0: none */
    uint64_t after; /* the name of the page with the tokens before; 0: there are none */
    uint64_t group; /* of the sequences that may use it */
    int32_t next;   /* with the same hash; -1: none */
    bool is_kept;
    int32_t older, newer; /* of the kept pages; -1: none */
} weft_page_entry;

typedef struct weft_pages {
    weft_runtime *runtime;
    int32_t n_pages, n_free, n_waiting, first_waiting;
    int32_t *free;              /* a stack */
    weft_page_waiting *waiting; /* a ring, in the order of their steps: given back, but still in use by a step */
    uint64_t ended;             /* the last step that has ended */
    int32_t *n_users;           /* sequences that have the page */
    int32_t *seen;              /* n_pages, for counting */
    int32_t page_size, max_kept;
    int32_t n_kept, oldest, newest;
    weft_page_entry *entries; /* NULL: no page has a name */
    weft_token *tokens;       /* n_pages * page_size: of those with names */
    int32_t *buckets, n_buckets;
    uint64_t n_names;
} weft_pages;

/* `max_kept`: pages that no sequence has and that are kept; negative: pages have no names. */
weft_status weft_pages_create(weft_pages *pages, weft_runtime *runtime, int32_t n_pages, int32_t page_size, int32_t max_kept,
                              weft_error *error);
void weft_pages_destroy(weft_pages *pages);

/* Those that can be taken now. */
static inline int32_t weft_pages_available(const weft_pages *pages) {
    return pages->n_free + pages->n_kept;
}

/* Takes n pages or none: WEFT_OUT_OF_PAGES. */
weft_status weft_pages_take(weft_pages *pages, int32_t n, int32_t *taken, weft_error *error);
/* One sequence less has the page. `last_step` is the last queued one that may use it. */
void weft_pages_give(weft_pages *pages, int32_t page, uint64_t last_step);
/* Steps up to this one have ended. */
void weft_pages_step_ended(weft_pages *pages, uint64_t step);
/* One sequence more has the page, which another one has. */
void weft_pages_share(weft_pages *pages, int32_t page);

/* The name of these tokens after those of page name `after`: the page gets it, unless there is a page of that name already. 0:
 * pages have no names, or it has another. */
uint64_t weft_pages_name(weft_pages *pages, int32_t page, uint64_t after, uint64_t group, const weft_token *tokens);
/* The page with these tokens. -1: there is none. */
int32_t weft_pages_look(const weft_pages *pages, uint64_t after, uint64_t group, const weft_token *tokens);
/* The same, and one sequence more has the page. */
int32_t weft_pages_find(weft_pages *pages, uint64_t after, uint64_t group, const weft_token *tokens);
/* It will be written to, or its keys and values are lost. */
void weft_pages_unname(weft_pages *pages, int32_t page);
void weft_pages_unname_all(weft_pages *pages);

#endif
