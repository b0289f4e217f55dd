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
    }
}

/* Whether a callback wants what rows before `end` give. */
static bool has_heads(const weft_session *session, int32_t end) {
    const weft_session_options *options = &session->options;
    return (options->on_logits && end > session->next_logits) || (options->on_prompt && end >= session->next_prompt_score);
}

void weft_session_reuse_pages(weft_session *session) {
    weft_pages *pages = &session->engine->pages;
    const int32_t page_size = session->engine->config.page_size, end = session->n_queued + weft_session_pending(session);
    if (!shares(session) || session->n_cached != session->n_queued || session->n_named != session->n_pages) return;
    if (session->n_queued != session->n_pages * page_size) return;
    for (int32_t i = session->n_pages; (int64_t)(i + 1) * page_size < end && !has_heads(session, (i + 1) * page_size); i++) {
        int32_t page = weft_pages_find(pages, name_before(session, i), session->options.share_group,
                                       session->tokens + (size_t)i * (size_t)page_size);
        if (page < 0) return;
        session->page_table[i] = page;
        session->page_names[i] = pages->entries[page].name;
        session->n_pages = session->n_named = i + 1;
        session->n_cached = session->n_queued = (i + 1) * page_size;
        session->timing.n_reused += (uint64_t)page_size;
    }
}
