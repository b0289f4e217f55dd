/* Adding tokens to sessions: text, ids, and messages in the model's chat format. */
#include <string.h>

#include "decoder/engine.h"

/* Tokens that are being added to a session. They are written after the session's tokens, without the engine's mutex, which a long
 * text would hold for too long. `adding` prevents other threads from adding to the session or beginning an answer meanwhile. */
typedef struct addition {
    weft_session *session;
    int32_t n_tokens; /* in the session before adding; the next two members are of that time too */
    weft_chat_state chat_state;
    weft_token last;
    weft_token_sink sink;
} addition;

static weft_token_sink sink_of(const weft_session *session) {
    return (weft_token_sink){.tokens = session->tokens + session->n_tokens,
                             .capacity = (size_t)(session->options.n_ctx - session->n_tokens),
                             .bounded = true};
}

static addition begin_adding(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    weft_session_stop_answer(session);
    session->adding = true;
    addition a = {.session = session,
                  .n_tokens = session->n_tokens,
                  .chat_state = session->chat_state,
                  .last = session->n_tokens > 0 ? session->tokens[session->n_tokens - 1] : WEFT_NO_TOKEN,
                  .sink = sink_of(session)};
    weft_os_mutex_unlock(&engine->mutex);
    return a;
}

static void added(weft_session *session, size_t count, weft_chat_state state) {
    session->ended = false;
    session->text_size = session->text_given = 0;
    weft_session_added(session, (int32_t)count, state);
}

static weft_status too_many(const weft_session *session, size_t count, weft_error *error) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%zu tokens or more do not fit: the session holds %d of %d", count,
                     (int)session->n_tokens, (int)session->options.n_ctx);
}

/* Adds the first `count` of the new tokens to the session, unless `status` says that tokenizing failed. */
static weft_status end_adding(addition *a, weft_status status, size_t count, weft_chat_state state, weft_error *error) {
    weft_session *session = a->session;
    weft_engine *engine = session->engine;
    weft_os_mutex_lock(&engine->mutex);
    session->adding = false;
    weft_os_condition_wake_all(&engine->changed);
    if (status == WEFT_OK && count > 0) added(session, count, state);
    if (status == WEFT_FULL) status = too_many(session, a->sink.count, error);
    /* A cancel that came too late to stop the text counts for the next answer. */
    if (status == WEFT_CANCELLED) weft_session_drop_cancel(session);
    weft_os_mutex_unlock(&engine->mutex);
    return status;
}

weft_status weft_session_add_text(weft_session *session, const char *text, size_t size, bool special, weft_error *error) {
    if (!session || (!text && size))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_add_text: session or text is missing");
    addition a = begin_adding(session);
    a.sink.cancelled = &session->adding_cancelled;
    weft_status status =
        weft_tokenizer_append(session->engine->model->tokenizer, text, size, special && a.n_tokens == 0, special, &a.sink, error);
    return end_adding(&a, status, a.sink.count, WEFT_CHAT_PLAIN, error);
}

static weft_status copy_tokens(addition *a, const weft_token *tokens, size_t n_tokens, weft_error *error) {
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
    addition a = begin_adding(session);
    weft_status status = copy_tokens(&a, tokens, n_tokens, error);
    return end_adding(&a, status, n_tokens, WEFT_CHAT_PLAIN, error);
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

/* ---- Messages ---- */

static weft_status append_message(addition *a, weft_role role, const char *text, weft_error *error) {
    const weft_model *model = a->session->engine->model;
    weft_status status = WEFT_OK;
    if (role == WEFT_SYSTEM && a->n_tokens > 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a system message comes first; the session holds %d tokens already",
                         (int)a->n_tokens);
    if (a->chat_state == WEFT_CHAT_ANSWER) status = weft_chat_end_answer(model->chat, model->tokenizer, a->last, &a->sink, error);
    if (status != WEFT_OK) return status;
    return weft_chat_message(model->chat, model->tokenizer, a->n_tokens == 0, role, text, strlen(text), &a->sink, error);
}

weft_status weft_session_say(weft_session *session, weft_role role, const char *text, weft_error *error) {
    if (!session || !text) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_say: session or text is missing");
    const weft_model *model = session->engine->model;
    if (!model->chat)
        return weft_fail(error, WEFT_UNSUPPORTED,
                         "%s: no known chat format: %s; format the text yourself and add it with weft_session_add_text",
                         model->path, model->chat_reason);
    if (role < WEFT_SYSTEM || role > WEFT_ASSISTANT) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d is not a role", (int)role);
    addition a = begin_adding(session);
    a.sink.cancelled = &session->adding_cancelled;
    weft_status status = append_message(&a, role, text, error);
    size_t count = a.sink.count;
    /* There must be room to begin the answer too. */
    if (status == WEFT_OK && role == WEFT_USER) status = weft_chat_begin_answer(model->chat, model->tokenizer, &a.sink, error);
    return end_adding(&a, status, count, WEFT_CHAT_SAID, error);
}

weft_status weft_session_begin_answer(weft_session *session, weft_error *error) {
    const weft_model *model = session->engine->model;
    if (session->chat_state != WEFT_CHAT_SAID) return WEFT_OK;
    weft_token_sink sink = sink_of(session);
    weft_status status = weft_chat_begin_answer(model->chat, model->tokenizer, &sink, error);
    if (status == WEFT_FULL) return too_many(session, sink.count, error);
    if (status == WEFT_OK) added(session, sink.count, WEFT_CHAT_ANSWER);
    return status;
}
