#include "decoder/cache_copy.h"

#include <string.h>

#include "decoder/identity.h"

/* All but the model. */
static weft_cache_kind shape_of(const weft_engine *engine) {
    const weft_hyperparameters *hyper = &engine->model->hyper;
    const bool differs = hyper->rope_long.n_dims > 0 || hyper->temperature_scale != 0;
    weft_cache_kind kind = {.precision = (int32_t)engine->config.precision,
                            .type = (int32_t)engine->config.kv_type,
                            .n_layers = hyper->n_layers,
                            .n_kv_heads = hyper->n_kv_heads,
                            .head_dim = hyper->head_dim,
                            .is_long = differs && engine->config.n_ctx > hyper->rope.n_ctx_original};
    for (int32_t i = 0; i < hyper->n_layers; i++) kind.n_windowed += weft_family_layer(engine->model->family, hyper, i).window > 0;
    if (kind.n_windowed == hyper->n_layers) kind.n_windowed = 0;
    return kind;
}

weft_status weft_cache_kind_of(const weft_engine *engine, weft_cache_kind *kind, weft_error *error) {
    *kind = shape_of(engine);
    return weft_model_identity(engine->model, &kind->model, error);
}

const char *weft_cache_kinds_differ(const weft_cache_kind *from, const weft_cache_kind *to) {
    if (from->model != to->model) return "the models differ";
    if (from->precision != to->precision) return "the engines have different precisions";
    if (from->type != to->type) return "the KV caches of the engines have different types";
    if (from->is_long != to->is_long) return "the engines rotate positions differently, because of their n_ctx";
    const bool same = from->n_layers == to->n_layers && from->n_kv_heads == to->n_kv_heads && from->head_dim == to->head_dim;
    return same ? NULL : "the KV caches of the engines have different shapes";
}

void weft_session_carry(weft_session_carried *carried, int32_t n_tokens, int32_t n_copied, const char *reason) {
    *carried = (weft_session_carried){.n_tokens = n_tokens, .n_copied = n_copied, .n_computed = n_tokens - n_copied};
    snprintf(carried->reason, sizeof carried->reason, "%s", reason ? reason : "");
}

/* Bytes of one position of one head. */
static size_t row_bytes(const weft_cache_kind *kind) {
    return (size_t)weft_type_bytes((weft_type)kind->type, kind->head_dim);
}

/* Keys and values of all heads of a layer, which lie together. */
static size_t layer_bytes(const weft_cache_kind *kind, int32_t page_size) {
    return row_bytes(kind) * (size_t)page_size * 2 * (size_t)kind->n_kv_heads;
}

size_t weft_cache_page_bytes(const weft_cache_kind *kind, int32_t page_size, bool complete) {
    return layer_bytes(kind, page_size) * (size_t)(kind->n_layers - (complete ? 0 : kind->n_windowed));
}

void weft_engine_pause(weft_engine *engine) {
    while (engine->stepping) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    engine->stepping = true;
}

void weft_engine_resume(weft_engine *engine) {
    engine->stepping = false;
    weft_os_condition_wake_all(&engine->changed);
}

static void state_name(int32_t layer, char name[WEFT_NAME_SIZE]) {
    snprintf(name, WEFT_NAME_SIZE, "kv.%d", (int)layer);
}

/* Whether an incomplete page lacks this layer. */
static bool is_windowed(const weft_engine *engine, const weft_cache_kind *kind, int32_t layer) {
    return kind->n_windowed > 0 && weft_family_layer(engine->model->family, &engine->model->hyper, layer).window > 0;
}

/* Where a page's keys and values are in an engine. */
typedef struct page_place {
    int32_t page;
    int32_t windowed; /* the windowed layers' page; -1: there is none */
} page_place;

/* ---- Reading ---- */

/* What other sessions have left in the rest of a page is nobody's business. */
static void clear_rest(const weft_cache_kind *kind, int32_t page_size, int32_t count, size_t bytes, unsigned char *page) {
    const size_t row = row_bytes(kind), head = row * (size_t)page_size, n_heads = bytes / head;
    if (count == page_size) return;
    for (size_t i = 0; i < n_heads; i++) memset(page + i * head + row * (size_t)count, 0, row * (size_t)(page_size - count));
}

static weft_status read_page(const weft_engine *engine, const weft_cache_kind *kind, page_place place, unsigned char *into,
                             weft_error *error) {
    char name[WEFT_NAME_SIZE];
    const size_t bytes = layer_bytes(kind, engine->config.page_size);
    weft_status status = WEFT_OK;
    for (int32_t layer = 0; layer < kind->n_layers && status == WEFT_OK; layer++) {
        const int32_t page = is_windowed(engine, kind, layer) ? place.windowed : place.page;
        if (page < 0) continue;
        state_name(layer, name);
        status = weft_store_read_state(weft_stages_store(engine, layer), name, (uint64_t)page * bytes, into, bytes, error);
        into += bytes;
    }
    return status;
}

