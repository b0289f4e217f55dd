/* Saving a session. Its tokens and its state are noted at once; its pages are read one after the other, so that no more than one is
 * in host memory and other sessions' steps can run in between. */
#include <string.h>

#include "decoder/output.h"
#include "decoder/saved.h"

typedef struct saving {
    weft_session *session;
    weft_sections sections;
    weft_saved_head head;
    weft_packed packed_head, tokens;
    int32_t n_cached; /* positions whose keys and values may be saved */
    weft_error *error;
} saving;

/* Until `end`, no other thread adds to the session or begins an answer. */
static void begin(saving *s) {
    weft_session *session = s->session;
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    session->adding = true;
    const int32_t n_tokens = session->n_read;
    s->head.answering = session->answering && session->finish != WEFT_FINISH_CANCELLED;
    s->head.ended = session->ended;
    s->head.n_tokens = n_tokens;
    /* Tokens that were not read yet are chosen again after restoring. */
    s->head.n_generated = s->head.answering ? session->n_generated - (session->n_tokens - n_tokens) : 0;
    s->head.page_size = engine->config.page_size;
    s->head.chat_state = session->chat_state;
    s->head.options = session->options;
    if (s->head.answering) {
        s->head.options.sampling = session->sampler->options;
        if (session->n_tokens == n_tokens) s->head.finish = session->finish;
    }
    if (s->head.answering)
        s->head.held =
            (weft_text){session->text ? session->text + session->text_given : "", session->text_size - session->text_given};
    /* The last token's row is to choose the next one. */
    s->n_cached = session->n_cached < n_tokens ? session->n_cached : n_tokens - (s->head.answering ? 1 : 0);
    weft_saved_pack_head(&s->packed_head, &s->head);
    for (int32_t i = 0; i < n_tokens; i++) weft_pack_i32(&s->tokens, session->tokens[i]);
    weft_os_mutex_unlock(&engine->mutex);
}

static void end(saving *s) {
    weft_engine *engine = s->session->engine;
    weft_os_mutex_lock(&engine->mutex);
    s->session->adding = false;
    weft_os_condition_wake_all(&engine->changed);
    weft_os_mutex_unlock(&engine->mutex);
}

static weft_status write_page(saving *s, const void *page, size_t bytes, int32_t count, bool complete) {
    const unsigned char number[8] = {(unsigned char)count, (unsigned char)(count >> 8), (unsigned char)(count >> 16),
                                     (unsigned char)(count >> 24), complete};
    weft_status status = weft_section_write_begin(&s->sections, WEFT_SAVED_PAGE, sizeof number + bytes);
    if (status == WEFT_OK) status = weft_section_write(&s->sections, number, sizeof number);
    if (status == WEFT_OK) status = weft_section_write(&s->sections, page, bytes);
    return status == WEFT_OK ? weft_section_write_end(&s->sections) : status;
}

static weft_status write_pages(saving *s) {
    const int32_t page_size = s->head.page_size;
    const size_t bytes = weft_cache_page_bytes(&s->head.kind, page_size, true);
    if (s->n_cached <= 0) return WEFT_OK;
    void *page = weft_allocate(s->session->engine->runtime, bytes);
    if (!page) return weft_fail(s->error, WEFT_OUT_OF_MEMORY, "no memory for a KV-cache page of %zu bytes", bytes);
    weft_cache_found found = WEFT_CACHE_LOST;
    weft_status status = WEFT_OK;
    for (int32_t i = 0; status == WEFT_OK && i <= (s->n_cached - 1) / page_size; i++) {
        const int32_t left = s->n_cached - i * page_size, count = left < page_size ? left : page_size;
        status = weft_cache_read(s->session, &s->head.kind, i, count, page, &found, s->error);
        /* Of a lost device the session has its tokens, and those are enough. */
        if (status == WEFT_DEVICE_LOST) status = WEFT_OK, found = WEFT_CACHE_LOST;
        if (status != WEFT_OK || found == WEFT_CACHE_LOST) break;
        const bool complete = found == WEFT_CACHE_COMPLETE;
        status = write_page(s, page, weft_cache_page_bytes(&s->head.kind, page_size, complete), count, complete);
    }
    weft_release(s->session->engine->runtime, page);
    return status;
}

static weft_status write_all(saving *s, bool tokens_only) {
    weft_packed conversation = {.runtime = s->session->engine->runtime}, nothing = conversation;
    weft_status status = weft_sections_write_start(&s->sections, WEFT_SAVED_MAGIC, WEFT_SAVED_VERSION);
    if (status == WEFT_OK) status = weft_packed_write(&s->packed_head, &s->sections, WEFT_SAVED_HEAD);
    if (status == WEFT_OK) status = weft_packed_write(&s->tokens, &s->sections, WEFT_SAVED_TOKENS);
    if (status == WEFT_OK) weft_saved_pack_conversation(&conversation, &s->session->conversation);
    if (status == WEFT_OK) status = weft_packed_write(&conversation, &s->sections, WEFT_SAVED_CONVERSATION);
    if (status == WEFT_OK && !tokens_only) status = write_pages(s);
    return status == WEFT_OK ? weft_packed_write(&nothing, &s->sections, WEFT_SAVED_END) : status;
}

static weft_status save(saving *s, bool tokens_only) {
    weft_runtime *runtime = s->session->engine->runtime;
    s->packed_head.runtime = s->tokens.runtime = runtime;
    weft_status status = weft_cache_kind_of(s->session->engine, &s->head.kind, s->error);
    if (status != WEFT_OK) return status;
    begin(s);
    status = write_all(s, tokens_only);
    end(s);
    weft_release(runtime, s->packed_head.bytes);
    weft_release(runtime, s->tokens.bytes);
    return status;
}

static weft_status write_output(void *user, const void *bytes, size_t size, weft_error *error) {
    (void)error; /* the output has it */
    return weft_output_write(user, bytes, size);
}

weft_status weft_session_save(weft_session *session, const char *path, const weft_save_options *options, weft_error *error) {
    const weft_save_options none = {.write = NULL};
    if (!options) options = &none;
    if (!session || !path == !options->write)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_save: the session is missing, or not one of path and write");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    saving s = {.session = session, .error = error};
    s.sections = (weft_sections){.name = path ? path : "session", .write = options->write, .user = options->user, .error = error};
    if (!path) return save(&s, options->tokens_only);
    weft_output output = {.runtime = session->engine->runtime, .path = path, .error = error};
    status = weft_output_open(&output);
    if (status != WEFT_OK) return status;
    s.sections.write = write_output;
    s.sections.user = &output;
    return weft_output_close(&output, save(&s, options->tokens_only));
}
