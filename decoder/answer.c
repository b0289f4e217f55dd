/* Answers: gives the next piece of text, and runs engine steps until there is one. */
#include <string.h>

#include "decoder/engine.h"

/* ---- Text ---- */

/* The number of bytes at the end that are an incomplete UTF-8 character. */
static size_t unfinished(const char *text, size_t size) {
    for (size_t k = 1; k <= 3 && k <= size; k++) {
        unsigned char byte = (unsigned char)text[size - k];
        if (byte < 0x80) return 0;
        if (byte < 0xC0) continue;
        size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
        return byte <= 0xF4 && k < length ? k : 0;
    }
    return 0;
}

/* Removes the text that the caller got last. */
static void drop_given(weft_session *session) {
    session->text_size -= session->text_given;
    if (session->text_size > 0) memmove(session->text, session->text + session->text_given, session->text_size);
    session->text_given = 0;
}

/* Appends the token's text, up to a stop text that ends in it. */
static weft_status append_text(weft_session *session, weft_token token, bool *stopped, weft_error *error) {
    const weft_engine *engine = session->engine;
    const weft_tokenizer *tokenizer = engine->model->tokenizer;
    /* A model may have more outputs than the vocabulary has tokens. */
    if (token >= weft_tokenizer_size(tokenizer) || weft_tokenizer_is_control(tokenizer, token)) return WEFT_OK;
    weft_text bytes = weft_tokenizer_bytes(tokenizer, token);
    size_t size = session->text_size + bytes.size;
    if (size > session->text_capacity) {
        char *grown = weft_reallocate(engine->runtime, session->text, session->text_capacity, size * 2);
        if (!grown) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu bytes of text", size * 2);
        session->text = grown;
        session->text_capacity = size * 2;
    }
    if (bytes.size > 0) memcpy(session->text + session->text_size, bytes.bytes, bytes.size);
    size_t stop_size = 0;
    size_t n_taken = weft_stops_take(&session->sampler->stops, bytes.bytes, bytes.size, &stop_size);
    *stopped = stop_size > 0;
    session->text_size += n_taken - stop_size;
    return WEFT_OK;
}

/* ---- Pieces ---- */

static weft_status give_token(weft_session *session, weft_piece *piece, weft_error *error) {
    weft_token token = session->tokens[session->n_read];
    const weft_sampler *sampler = session->sampler;
    bool stopped = false;
    weft_status status = append_text(session, token, &stopped, error);
    if (status != WEFT_OK) return status;
    int32_t index = session->n_read++;
    size_t size = session->text_size - (stopped ? 0 : weft_stops_held(&sampler->stops));
    session->text_given = size - unfinished(session->text, size);
    *piece = (weft_piece){.text = session->text_given > 0 ? session->text : "", .size = session->text_given, .token = token};
    if (sampler->n_choices > 0) {
        size_t place = (size_t)(index % sampler->n_choices), n_top = (size_t)sampler->options.n_top;
        piece->chosen = (weft_logprob){.id = token, .logprob = sampler->logprobs[place]};
        piece->top = sampler->tops + place * n_top;
        piece->n_top = n_top;
    }
    if (stopped) weft_session_abandon(session, WEFT_FINISH_STOP_TEXT);
    return WEFT_OK;
}

/* Ends the answer, also for other calls that wait for its tokens. */
static void give_last(weft_session *session, const weft_call *call, weft_piece *piece) {
    session->text_given = session->text_size;
    session->n_read = session->n_tokens;
    session->answering = false;
    session->ended = session->finish == WEFT_FINISH_STOP;
    weft_calls_end(session, WEFT_CALL_NEXT, call, session->finish);
    *piece = (weft_piece){.text = session->text_size > 0 ? session->text : "",
                          .size = session->text_size,
                          .token = WEFT_NO_TOKEN,
                          .chosen = {.id = WEFT_NO_TOKEN},
                          .last = true,
                          .finish = session->finish};
}

/* The result of a call whose answer another call has ended. */
static void give_end(weft_finish finish, weft_piece *piece) {
    *piece = (weft_piece){.text = "", .token = WEFT_NO_TOKEN, .chosen = {.id = WEFT_NO_TOKEN}, .last = true, .finish = finish};
}

/* ---- Failures ---- */

static weft_status report_failure(weft_session *session, weft_error *error) {
    weft_status failed = session->failed;
    const weft_engine *engine = session->engine;
    weft_error *of_sampler = &session->sampler->error;
    session->failure_told = true;
    if (of_sampler->status != WEFT_OK) {
        of_sampler->status = WEFT_OK;
        return weft_fail(error, failed, "%s", of_sampler->message);
    }
    if (session->pages_needed > engine->pages.n_pages)
        return weft_fail(error, failed,
                         "the sequence needs %d KV-cache pages and the engine has %d: create it with a larger n_cache",
                         (int)session->pages_needed, (int)engine->pages.n_pages);
    return weft_fail(error, failed,
                     "all %d KV-cache pages are in use: destroy sessions, or create the engine with a larger n_cache",
                     (int)engine->pages.n_pages);
}

static void try_again(weft_session *session) {
    if (session->failure_told) session->failed = WEFT_OK;
    session->failure_told = false;
}

/* ---- Answers ---- */

/* The options that were set during the last answer. */
static void renew_sampler(weft_session *session) {
    if (session->next_sampler) {
        weft_sampler_destroy(session->sampler);
        session->sampler = session->next_sampler;
        session->next_sampler = NULL;
    }
    weft_stops_reset(&session->sampler->stops);
}