/* With the mutex held. */
static weft_cache_found find_page(const weft_session *session, int32_t index, int32_t count, page_place *place) {
    const weft_windowed *windowed = &session->windowed;
    const bool found = index >= session->n_passed && index < session->n_pages &&
                       session->n_cached >= index * session->engine->config.page_size + count;
    *place = (page_place){.page = found ? session->page_table[index] : 0, .windowed = -1};
    if (!weft_windowed_apart(session->engine))
        place->windowed = place->page;
    else if (found && index >= windowed->n_passed)
        place->windowed = windowed->page_table[index];
    return !found ? WEFT_CACHE_LOST : place->windowed < 0 ? WEFT_CACHE_INCOMPLETE : WEFT_CACHE_COMPLETE;
}

weft_status weft_cache_read(weft_session *session, const weft_cache_kind *kind, int32_t index, int32_t count, void *into,
                            weft_cache_found *found, weft_error *error) {
    weft_engine *engine = session->engine;
    const int32_t page_size = engine->config.page_size;
    page_place place;
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_pause(engine);
    *found = find_page(session, index, count, &place);
    weft_os_mutex_unlock(&engine->mutex);
    weft_status status = *found != WEFT_CACHE_LOST ? read_page(engine, kind, place, into, error) : WEFT_OK;
    if (*found != WEFT_CACHE_LOST && status == WEFT_OK)
        clear_rest(kind, page_size, count, weft_cache_page_bytes(kind, page_size, *found == WEFT_CACHE_COMPLETE), into);
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_resume(engine);
    weft_os_mutex_unlock(&engine->mutex);
    return status;
}

/* ---- Writing ---- */

weft_status weft_cache_writer_begin(weft_cache_writer *writer, weft_session *session, const weft_cache_kind *kind,
                                    weft_error *error) {
    const size_t bytes = weft_cache_page_bytes(kind, session->engine->config.page_size, true);
    *writer = (weft_cache_writer){.session = session, .kind = *kind, .error = error};
    writer->page = weft_allocate(session->engine->runtime, bytes);
    return writer->page ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a KV-cache page of %zu bytes", bytes);
}

static weft_status write_page(const weft_engine *engine, const weft_cache_kind *kind, page_place place, const unsigned char *from,
                              weft_error *error) {
    char name[WEFT_NAME_SIZE];
    const size_t bytes = layer_bytes(kind, engine->config.page_size);
    weft_status status = WEFT_OK;
    for (int32_t layer = 0; layer < kind->n_layers && status == WEFT_OK; layer++, from += bytes) {
        const int32_t page = is_windowed(engine, kind, layer) ? place.windowed : place.page;
        if (page < 0) continue;
        state_name(layer, name);
        status = weft_store_write_state(weft_stages_store(engine, layer), name, (uint64_t)page * bytes, from, bytes, error);
    }
    return status;
}

/* With the mutex held. Windowed layers get no page for positions that they lack. */
static bool take_page(weft_engine *engine, bool lacks, page_place *place) {
    *place = (page_place){.page = -1, .windowed = -1};
    if (weft_pages_take(&engine->pages, 1, &place->page, NULL) != WEFT_OK) return false;
    if (!weft_windowed_apart(engine)) place->windowed = place->page;
    if (!weft_windowed_apart(engine) || lacks) return true;
    if (weft_pages_take(&engine->windowed_pages, 1, &place->windowed, NULL) == WEFT_OK) return true;
    weft_pages_give(&engine->pages, place->page, 0);
    return false;
}

/* With the mutex held. The session's next page was written, if `status` says so, with its positions up to n_positions. */
static void keep_page(weft_session *session, page_place place, int32_t n_positions, weft_status status) {
    weft_engine *engine = session->engine;
    const bool apart = weft_windowed_apart(engine);
    if (status != WEFT_OK) {
        weft_pages_give(&engine->pages, place.page, engine->n_submitted);
        if (apart && place.windowed >= 0) weft_pages_give(&engine->windowed_pages, place.windowed, engine->n_submitted);
        return;
    }
    session->page_table[session->n_pages++] = place.page;
    if (apart) weft_windowed_carry(session, place.windowed);
    session->n_cached = session->n_queued = n_positions;
    weft_session_pass_pages(session);
}

/* A page is the session's only once it is written: then other sessions may take it. */
static weft_status flush(weft_cache_writer *writer) {
    weft_session *session = writer->session;
    weft_engine *engine = session->engine;
    page_place place;
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_pause(engine);
    writer->stopped = session->n_cached != writer->n_written || !take_page(engine, writer->n_lacking > writer->n_written, &place);
    weft_os_mutex_unlock(&engine->mutex);
    weft_status status = writer->stopped ? WEFT_OK : write_page(engine, &writer->kind, place, writer->page, writer->error);
    weft_os_mutex_lock(&engine->mutex);
    if (!writer->stopped) keep_page(session, place, writer->n_positions, status);
    if (!writer->stopped && status == WEFT_OK) {
        session->is_carried = true;
        writer->n_written = writer->n_positions;
    }
    weft_engine_resume(engine);
    weft_os_mutex_unlock(&engine->mutex);
    return status;
}

