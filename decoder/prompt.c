/* Adding tokens to sessions: text, ids, and messages in the model's chat format. */
#include <string.h>

#include "decoder/engine.h"

static weft_status check_room(const weft_session *session, size_t count, weft_error *error) {
    size_t room = (size_t)(session->options.n_ctx - session->n_tokens);
    if (count <= room) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%zu tokens are too many: the session holds %d of %d", count,
                     (int)session->n_tokens, (int)session->options.n_ctx);
}

/* An answer that goes on ends where it was read. */
static void begin_adding(weft_session *session) {
    if (session->answering) weft_session_abandon(session, WEFT_FINISH_CANCELLED);
    session->answering = false;
    session->failed = WEFT_OK;
    session->failure_told = false;
    atomic_store(&session->cancelled, false);
}

static void added(weft_session *session, size_t count, weft_chat_state state) {
    session->ended = false;
    session->text_size = session->text_given = 0;
    weft_session_added(session, (int32_t)count, state);
}

static weft_status add_text(weft_session *session, const char *text, size_t size, bool special, weft_error *error) {
    size_t count = 0;
    begin_adding(session);
    size_t room = (size_t)(session->options.n_ctx - session->n_tokens);
    weft_status status = weft_tokenizer_encode(session->engine->model->tokenizer, text, size, special && session->n_tokens == 0,
                                               special, session->tokens + session->n_tokens, room, &count, error);
    if (status == WEFT_OK) status = check_room(session, count, error);
    if (status == WEFT_OK && count > 0) added(session, count, WEFT_CHAT_PLAIN);
    return status;
}

weft_status weft_session_add_text(weft_session *session, const char *text, size_t size, bool special, weft_error *error) {
    weft_os_mutex_lock(&session->engine->mutex);
    weft_status status = add_text(session, text, size, special, error);
    weft_os_mutex_unlock(&session->engine->mutex);
    return status;
}

static weft_status add_tokens(weft_session *session, const weft_token *tokens, size_t n_tokens, weft_error *error) {
    int32_t n_vocab = session->engine->model->hyper.n_vocab;
    begin_adding(session);
    weft_status status = check_room(session, n_tokens, error);
    if (status != WEFT_OK) return status;
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || tokens[i] >= n_vocab)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "token %zu is %d; the vocabulary has %d", i, (int)tokens[i],
                             (int)n_vocab);
    for (size_t i = 0; i < n_tokens; i++) session->tokens[session->n_tokens + (int32_t)i] = tokens[i];
    if (n_tokens > 0) added(session, n_tokens, WEFT_CHAT_PLAIN);
    return WEFT_OK;
}

weft_status weft_session_add_tokens(weft_session *session, const weft_token *tokens, size_t n_tokens, weft_error *error) {
    weft_os_mutex_lock(&session->engine->mutex);
    weft_status status = add_tokens(session, tokens, n_tokens, error);
    weft_os_mutex_unlock(&session->engine->mutex);
    return status;
}

void weft_session_tokens(const weft_session *session, const weft_token **tokens, size_t *n_tokens) {
    weft_os_mutex_lock(&session->engine->mutex);
    *tokens = session->tokens;
    *n_tokens = (size_t)session->n_read;
    weft_os_mutex_unlock(&session->engine->mutex);
}

/* ---- Messages ---- */

/* Where the tokens of a message go: past those of the session, as far as there is room. */
typedef struct appended {
    weft_session *session;
    size_t room, count;
} appended;

static weft_token *next_place(const appended *a) {
    return a->session->tokens + a->session->n_tokens + (a->count < a->room ? a->count : a->room);
}

static size_t room_left(const appended *a) {
    return a->count < a->room ? a->room - a->count : 0;
}

static weft_status append_message(appended *a, weft_role role, const char *text, weft_error *error) {
    const weft_session *session = a->session;
    const weft_model *model = session->engine->model;
    size_t count = 0;
    weft_status status = WEFT_OK;
    if (session->chat_state == WEFT_CHAT_ANSWER) {
        weft_token last = session->tokens[session->n_tokens - 1];
        status = weft_chat_end_answer(model->chat, model->tokenizer, last, next_place(a), room_left(a), &count, error);
        a->count += count;
        if (status != WEFT_OK) return status;
    }
    status = weft_chat_message(model->chat, model->tokenizer, session->n_tokens == 0, role, text, strlen(text), next_place(a),
                               room_left(a), &count, error);
    a->count += count;
    return status;
}

static weft_status say(weft_session *session, weft_role role, const char *text, weft_error *error) {
    const weft_model *model = session->engine->model;
    if (model->chat == NULL)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: no known chat format: %s", model->path, model->chat_reason);
    if (role < WEFT_SYSTEM || role > WEFT_ASSISTANT) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%d is not a role", (int)role);
    begin_adding(session);
    if (role == WEFT_SYSTEM && session->n_tokens > 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a system message comes first; the session holds %d tokens already",
                         (int)session->n_tokens);
    appended a = {.session = session, .room = (size_t)(session->options.n_ctx - session->n_tokens)};
    weft_status status = append_message(&a, role, text, error);
    size_t begin = 0;
    /* There must be room to begin the answer too. */
    if (status == WEFT_OK && role == WEFT_USER)
        status = weft_chat_begin_answer(model->chat, model->tokenizer, next_place(&a), room_left(&a), &begin, error);
    if (status == WEFT_OK) status = check_room(session, a.count + begin, error);
    if (status == WEFT_OK) added(session, a.count, WEFT_CHAT_SAID);
    return status;
}

weft_status weft_session_say(weft_session *session, weft_role role, const char *text, weft_error *error) {
    weft_os_mutex_lock(&session->engine->mutex);
    weft_status status = say(session, role, text, error);
    weft_os_mutex_unlock(&session->engine->mutex);
    return status;
}

weft_status weft_session_begin_answer(weft_session *session, weft_error *error) {
    const weft_model *model = session->engine->model;
    if (session->chat_state != WEFT_CHAT_SAID) return WEFT_OK;
    size_t count = 0, room = (size_t)(session->options.n_ctx - session->n_tokens);
    weft_status status =
        weft_chat_begin_answer(model->chat, model->tokenizer, session->tokens + session->n_tokens, room, &count, error);
    if (status == WEFT_OK) status = check_room(session, count, error);
    if (status == WEFT_OK) added(session, count, WEFT_CHAT_ANSWER);
    return status;
}
