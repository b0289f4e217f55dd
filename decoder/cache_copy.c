#include "decoder/cache_copy.h"

#include <string.h>

#include "decoder/identity.h"

/* All but the model. */
static weft_cache_kind shape_of(const weft_engine *engine) {
    const weft_hyperparameters *hyper = &engine->model->hyper;
    const bool differs = hyper->rope_long.n_dims > 0 || hyper->temperature_scale != 0;
    return (weft_cache_kind){.precision = (int32_t)engine->config.precision,
                             .type = (int32_t)engine->config.kv_type,
                             .n_layers = hyper->n_layers,
                             .n_kv_heads = hyper->n_kv_heads,
                             .head_dim = hyper->head_dim,
                             .is_long = differs && engine->config.n_ctx > hyper->rope.n_ctx_original};
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

size_t weft_cache_page_bytes(const weft_cache_kind *kind, int32_t page_size) {
    return layer_bytes(kind, page_size) * (size_t)kind->n_layers;
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

/* ---- Reading ---- */

/* What other sessions have left in the rest of a page is nobody's business. */
static void clear_rest(const weft_cache_kind *kind, int32_t page_size, int32_t count, unsigned char *page) {
    const size_t row = row_bytes(kind), head = row * (size_t)page_size, n_heads = weft_cache_page_bytes(kind, page_size) / head;
    if (count == page_size) return;
    for (size_t i = 0; i < n_heads; i++) memset(page + i * head + row * (size_t)count, 0, row * (size_t)(page_size - count));
}

static weft_status read_page(const weft_engine *engine, const weft_cache_kind *kind, int32_t page, unsigned char *into,
                             weft_error *error) {
    char name[WEFT_NAME_SIZE];
    const size_t bytes = layer_bytes(kind, engine->config.page_size);
    weft_status status = WEFT_OK;
    for (int32_t layer = 0; layer < kind->n_layers && status == WEFT_OK; layer++, into += bytes) {
        state_name(layer, name);
        status = weft_store_read_state(weft_stages_store(engine, layer), name, (uint64_t)page * bytes, into, bytes, error);
    }
    return status;
}

weft_status weft_cache_read(weft_session *session, const weft_cache_kind *kind, int32_t index, int32_t count, void *into,
                            bool *found, weft_error *error) {
    weft_engine *engine = session->engine;
    const int32_t page_size = engine->config.page_size;
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_pause(engine);
    *found = index >= session->n_passed && index < session->n_pages && session->n_cached >= index * page_size + count;
    const int32_t page = *found ? session->page_table[index] : 0;
    weft_os_mutex_unlock(&engine->mutex);
    weft_status status = *found ? read_page(engine, kind, page, into, error) : WEFT_OK;
    if (*found && status == WEFT_OK) clear_rest(kind, page_size, count, into);
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_resume(engine);
    weft_os_mutex_unlock(&engine->mutex);
    return status;
}

/* ---- Writing ---- */

weft_status weft_cache_writer_begin(weft_cache_writer *writer, weft_session *session, const weft_cache_kind *kind,
                                    weft_error *error) {
    const size_t bytes = weft_cache_page_bytes(kind, session->engine->config.page_size);
    *writer = (weft_cache_writer){.session = session, .kind = *kind, .error = error};
    writer->page = weft_allocate(session->engine->runtime, bytes);
    return writer->page ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a KV-cache page of %zu bytes", bytes);
}

static weft_status write_page(const weft_engine *engine, const weft_cache_kind *kind, int32_t page, const unsigned char *from,
                              weft_error *error) {
    char name[WEFT_NAME_SIZE];
    const size_t bytes = layer_bytes(kind, engine->config.page_size);
    weft_status status = WEFT_OK;
    for (int32_t layer = 0; layer < kind->n_layers && status == WEFT_OK; layer++, from += bytes) {
        state_name(layer, name);
        status = weft_store_write_state(weft_stages_store(engine, layer), name, (uint64_t)page * bytes, from, bytes, error);
    }
    return status;
}

/* A page is the session's only once it is written: then other sessions may take it. */
static weft_status flush(weft_cache_writer *writer) {
    weft_session *session = writer->session;
    weft_engine *engine = session->engine;
    int32_t page = 0;
    weft_os_mutex_lock(&engine->mutex);
    weft_engine_pause(engine);
    writer->stopped = session->n_cached != writer->n_written || weft_pages_take(&engine->pages, 1, &page, NULL) != WEFT_OK;
    weft_os_mutex_unlock(&engine->mutex);
    weft_status status = writer->stopped ? WEFT_OK : write_page(engine, &writer->kind, page, writer->page, writer->error);
    weft_os_mutex_lock(&engine->mutex);
    if (!writer->stopped && status == WEFT_OK) {
        session->page_table[session->n_pages++] = page;
        session->is_carried = true;
        session->n_cached = session->n_queued = writer->n_written = writer->n_positions;
    } else if (!writer->stopped) {
        weft_pages_give(&engine->pages, page, engine->n_submitted);
    }
    weft_engine_resume(engine);
    weft_os_mutex_unlock(&engine->mutex);
    return status;
}

weft_status weft_cache_write(weft_cache_writer *writer, const unsigned char *page, int32_t page_size, int32_t count) {
    const int32_t to_size = writer->session->engine->config.page_size;
    const size_t row = row_bytes(&writer->kind), n_heads = (size_t)writer->kind.n_layers * 2 * (size_t)writer->kind.n_kv_heads;
    weft_status status = WEFT_OK;
    for (int32_t done = 0; done < count && status == WEFT_OK && !writer->stopped;) {
        const int32_t place = writer->n_positions % to_size;
        const int32_t n = count - done < to_size - place ? count - done : to_size - place;
        for (size_t head = 0; head < n_heads; head++)
            memcpy(writer->page + (head * (size_t)to_size + (size_t)place) * row,
                   page + (head * (size_t)page_size + (size_t)done) * row, row * (size_t)n);
        done += n;
        writer->n_positions += n;
        if (place + n == to_size) status = flush(writer);
    }
    return status;
}

weft_status weft_cache_writer_end(weft_cache_writer *writer, weft_status status) {
    if (status == WEFT_OK && !writer->stopped && writer->n_written < writer->n_positions) status = flush(writer);
    weft_release(writer->session->engine->runtime, writer->page);
    return status;
}

/* ---- Copying ---- */

/* The page of the session that has the positions after those of the copy, and how many of these the copy can use: not the last
 * token's, whose row is to give the next token. False: there are none. With the mutex held. */
static bool find_rest(const weft_session *session, const weft_session *copy, int32_t *page, int32_t *count) {
    const int32_t page_size = session->engine->config.page_size, index = copy->n_pages, last = copy->n_tokens - 1;
    *count = (session->n_cached < last ? session->n_cached : last) - index * page_size;
    if (*count <= 0 || *count > page_size || copy->n_cached != index * page_size) return false;
    if (index < session->n_passed || index >= session->n_pages) return false;
    *page = session->page_table[index];
    return true;
}

void weft_cache_copy_rest(const weft_session *session, weft_session *copy) {
    weft_engine *engine = session->engine;
    const weft_cache_kind kind = shape_of(engine);
    int32_t from = 0, to = 0, count = 0;
    unsigned char *bytes = weft_allocate(engine->runtime, weft_cache_page_bytes(&kind, engine->config.page_size));
    weft_os_mutex_lock(&engine->mutex);
    const bool copies = bytes && !engine->stepping && find_rest(session, copy, &from, &count) &&
                        weft_pages_take(&engine->pages, 1, &to, NULL) == WEFT_OK;
    if (copies) weft_engine_pause(engine);
    weft_os_mutex_unlock(&engine->mutex);
    weft_status status = copies ? read_page(engine, &kind, from, bytes, NULL) : WEFT_OK;
    if (copies && status == WEFT_OK) status = write_page(engine, &kind, to, bytes, NULL);
    weft_os_mutex_lock(&engine->mutex);
    if (copies && status == WEFT_OK) {
        copy->page_table[copy->n_pages++] = to;
        copy->n_cached = copy->n_queued = copy->n_cached + count;
        copy->timing.n_reused += (uint64_t)count;
    } else if (copies) {
        weft_pages_give(&engine->pages, to, engine->n_submitted);
    }
    if (copies) weft_engine_resume(engine);
    weft_os_mutex_unlock(&engine->mutex);
    weft_release(engine->runtime, bytes);
}
