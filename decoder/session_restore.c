/* Restoring a session. Nothing in the stream is trusted: memory grows only with the bytes that come, and what is out of its range
 * is refused. */
#include <string.h>

#include "decoder/saved.h"

typedef struct restoring {
    weft_engine *engine;
    weft_sections sections;
    weft_packed content; /* of the section that is read */
    weft_saved_head head;
    weft_cache_kind kind; /* of the engine */
    char *held;
    weft_session *session;
    weft_session_carried *carried;
    weft_error *error;
} restoring;

/* Reads the next section into memory; it must be of this kind. */
static weft_status read_section(restoring *r, uint32_t expected, weft_unpacking *content) {
    uint32_t kind = 0;
    weft_release(r->engine->runtime, r->content.bytes);
    r->content = (weft_packed){.runtime = r->engine->runtime};
    weft_status status = weft_section_read_begin(&r->sections, &kind);
    if (status == WEFT_OK && kind != expected) status = weft_sections_damaged(&r->sections, "a section has the wrong kind");
    if (status == WEFT_OK) status = weft_packed_read(&r->content, &r->sections);
    if (status == WEFT_OK) *content = (weft_unpacking){.bytes = r->content.bytes, .left = r->content.size};
    return status;
}

static weft_status read_head(restoring *r) {
    uint32_t version = 0;
    weft_unpacking content;
    weft_status status = weft_sections_read_start(&r->sections, WEFT_SAVED_MAGIC, &version);
    if (status == WEFT_OK && version != WEFT_SAVED_VERSION)
        status = weft_fail(r->error, WEFT_UNSUPPORTED, "%s: a session of format version %u; this library reads version %d",
                           r->sections.name, (unsigned)version, WEFT_SAVED_VERSION);
    if (status == WEFT_OK) status = weft_cache_kind_of(r->engine, &r->kind, r->error);
    if (status == WEFT_OK) status = read_section(r, WEFT_SAVED_HEAD, &content);
    if (status != WEFT_OK) return status;
    status = weft_saved_unpack_head(&content, r->engine->runtime, &r->head);
    if (status == WEFT_OUT_OF_MEMORY) return weft_fail(r->error, status, "no memory for a saved session's options");
    if (status != WEFT_OK) return weft_sections_damaged(&r->sections, "a value is out of its range");
    if (r->head.kind.model != r->kind.model)
        return weft_fail(r->error, WEFT_UNSUPPORTED, "%s: this session is of another model than %s", r->sections.name,
                         r->engine->model->path);
    if (r->head.held.size == 0) return WEFT_OK;
    r->held = weft_allocate(r->engine->runtime, r->head.held.size);
    if (!r->held) return weft_fail(r->error, WEFT_OUT_OF_MEMORY, "no memory for a saved session");
    memcpy(r->held, r->head.held.bytes, r->head.held.size);
    return WEFT_OK;
}

/* ---- Tokens and state ---- */

static weft_status create(restoring *r, const weft_session_options *given) {
    const weft_session_options *options = given ? given : &r->head.options;
    const int32_t n_ctx = options->n_ctx > 0 ? options->n_ctx : r->engine->config.n_ctx;
    if (r->head.n_tokens > n_ctx)
        return weft_fail(r->error, WEFT_INVALID_ARGUMENT, "%s: the session has %d tokens; there is room for %d", r->sections.name,
                         (int)r->head.n_tokens, (int)n_ctx);
    return weft_session_create(r->engine, options, &r->session, r->error);
}

static weft_status read_tokens(restoring *r) {
    weft_session *session = r->session;
    const int32_t n_tokens = r->head.n_tokens, n_vocab = r->engine->model->hyper.n_vocab;
    weft_unpacking content;
    weft_status status = read_section(r, WEFT_SAVED_TOKENS, &content);
    if (status != WEFT_OK) return status;
    for (int32_t i = 0; i < n_tokens; i++) {
        session->tokens[i] = weft_unpack_i32(&content);
        if (content.failed || session->tokens[i] < 0 || session->tokens[i] >= n_vocab)
            return weft_sections_damaged(&r->sections, "a token is out of its range");
    }
    return content.left == 0 ? WEFT_OK : weft_sections_damaged(&r->sections, "there are too many tokens");
}

static weft_status read_conversation(restoring *r) {
    weft_unpacking content;
    weft_status status = read_section(r, WEFT_SAVED_CONVERSATION, &content);
    if (status != WEFT_OK) return status;
    status = weft_saved_unpack_conversation(&content, &r->session->conversation, r->head.n_tokens, r->error);
    return status == WEFT_BAD_FILE ? weft_sections_damaged(&r->sections, "the conversation is out of its range") : status;
}

/* Callbacks get what comes after the restored tokens. */
static void set_state(restoring *r) {
    const weft_saved_head *head = &r->head;
    weft_session *session = r->session;
    const int32_t max_tokens = session->sampler->options.max_tokens, n_tokens = head->n_tokens;
    size_t stop_size = 0;
    weft_os_mutex_lock(&r->engine->mutex);
    session->n_tokens = session->n_read = session->n_prompt = n_tokens;
    session->next_prompt_score = n_tokens > 0 ? n_tokens : 1;
    session->next_logits = n_tokens > 0 ? n_tokens - 1 : 0;
    session->ended = head->ended;
    session->chat_state = head->chat_state;
    session->answering = head->answering;
    session->n_generated = head->n_generated;
    const bool is_over = n_tokens == session->options.n_ctx || (max_tokens > 0 && session->n_generated >= max_tokens);
    session->finish = head->finish;
    if (head->answering && is_over && session->finish == WEFT_FINISH_NOT) session->finish = WEFT_FINISH_LENGTH;
    session->text = r->held;
    session->text_size = session->text_capacity = head->held.size;
    r->held = NULL;
    weft_stops_take(&session->sampler->stops, session->text, session->text_size, &stop_size);
    if (session->n_queued >= n_tokens && head->answering) weft_session_unqueue(session, n_tokens - 1);
    weft_os_mutex_unlock(&r->engine->mutex);
}