static weft_status begin(weft_session *session, weft_error *error) {
    if (session->n_tokens == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "the session is empty: say something, or add text or tokens, before the answer");
    if (session->ended) return weft_fail(error, WEFT_INVALID_ARGUMENT, "the answer is over: say or add something before the next");
    bool was_active = weft_session_active(session);
    /* Only the last token's row gives the next token. */
    if (session->n_queued >= session->n_tokens) weft_session_unqueue(session, session->n_tokens - 1);
    renew_sampler(session);
    session->n_generated = 0;
    weft_status status = weft_sampler_check_room(session->sampler, weft_session_tokens_left(session), error);
    if (status != WEFT_OK) return status;
    session->answering = true;
    if (session->chat_state == WEFT_CHAT_SAID) session->chat_state = WEFT_CHAT_ANSWER;
    session->finish = session->n_tokens == session->options.n_ctx ? WEFT_FINISH_LENGTH : WEFT_FINISH_NOT;
    session->text_size = session->text_given = 0;
    if (!was_active) weft_session_arrive(session);
    return WEFT_OK;
}

static int32_t n_unread(const weft_session *session) {
    return session->n_tokens - session->n_read - (session->finish == WEFT_FINISH_STOP ? 1 : 0);
}

/* Waits for a thread that is adding tokens, since they come before the answer. */
static void await_added(weft_session *session, const weft_call *call) {
    weft_engine *engine = session->engine;
    weft_engine_rest(engine);
    while (session->adding && !call->ended) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    weft_engine_work(engine);
}

/* Gives a piece if there is one. */
static weft_status look_for_piece(weft_session *session, weft_call *call, weft_piece *piece, bool *found, weft_error *error) {
    weft_session_see_cancel(session, call);
    *found = true;
    if (call->ended)
        give_end(call->finish, piece);
    else if (session->finish != WEFT_FINISH_CANCELLED && n_unread(session) > 0)
        return give_token(session, piece, error);
    else if (session->finish != WEFT_FINISH_NOT)
        give_last(session, call, piece);
    else
        *found = false;
    if (*found) return WEFT_OK;
    return session->failed != WEFT_OK ? report_failure(session, error) : WEFT_OK;
}

/* `waits`: runs steps until there is a piece. */
static weft_status next_piece(weft_session *session, bool waits, weft_piece *piece, bool *found, weft_error *error) {
    weft_call call = {.kind = WEFT_CALL_NEXT};
    /* A cancel before this call was for the calls that were waiting then. */
    if (session->calls) weft_session_see_cancel(session, NULL);
    if (session->adding && !waits) return WEFT_OK;
    weft_call_begin(session, &call);
    await_added(session, &call);
    try_again(session);
    weft_status status = session->answering || call.ended ? WEFT_OK : begin(session, error);
    if (status == WEFT_OK && !call.ended) drop_given(session);
    if (status == WEFT_OK) status = look_for_piece(session, &call, piece, found, error);
    while (status == WEFT_OK && waits && !*found) {
        status = weft_call_wait(session, &call, error);
        if (status == WEFT_OK) status = look_for_piece(session, &call, piece, found, error);
    }
    weft_call_end(session, &call);
    if (status == WEFT_OK || !call.ended) return status;
    /* A step has failed, but none of its rows belonged to this call any more. */
    *found = true;
    give_end(call.finish, piece);
    return WEFT_OK;
}

static void tell_room(const weft_session *session, weft_piece *piece) {
    piece->n_left = (size_t)(session->options.n_ctx - session->n_read);
}

weft_status weft_session_next(weft_session *session, weft_piece *piece, weft_error *error) {
    if (!session || !piece) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_next: session or piece is missing");
    bool found = false;
    weft_engine_enter(session->engine);
    weft_status status = next_piece(session, true, piece, &found, error);
    if (status == WEFT_OK) tell_room(session, piece);
    weft_engine_leave(session->engine);
    return status;
}

weft_status weft_session_poll(weft_session *session, weft_piece *piece, bool *found, weft_error *error) {
    if (!session || !piece || !found)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_poll: session, piece or found is missing");
    *found = false;
    if (!weft_engine_try_enter(session->engine)) return WEFT_OK;
    weft_status status = next_piece(session, false, piece, found, error);
    if (status == WEFT_OK && *found) tell_room(session, piece);
    weft_engine_leave(session->engine);
    if (status != WEFT_OK) *found = false;
    return status;
}

static weft_status prefill(weft_session *session, weft_error *error) {
    weft_call call = {.kind = WEFT_CALL_PREFILL};
    weft_status status = WEFT_OK;
    if (session->calls) weft_session_see_cancel(session, NULL);
    try_again(session);
    weft_call_begin(session, &call);
    for (;;) {
        weft_session_see_cancel(session, &call);
        if (status != WEFT_OK || call.ended || session->n_cached >= session->n_prompt) break;
        status = session->failed != WEFT_OK ? report_failure(session, error) : weft_call_wait(session, &call, error);
    }
    weft_call_end(session, &call);
    if (!call.ended) return status;
    if (call.finish != WEFT_FINISH_CANCELLED) return WEFT_OK;
    return weft_fail(error, WEFT_CANCELLED, "the session was cancelled with %d of %d prompt tokens in the cache",
                     (int)(session->n_cached < session->n_prompt ? session->n_cached : session->n_prompt), (int)session->n_prompt);
}

weft_status weft_session_prefill(weft_session *session, weft_error *error) {
    if (!session) return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_session_prefill: session is missing");
    weft_engine_enter(session->engine);
    weft_status status = prefill(session, error);
    weft_engine_leave(session->engine);
    return status;
}
