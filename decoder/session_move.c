/* Moving a session. A new session of the new engine takes slot, pages and memory; then the old one gets all of it. */
#include <string.h>

#include "decoder/cache_copy.h"

typedef struct moving {
    weft_session *session;
    weft_engine *to;
    weft_cache_kind from_kind, kind;
    int32_t n_cached; /* positions that can be copied */
    bool answering, wants_prompt;
    weft_session *place; /* of the new engine */
    weft_session_carried carried;
    weft_error *error;
} moving;

static weft_status check(moving *m) {
    const weft_session *session = m->session;
    const weft_engine *from = session->engine, *to = m->to;
    if (from->runtime != to->runtime)
        return weft_fail(m->error, WEFT_INVALID_ARGUMENT,
                         "the engine belongs to another runtime: save the session, and restore it in that engine");
    weft_status status = weft_cache_kind_of(from, &m->from_kind, m->error);
    if (status == WEFT_OK) status = weft_cache_kind_of(to, &m->kind, m->error);
    if (status == WEFT_OK && m->from_kind.model != m->kind.model)
        status = weft_fail(m->error, WEFT_UNSUPPORTED, "the session is of model %s; the engine's is %s, another one",
                           from->model->path, to->model->path);
    return status;
}

/* Nothing runs for the session until it has moved or `wake_up` was called. Tokens that were not read are forgotten. */
static void put_to_sleep(moving *m) {
    weft_session *session = m->session;
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    const bool is_open = session->answering && session->finish != WEFT_FINISH_CANCELLED;
    if (is_open && session->n_tokens > session->n_read) {
        session->n_generated -= session->n_tokens - session->n_read;
        session->finish = WEFT_FINISH_NOT;
        weft_session_forget(session, session->n_read);
    }
    /* The last token's row is to choose the next one. */
    const int32_t last = session->n_tokens > 0 ? session->n_tokens - 1 : 0;
    weft_session_unqueue(session, is_open ? last : session->n_cached);
    m->answering = session->answering;
    m->wants_prompt = session->wants_prompt;
    session->answering = session->wants_prompt = false;
    m->n_cached = session->n_cached;
    weft_os_mutex_unlock(&engine->mutex);
}

static void wake_up(moving *m) {
    weft_session *session = m->session;
    weft_os_mutex_lock(&session->engine->mutex);
    session->answering = m->answering;
    session->wants_prompt = m->wants_prompt;
    weft_os_mutex_unlock(&session->engine->mutex);
}

static weft_status create_place(moving *m) {
    const weft_session *session = m->session;
    const int32_t n_ctx = m->to->config.n_ctx;
    weft_session_options options = session->options;
    if (options.n_ctx == session->engine->config.n_ctx || options.n_ctx > n_ctx) options.n_ctx = n_ctx;
    if (session->n_tokens > options.n_ctx)
        return weft_fail(m->error, WEFT_INVALID_ARGUMENT, "the session has %d tokens; the engine has room for %d",
                         (int)session->n_tokens, (int)options.n_ctx);
    options.sampling = session->sampler->options;
    weft_status status = weft_session_create(m->to, &options, &m->place, m->error);
    if (status != WEFT_OK || !session->next_sampler) return status;
    return weft_session_set_sampling(m->place, &session->next_sampler->options, m->error);
}

/* ---- Pages ---- */

/* Keys and values that cannot be read, because the old device was lost or failed, are computed again. */
static weft_status copy(moving *m, weft_cache_writer *writer, void *page, const char **reason) {
    const int32_t page_size = m->session->engine->config.page_size;
    weft_status status = WEFT_OK;
    for (int32_t first = 0, i = 0; first < m->n_cached && status == WEFT_OK && !writer->stopped; first += page_size, i++) {
        const int32_t left = m->n_cached - first, count = left < page_size ? left : page_size;
        weft_cache_found found = WEFT_CACHE_LOST;
        if (weft_cache_read(m->session, &m->from_kind, i, count, page, &found, NULL) != WEFT_OK) {
            *reason = "the old device cannot be read";
            break;
        }
        if (found == WEFT_CACHE_LOST) break;
        status = weft_cache_write(writer, page, page_size, count, found == WEFT_CACHE_COMPLETE);
    }
    return status;
}