/* ---- Pages ---- */

/* `writer` is NULL if the page is only checked. The page's memory grows as its bytes come. */
static weft_status read_page(restoring *r, weft_cache_writer *writer, int32_t *n_positions) {
    const int32_t page_size = r->head.page_size;
    r->content.size = 0;
    if (writer && r->sections.left > 8 + weft_cache_page_bytes(&r->kind, page_size, true))
        return weft_sections_damaged(&r->sections, "a page has the wrong size");
    weft_status status = writer ? weft_packed_read(&r->content, &r->sections) : weft_section_read_end(&r->sections);
    if (status != WEFT_OK || !writer) return status;
    weft_unpacking content = {.bytes = r->content.bytes, .left = r->content.size};
    const int32_t count = weft_unpack_i32(&content), complete = weft_unpack_i32(&content);
    if (content.failed || content.left != weft_cache_page_bytes(&r->kind, page_size, complete != 0))
        return weft_sections_damaged(&r->sections, "a page has the wrong size");
    if (complete < 0 || complete > 1 || count <= 0 || count > page_size || count > r->head.n_tokens - *n_positions ||
        *n_positions % page_size != 0)
        return weft_sections_damaged(&r->sections, "a page is out of its range");
    *n_positions += count;
    return weft_cache_write(writer, content.bytes, page_size, count, complete);
}

static weft_status read_pages(restoring *r, weft_cache_writer *writer) {
    int32_t n_positions = 0;
    for (;;) {
        uint32_t kind = 0;
        weft_status status = weft_section_read_begin(&r->sections, &kind);
        if (status == WEFT_OK && kind == WEFT_SAVED_END) {
            if (r->sections.left > 0) return weft_sections_damaged(&r->sections, "the end is too long");
            return weft_section_read_end(&r->sections);
        }
        if (status == WEFT_OK && kind != WEFT_SAVED_PAGE)
            status = weft_sections_damaged(&r->sections, "a section has the wrong kind");
        if (status == WEFT_OK) status = read_page(r, writer, &n_positions);
        if (status != WEFT_OK) return status;
    }
}

static weft_status restore_pages(restoring *r) {
    const char *reason = weft_cache_kinds_differ(&r->head.kind, &r->kind);
    weft_cache_writer writer = {.session = r->session};
    weft_status status = WEFT_OK;
    if (!reason) status = weft_cache_writer_begin(&writer, r->session, &r->kind, r->error);
    if (status == WEFT_OK) status = read_pages(r, reason ? NULL : &writer);
    if (!reason) status = weft_cache_writer_end(&writer, status, &reason);
    weft_session_carry(r->carried, r->head.n_tokens, writer.n_written, reason);
    return status;
}

/* ---- All of it ---- */

static weft_status read_all(restoring *r, const weft_session_options *options) {
    weft_status status = read_head(r);
    if (status == WEFT_OK) status = create(r, options);
    if (status == WEFT_OK) status = read_tokens(r);
    if (status == WEFT_OK) status = read_conversation(r);
    return status == WEFT_OK ? restore_pages(r) : status;
}

static weft_status restore(restoring *r, const weft_session_options *options, weft_session **session) {
    weft_session_carried carried = {.n_tokens = 0}, *given = r->carried;
    r->carried = &carried;
    weft_status status = read_all(r, options);
    weft_release(r->engine->runtime, r->content.bytes);
    weft_saved_release_head(r->engine->runtime, &r->head);
    if (status == WEFT_OK) {
        set_state(r);
        *session = r->session;
        if (given) *given = carried;
    } else {
        weft_session_destroy(r->session);
    }
    weft_release(r->engine->runtime, r->held);
    return status;
}

typedef struct file_reader {
    weft_os_file file;
    uint64_t at;
} file_reader;

static weft_status read_file(void *user, void *into, size_t size, size_t *n_read, weft_error *error) {
    file_reader *reader = user;
    const uint64_t left = reader->file.size - reader->at;
    *n_read = left < size ? (size_t)left : size;
    weft_status status = weft_os_file_read(&reader->file, reader->at, into, *n_read, error);
    reader->at += *n_read;
    return status;
}

weft_status weft_session_restore(weft_engine *engine, const char *path, const weft_restore_options *options, weft_session **session,
                                 weft_session_carried *carried, weft_error *error) {
    const weft_restore_options none = {.read = NULL};
    file_reader reader = {.at = 0};
    if (!options) options = &none;
    if (!engine || !session || !path == !options->read)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "weft_session_restore: engine or session is missing, or not one of path and read");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    restoring r = {.engine = engine, .carried = carried, .error = error};
    r.sections = (weft_sections){.name = path ? path : "session", .read = options->read, .user = options->user, .error = error};
    if (!path) return restore(&r, options->session, session);
    status = weft_os_file_open(&reader.file, path, error);
    if (status != WEFT_OK) return status;
    r.sections.read = read_file;
    r.sections.user = &reader;
    status = restore(&r, options->session, session);
    weft_os_file_close(&reader.file);
    return status;
}
