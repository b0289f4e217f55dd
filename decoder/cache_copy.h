/* Keys and values of a session as bytes in host memory: read from the pages of one engine, written to those of another. */
#ifndef WEFT_DECODER_CACHE_COPY_H
#define WEFT_DECODER_CACHE_COPY_H

#include "decoder/engine.h"

/* What the keys and values of a cache are. Those of one engine are right in another only if both kinds are equal. */
typedef struct weft_cache_kind {
    uint64_t model; /* weft_model_identity */
    int32_t precision, type, n_layers, n_kv_heads, head_dim;
    int32_t is_long;    /* positions are rotated as in contexts that are longer than the model's original one */
    int32_t n_windowed; /* layers with windows, in a model that has other layers too; follows from the model */
} weft_cache_kind;

weft_status weft_cache_kind_of(const weft_engine *engine, weft_cache_kind *kind, weft_error *error);
/* Of a page of so many positions: in all layers if it is complete, and otherwise without those that n_windowed counts. */
size_t weft_cache_page_bytes(const weft_cache_kind *kind, int32_t page_size, bool complete);

/* Both with the mutex held. No thread begins a step between them; `pause` waits for the one that runs. */
void weft_engine_pause(weft_engine *engine);
void weft_engine_resume(weft_engine *engine);

typedef enum weft_cache_found {
    WEFT_CACHE_LOST,       /* the session has not the page any more */
    WEFT_CACHE_INCOMPLETE, /* it has no page for the layers with windows */
    WEFT_CACHE_COMPLETE
} weft_cache_found;

/* Reads page `index` of the session's pages. Its first `count` positions hold the first tokens of the session, of which none
 * changes meanwhile; the bytes of its other positions are zeros. There must be room for a complete page. Without the mutex. */
weft_status weft_cache_read(weft_session *session, const weft_cache_kind *kind, int32_t index, int32_t count, void *into,
                            weft_cache_found *found, weft_error *error);

/* Gives pages to an idle session that has none yet. Other sessions may take them away again at any time; then no more are written.
 */
typedef struct weft_cache_writer {
    weft_session *session;
    weft_cache_kind kind;
    unsigned char *page; /* of the session's engine; weft_cache_writer_end releases it */
    int32_t n_positions; /* that were given */
    int32_t n_written;   /* whose page is in the cache */
    int32_t n_lacking;   /* the first ones, for which layers with windows have not been given everything */
    bool stopped;        /* there are no more pages */
    weft_error *error;
} weft_cache_writer;

weft_status weft_cache_writer_begin(weft_cache_writer *writer, weft_session *session, const weft_cache_kind *kind,
                                    weft_error *error);
/* The next `count` positions, which are the first of a page of `page_size`. */
weft_status weft_cache_write(weft_cache_writer *writer, const unsigned char *page, int32_t page_size, int32_t count, bool complete);
/* Writes the last page, if `status` is WEFT_OK, and returns the status of everything. `reason`: why not all was written; otherwise
 * it is left as it is. */
weft_status weft_cache_writer_end(weft_cache_writer *writer, weft_status status, const char **reason);

/* Gives the copy, a new session of the same engine with the same first tokens and whole pages, a page with the positions after
 * those. Where a step runs, or there is no page or memory, or the device fails, it does nothing: the rows run instead. Nobody adds
 * to the two meanwhile. Without the mutex. */
void weft_cache_copy_rest(const weft_session *session, weft_session *copy);

/* Why keys and values of one kind cannot be used where the other kind is needed; NULL: they can. */
const char *weft_cache_kinds_differ(const weft_cache_kind *from, const weft_cache_kind *to);
/* Fills in what was carried over; `reason` may be NULL. */
void weft_session_carry(weft_session_carried *carried, int32_t n_tokens, int32_t n_copied, const char *reason);

#endif
