/* Pages of common beginnings: sequences of one group use each other's. The last row of a sequence always runs, in a page of its
 * own, since it is to give the next token. */
#include "decoder/engine.h"

static bool shares(const weft_session *session) {
    return session->engine->pages.entries && session->options.share_group != WEFT_SHARE_NONE && !session->pool;
}

static uint64_t name_before(const weft_session *session, int32_t page) {
    return page > 0 ? session->page_names[page - 1] : 0;
}

void weft_session_name_pages(weft_session *session) {
    int32_t page_size = session->engine->config.page_size;
    if (!shares(session) || session->is_carried || session->n_named < session->n_passed) return;
    for (int32_t i = session->n_named; i < session->n_pages && (int64_t)(i + 1) * page_size < session->n_cached; i++) {
        session->page_names[i] = weft_pages_name(&session->engine->pages, session->page_table[i], name_before(session, i),
                                                 session->options.share_group, session->tokens + (size_t)i * (size_t)page_size);
        if (session->page_names[i] == 0) return;
        session->n_named = i + 1;
        weft_windowed_name(session, i);
    }
}

/* Whether a callback wants what rows before `end` give. */
static bool has_heads(const weft_session *session, int32_t end) {
    const weft_session_options *options = &session->options;
    return (options->on_logits && end > session->next_logits) || (options->on_prompt && end >= session->next_prompt_score);
}

static const weft_token *tokens_of(const weft_session *session, int32_t page) {
    return session->tokens + (size_t)page * (size_t)session->engine->config.page_size;
}

/* How many pages the session can have before its next row, and their names. Windowed layers need only the pages of the window
 * before that row. */
static int32_t find_pages(weft_session *session) {
    const weft_pages *pages = &session->engine->pages;
    const weft_engine_config *config = &session->engine->config;
    const int32_t page_size = config->page_size, end = session->n_queued + weft_session_pending(session);
    int32_t n = session->n_pages, n_windowed = session->n_pages - session->windowed.n_passed;
    for (int32_t i = n; (int64_t)(i + 1) * page_size < end && !has_heads(session, (i + 1) * page_size); i++) {
        int32_t page = weft_pages_look(pages, name_before(session, i), session->options.share_group, tokens_of(session, i));
        if (page < 0) break;
        session->page_names[i] = pages->entries[page].name;
        n_windowed = weft_windowed_found(session, session->page_names[i], tokens_of(session, i)) ? n_windowed + 1 : 0;
        int32_t seen = weft_first_seen(config->windowed.window, (i + 1) * page_size) / page_size;
        if (!weft_windowed_apart(session->engine) || n_windowed >= i + 1 - seen) n = i + 1;
    }
    return n;
}

void weft_session_reuse_pages(weft_session *session) {
    const int32_t page_size = session->engine->config.page_size, n_before = session->n_pages;
    if (!shares(session) || session->n_cached != session->n_queued || session->n_named != session->n_pages) return;
    if (session->n_queued != session->n_pages * page_size) return;
    const int32_t n = find_pages(session);
    if (n == n_before) return;
    for (int32_t i = n_before; i < n; i++)
        session->page_table[i] =
            weft_pages_find(&session->engine->pages, name_before(session, i), session->options.share_group, tokens_of(session, i));
    session->n_pages = session->n_named = n;
    session->n_cached = session->n_queued = n * page_size;
    session->timing.n_reused += (uint64_t)(n - n_before) * (uint64_t)page_size;
    weft_windowed_reuse(session, n_before);
}