static weft_status copy_pages(moving *m) {
    const char *reason = weft_cache_kinds_differ(&m->from_kind, &m->kind);
    const size_t bytes = weft_cache_page_bytes(&m->from_kind, m->session->engine->config.page_size, true);
    weft_cache_writer writer = {.session = m->place};
    weft_status status = WEFT_OK;
    if (!reason && m->n_cached > 0) {
        void *page = weft_allocate(m->to->runtime, bytes);
        if (!page) return weft_fail(m->error, WEFT_OUT_OF_MEMORY, "no memory for a KV-cache page of %zu bytes", bytes);
        status = weft_cache_writer_begin(&writer, m->place, &m->kind, m->error);
        if (status == WEFT_OK) status = copy(m, &writer, page, &reason);
        status = weft_cache_writer_end(&writer, status, &reason);
        weft_release(m->to->runtime, page);
    }
    weft_session_carry(&m->carried, m->session->n_tokens, writer.n_written, reason);
    return status;
}

/* ---- Changing places ---- */

#define SWAP(type, member)                                                                                                         \
    do {                                                                                                                           \
        type kept = session->member;                                                                                               \
        session->member = place->member;                                                                                           \
        place->member = kept;                                                                                                      \
    } while (0)

/* `place` gets what belongs to the old engine. */
static void swap(weft_session *session, weft_session *place) {
    memcpy(place->tokens, session->tokens, (size_t)session->n_tokens * sizeof *session->tokens);
    SWAP(weft_engine *, engine);
    SWAP(weft_token *, tokens);
    SWAP(int32_t, options.n_ctx);
    SWAP(int32_t, slot);
    SWAP(int32_t *, page_table);
    SWAP(uint64_t *, page_names);
    SWAP(int32_t, n_pages);
    SWAP(int32_t, n_passed);
    SWAP(weft_windowed, windowed);
    SWAP(int32_t, n_named);
    SWAP(bool, is_carried);
    SWAP(int32_t, n_sent);
    SWAP(int32_t, n_cached);
    SWAP(int32_t, n_queued);
    SWAP(weft_sampler *, sampler);
    SWAP(weft_sampler *, next_sampler);
    SWAP(weft_sampling_options, options.sampling);
    for (size_t i = 0; i < session->sampler->stops.n; i++)
        session->sampler->stops.items[i].n_matched = place->sampler->stops.items[i].n_matched;
    session->has_tenure = session->in_line = session->ready = false;
    session->n_coming = 0;
}

static void change_engine(moving *m) {
    weft_session *session = m->session, *place = m->place;
    weft_engine *from = session->engine, *to = m->to;
    weft_os_mutex_lock(&from->mutex);
    weft_session_leave(session);
    weft_os_mutex_unlock(&from->mutex);
    weft_os_mutex_lock(&to->mutex);
    for (int32_t i = 0; i < to->n_sessions; i++)
        if (to->sessions[i] == place) to->sessions[i] = session;
    swap(session, place);
    session->answering = m->answering;
    session->wants_prompt = m->wants_prompt;
    if (session->answering && session->finish == WEFT_FINISH_NOT && session->n_tokens == session->options.n_ctx)
        session->finish = WEFT_FINISH_LENGTH;
    session->failed = WEFT_OK;
    session->failure_told = false;
    weft_session_arrive(session);
    weft_os_mutex_unlock(&to->mutex);
    weft_session_release(place);
}

weft_status weft_session_move(weft_session *session, weft_engine *engine, weft_session_carried *carried, weft_error *error) {
    if (!session || !engine) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_move: session or engine is missing");
    moving m = {.session = session, .to = engine, .error = error};
    if (session->engine == engine) {
        weft_os_mutex_lock(&engine->mutex);
        weft_session_carry(&m.carried, session->n_read, session->n_cached < session->n_read ? session->n_cached : session->n_read,
                           NULL);
        weft_os_mutex_unlock(&engine->mutex);
        if (carried) *carried = m.carried;
        return WEFT_OK;
    }
    weft_status status = check(&m);
    if (status != WEFT_OK) return status;
    put_to_sleep(&m);
    status = create_place(&m);
    if (status == WEFT_OK) status = copy_pages(&m);
    if (status != WEFT_OK) {
        weft_session_destroy(m.place);
        wake_up(&m);
        return status;
    }
    change_engine(&m);
    if (carried) *carried = m.carried;
    return WEFT_OK;
}
