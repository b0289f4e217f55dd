/* Adding text and tokens to sessions. */
#include <string.h>

#include "decoder/prompt.h"

weft_addition weft_addition_begin(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    weft_session_stop_answer(session);
    session->adding = true;
    weft_addition a = {.session = session,
                       .n_tokens = session->n_tokens,
                       .chat_state = session->chat_state,
                       .ended = session->ended,
                       .sink = {.tokens = session->tokens + session->n_tokens,
                                .capacity = (size_t)(session->options.n_ctx - session->n_tokens),
                                .bounded = true,
                                .cancelled = &session->adding_cancelled},
                       .n_kept = session->n_tokens};
    weft_os_mutex_unlock(&engine->mutex);
    return a;
}

static void add(weft_addition *a) {
    weft_session *session = a->session;
    if (a->n_kept < session->n_tokens) weft_session_forget(session, a->n_kept);
    /* Then the last of the old tokens runs again, so that there is a row to run. */
    if (a->n_added == 0 && a->n_kept > 0) weft_session_unqueue(session, a->n_kept - 1);
    if (a->added && a->n_added > 0) memcpy(session->tokens + session->n_tokens, a->added, a->n_added * sizeof *a->added);
    session->ended = false;
    session->text_size = session->text_given = 0;
    weft_session_added(session, (int32_t)a->n_added);
}

weft_status weft_addition_end(weft_addition *a, weft_status status, weft_chat_state state, weft_error *error) {
    weft_session *session = a->session;
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    session->adding = false;
    weft_os_condition_wake_all(&engine->changed);
    if (status == WEFT_OK && (a->n_added > 0 || a->n_kept < a->n_tokens)) add(a);
    if (status == WEFT_OK) session->chat_state = state;
    if (status == WEFT_FULL)
        status = weft_fail(error, WEFT_INVALID_ARGUMENT, "%zu tokens or more do not fit: the session holds %d of %d", a->sink.count,
                           (int)session->n_tokens, (int)session->options.n_ctx);
    /* A cancel that came too late to stop the text counts for the next answer. */
    if (status == WEFT_CANCELLED) weft_session_drop_cancel(session);
    weft_os_mutex_unlock(&engine->mutex);
    return status;
}

/* What follows a message is the answer. */
static weft_chat_state state_after(const weft_addition *a) {
    return a->chat_state == WEFT_CHAT_SAID && a->n_added > 0 ? WEFT_CHAT_ANSWER : a->chat_state;
}

weft_status weft_session_add_text(weft_session *session, const char *text, size_t size, bool special, weft_error *error) {
    if (!session || (!text && size))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_add_text: session or text is missing");
    weft_addition a = weft_addition_begin(session);
    weft_status status =
        weft_tokenizer_append(session->engine->model->tokenizer, text, size, special && a.n_tokens == 0, special, &a.sink, error);
    a.n_added = a.sink.count;
    return weft_addition_end(&a, status, state_after(&a), error);
}

static weft_status copy_tokens(weft_addition *a, const weft_token *tokens, size_t n_tokens, weft_error *error) {
    int32_t n_vocab = a->session->engine->model->hyper.n_vocab;
    a->sink.count = n_tokens;
    if (n_tokens > a->sink.capacity) return WEFT_FULL;
    for (size_t i = 0; i < n_tokens; i++) {
        if (tokens[i] < 0 || tokens[i] >= n_vocab)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "token %zu is %d; the vocabulary has %d", i, (int)tokens[i],
                             (int)n_vocab);
        a->sink.tokens[i] = tokens[i];
    }
    return WEFT_OK;
}

weft_status weft_session_add_tokens(weft_session *session, const weft_token *tokens, size_t n_tokens, weft_error *error) {
    if (!session || (!tokens && n_tokens))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_add_tokens: session or tokens is missing");
    weft_addition a = weft_addition_begin(session);
    weft_status status = copy_tokens(&a, tokens, n_tokens, error);
    a.n_added = n_tokens;
    return weft_addition_end(&a, status, state_after(&a), error);
}

void weft_session_tokens(const weft_session *session, const weft_token **tokens, size_t *n_tokens) {
    if (tokens) *tokens = NULL;
    if (n_tokens) *n_tokens = 0;
    if (!session) return;
    weft_os_mutex_lock(&session->engine->mutex);
    if (tokens) *tokens = session->tokens;
    if (n_tokens) *n_tokens = (size_t)session->n_read;
    weft_os_mutex_unlock(&session->engine->mutex);
}