/* Positions of a page into the writer's, from `place` on. */
static void copy_rows(weft_cache_writer *writer, const unsigned char *from, int32_t page_size, bool complete, int32_t place,
                      int32_t n) {
    const weft_engine *engine = writer->session->engine;
    const size_t row = row_bytes(&writer->kind), from_head = row * (size_t)page_size;
    const size_t to_head = row * (size_t)engine->config.page_size, n_heads = 2 * (size_t)writer->kind.n_kv_heads;
    unsigned char *to = writer->page + row * (size_t)place;
    for (int32_t layer = 0; layer < writer->kind.n_layers; layer++, to += n_heads * to_head) {
        if (!complete && is_windowed(engine, &writer->kind, layer)) continue;
        for (size_t head = 0; head < n_heads; head++, from += from_head) memcpy(to + head * to_head, from, row * (size_t)n);
    }
}

weft_status weft_cache_write(weft_cache_writer *writer, const unsigned char *page, int32_t page_size, int32_t count,
                             bool complete) {
    const int32_t to_size = writer->session->engine->config.page_size;
    const size_t row = row_bytes(&writer->kind);
    weft_status status = WEFT_OK;
    for (int32_t done = 0; done < count && status == WEFT_OK && !writer->stopped;) {
        const int32_t place = writer->n_positions % to_size;
        const int32_t n = count - done < to_size - place ? count - done : to_size - place;
        copy_rows(writer, page + row * (size_t)done, page_size, complete, place, n);
        done += n;
        writer->n_positions += n;
        if (!complete) writer->n_lacking = writer->n_positions;
        if (place + n == to_size) status = flush(writer);
    }
    return status;
}

/* Whether the next row has all that it reads. If not, the session gives its pages back. */
static bool is_usable(weft_cache_writer *writer) {
    weft_session *session = writer->session;
    weft_engine *engine = session->engine;
    if (writer->n_lacking == 0) return true;
    weft_os_mutex_lock(&engine->mutex);
    const bool usable = weft_windowed_apart(engine) && weft_session_sees(session, session->n_cached);
    if (!usable) weft_session_set_back(session, 0);
    weft_os_mutex_unlock(&engine->mutex);
    return usable;
}

weft_status weft_cache_writer_end(weft_cache_writer *writer, weft_status status, const char **reason) {
    if (status == WEFT_OK && !writer->stopped && writer->n_written < writer->n_positions) status = flush(writer);
    weft_release(writer->session->engine->runtime, writer->page);
    if (writer->stopped) *reason = "the engine has too few free KV-cache pages";
    if (status != WEFT_OK || is_usable(writer)) return status;
    writer->n_written = 0;
    *reason = "positions that the next token's layers with windows see could not be copied";
    return status;
}

/* ---- Copying ---- */

/* The page of the session that has the positions after those of the copy, and how many of these the copy can use: not the last
 * token's, whose row is to give the next token. False: there are none. With the mutex held. */
static bool find_rest(const weft_session *session, const weft_session *copy, page_place *place, int32_t *count) {
    const int32_t page_size = session->engine->config.page_size, index = copy->n_pages, last = copy->n_tokens - 1;
    *count = (session->n_cached < last ? session->n_cached : last) - index * page_size;
    if (*count <= 0 || *count > page_size || copy->n_cached != index * page_size) return false;
    return find_page(session, index, *count, place) == WEFT_CACHE_COMPLETE;
}

void weft_cache_copy_rest(const weft_session *session, weft_session *copy) {
    weft_engine *engine = session->engine;
    const weft_cache_kind kind = shape_of(engine);
    page_place from, to;
    int32_t count = 0;
    unsigned char *bytes = weft_allocate(engine->runtime, weft_cache_page_bytes(&kind, engine->config.page_size, true));
    weft_os_mutex_lock(&engine->mutex);
    const bool copies = bytes && !engine->stepping && find_rest(session, copy, &from, &count) && take_page(engine, false, &to);
    if (copies) weft_engine_pause(engine);
    weft_os_mutex_unlock(&engine->mutex);
    weft_status status = copies ? read_page(engine, &kind, from, bytes, NULL) : WEFT_OK;
    if (copies && status == WEFT_OK) status = write_page(engine, &kind, to, bytes, NULL);
    weft_os_mutex_lock(&engine->mutex);
    if (copies) keep_page(copy, to, copy->n_cached + count, status);
    if (copies && status == WEFT_OK) copy->timing.n_reused += (uint64_t)count;
    if (copies) weft_engine_resume(engine);
    weft_os_mutex_unlock(&engine->mutex);
    weft_release(engine->runtime, bytes);
}
