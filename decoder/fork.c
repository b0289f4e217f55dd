/* Forks: the copy has the pages that are complete in common with the session, and a copy of the last one. */
#include <string.h>

#include "decoder/cache_copy.h"

/* Other threads neither add to the session nor begin an answer meanwhile; its steps go on. */
static void hold(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    session->adding = true;
    weft_os_mutex_unlock(&engine->mutex);
}

/* The last row is to give the next token, so the page that it is written to is the copy's own. */
static void share_pages(const weft_session *session, weft_session *copy) {
    weft_engine *engine = session->engine;
    const int32_t page_size = engine->config.page_size;
    const int32_t n = session->n_cached < copy->n_tokens ? session->n_cached : copy->n_tokens;
    copy->n_pages = n > 0 ? (n - 1) / page_size : 0;
    if (!weft_session_sees(session, copy->n_pages * page_size)) copy->n_pages = 0;
    copy->n_passed = copy->n_pages > 0 ? session->n_passed : 0;
    copy->n_named = session->n_named < copy->n_pages ? session->n_named : copy->n_pages;
    copy->is_carried = session->is_carried;
    copy->n_cached = copy->n_queued = copy->n_pages * page_size;
    copy->timing.n_reused = (uint64_t)copy->n_cached;
    for (int32_t i = 0; i < copy->n_pages; i++) {
        copy->page_table[i] = session->page_table[i];
        copy->page_names[i] = session->page_names[i];
        if (i >= copy->n_passed) weft_pages_share(&engine->pages, copy->page_table[i]);
    }
    weft_windowed_share(session, copy);
    if (copy->options.share_group != session->options.share_group) copy->n_named = 0;
}

static weft_chat_state state_of(const weft_session *session, const weft_session *copy) {
    const weft_conversation *conversation = &copy->conversation;
    if (session->chat_state == WEFT_CHAT_PLAIN || conversation->is_cut) return session->chat_state;
    return weft_conversation_answered(conversation, copy->n_tokens) ? WEFT_CHAT_ANSWER : WEFT_CHAT_SAID;
}

/* The session's tokens as far as they were read. */
static weft_status take_tokens(const weft_session *session, weft_session *copy, weft_error *error) {
    const int32_t n = session->n_read;
    if (n > copy->options.n_ctx)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the session holds %d tokens, and its fork would have room for %d", (int)n,
                         (int)copy->options.n_ctx);
    memcpy(copy->tokens, session->tokens, (size_t)n * sizeof *copy->tokens);
    copy->n_tokens = copy->n_prompt = copy->n_read = n;
    copy->next_prompt_score = n > 0 ? n : 1;
    copy->next_logits = n > 0 ? n - 1 : 0;
    copy->ended = session->ended;
    copy->chat_state = state_of(session, copy);
    share_pages(session, copy);
    return WEFT_OK;
}

weft_status weft_session_fork(weft_session *session, const weft_session_options *options, weft_session **copy, weft_error *error) {
    if (!session || !copy) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_fork: session or copy is missing");
    if (options && options->chat)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "options.chat of a fork must be NULL: its messages are rendered as the session's");
    weft_engine *engine = session->engine;
    weft_session *made = NULL;
    hold(session);
    weft_session_options chosen = options ? *options : session->options;
    chosen.chat = &session->conversation.options;
    weft_status status = weft_session_create(engine, &chosen, &made, error);
    if (status == WEFT_OK) status = weft_conversation_copy(&made->conversation, &session->conversation, error);
    weft_os_mutex_lock(&engine->mutex);
    if (status == WEFT_OK) status = take_tokens(session, made, error);
    weft_os_mutex_unlock(&engine->mutex);
    if (status == WEFT_OK) weft_cache_copy_rest(session, made);
    weft_os_mutex_lock(&engine->mutex);
    session->adding = false;
    weft_os_condition_wake_all(&engine->changed);
    weft_os_mutex_unlock(&engine->mutex);
    if (status == WEFT_OK)
        *copy = made;
    else
        weft_session_destroy(made);
    return status;
}
