/* Answers: the next piece of text, stepping the engine as often as it takes. */
#include <string.h>

#include "decoder/engine.h"

/* A thread that waits for another's step looks up this often whether it was cancelled meanwhile. */
#define LOOK_NS UINT64_C(50000000)

/* ---- Text ---- */

/* Bytes at the end that begin a UTF-8 character and do not end it. */
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

/* Forgets the text that was given out. */
static void drop_given(weft_session *session) {
    session->text_size -= session->text_given;
    if (session->text_size > 0) memmove(session->text, session->text + session->text_given, session->text_size);
    session->text_given = 0;
}

static weft_status append_text(weft_session *session, weft_token token, weft_error *error) {
    const weft_engine *engine = session->engine;
    const weft_tokenizer *tokenizer = engine->model->tokenizer;
    /* A model may have more outputs than the vocabulary has tokens. */
    if (token >= weft_tokenizer_size(tokenizer) || weft_tokenizer_is_control(tokenizer, token)) return WEFT_OK;
    weft_text bytes = weft_tokenizer_bytes(tokenizer, token);
    size_t size = session->text_size + bytes.size;
    if (size > session->text_capacity) {
        char *grown = weft_reallocate(engine->runtime, session->text, session->text_capacity, size * 2);
        if (grown == NULL) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu bytes of text", size * 2);
        session->text = grown;
        session->text_capacity = size * 2;
    }
    if (bytes.size > 0) memcpy(session->text + session->text_size, bytes.bytes, bytes.size);
    session->text_size = size;
    return WEFT_OK;
}

/* ---- Pieces ---- */

static weft_status give_token(weft_session *session, weft_piece *piece, weft_error *error) {
    weft_token token = session->tokens[session->n_read];
    weft_status status = append_text(session, token, error);
    if (status != WEFT_OK) return status;
    const weft_choice *choice = &session->choices[session->n_read % WEFT_CHOICES];
    session->n_read++;
    session->text_given = session->text_size - unfinished(session->text, session->text_size);
    *piece = (weft_piece){.text = session->text_given > 0 ? session->text : "", .size = session->text_given, .token = token};
    if (session->options.n_top > 0) {
        piece->chosen = (weft_logprob){.id = token, .logprob = choice->logprob};
        piece->top = choice->top;
        piece->n_top = (size_t)session->options.n_top;
    }
    return WEFT_OK;
}

static void give_last(weft_session *session, weft_piece *piece) {
    session->text_given = session->text_size;
    session->n_read = session->n_tokens;
    session->answering = false;
    session->ended = session->finish == WEFT_FINISH_STOP;
    *piece = (weft_piece){.text = session->text_size > 0 ? session->text : "",
                          .size = session->text_size,
                          .token = WEFT_NO_TOKEN,
                          .chosen = {.id = WEFT_NO_TOKEN},
                          .last = true,
                          .finish = session->finish};
}

/* ---- Stepping ---- */

static weft_status report_failure(weft_session *session, weft_error *error) {
    weft_status failed = session->failed;
    const weft_engine *engine = session->engine;
    session->failure_told = true;
    if (session->pages_needed > engine->pages.n_pages)
        return weft_fail(error, failed,
                         "the sequence needs %d KV-cache pages and the engine has %d: create it with a larger n_cache",
                         (int)session->pages_needed, (int)engine->pages.n_pages);
    return weft_fail(error, failed, "all %d KV-cache pages are taken: destroy sessions, or create the engine with a larger n_cache",
                     (int)engine->pages.n_pages);
}

static void try_again(weft_session *session) {
    if (session->failure_told) session->failed = WEFT_OK;
    session->failure_told = false;
}

/* One step, or the wait for one that another thread runs. `idle` counts the steps in a row that had nothing to do. */
static weft_status go_on(weft_session *session, int *idle, weft_error *error) {
    weft_engine *engine = session->engine;
    bool ran = false;
    int32_t n_rows = 0;
    if (engine->stepping) {
        weft_engine_rest(engine);
        weft_os_condition_wait(&engine->changed, &engine->mutex, LOOK_NS);
        weft_engine_work(engine);
        return WEFT_OK;
    }
    weft_status status = weft_step(engine, &ran, &n_rows, error);
    *idle = ran ? 0 : *idle + 1;
    if (status == WEFT_OK && *idle > 1 && weft_session_active(session))
        return weft_fail(error, WEFT_FAILED, "the engine found nothing to run for a session that waits");
    return status;
}

/* ---- Answers ---- */

static weft_status begin(weft_session *session, weft_error *error) {
    weft_status status = weft_session_begin_answer(session, error);
    if (status != WEFT_OK) return status;
    if (session->n_tokens == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "the session is empty: say something, or add text or tokens, before the answer");
    if (session->ended) return weft_fail(error, WEFT_INVALID_ARGUMENT, "the answer is over: say or add something before the next");
    bool was_active = weft_session_active(session);
    /* Only the row of the last token says what follows it. */
    if (session->n_queued >= session->n_tokens) weft_session_rewind(session, session->n_tokens - 1);
    session->answering = true;
    session->finish = session->n_tokens == session->options.n_ctx ? WEFT_FINISH_LENGTH : WEFT_FINISH_NOT;
    session->n_generated = 0;
    session->text_size = session->text_given = 0;
    if (!was_active) weft_session_arrive(session);
    return WEFT_OK;
}

static int32_t n_unread(const weft_session *session) {
    return session->n_tokens - session->n_read - (session->finish == WEFT_FINISH_STOP ? 1 : 0);
}

/* What another thread is adding comes before the answer. */
static void await_added(weft_session *session) {
    weft_engine *engine = session->engine;
    weft_engine_rest(engine);
    while (session->adding) weft_os_condition_wait(&engine->changed, &engine->mutex, UINT64_MAX);
    weft_engine_work(engine);
}

static weft_status next_piece(weft_session *session, weft_piece *piece, weft_error *error) {
    await_added(session);
    try_again(session);
    weft_status status = session->answering ? WEFT_OK : begin(session, error);
    if (status != WEFT_OK) return status;
    drop_given(session);
    for (int idle = 0;;) {
        if (atomic_exchange(&session->cancelled, false)) weft_session_abandon(session, WEFT_FINISH_CANCELLED);
        if (session->finish != WEFT_FINISH_CANCELLED && n_unread(session) > 0) return give_token(session, piece, error);
        if (session->finish != WEFT_FINISH_NOT) {
            give_last(session, piece);
            return WEFT_OK;
        }
        if (session->failed != WEFT_OK) return report_failure(session, error);
        status = go_on(session, &idle, error);
        if (status != WEFT_OK) return status;
    }
}

weft_status weft_session_next(weft_session *session, weft_piece *piece, weft_error *error) {
    weft_engine_enter(session->engine);
    weft_status status = next_piece(session, piece, error);
    weft_engine_leave(session->engine);
    return status;
}

static weft_status prefill(weft_session *session, weft_error *error) {
    try_again(session);
    session->wants_prompt = session->n_cached < session->n_prompt;
    for (int idle = 0; session->n_cached < session->n_prompt;) {
        if (atomic_exchange(&session->cancelled, false)) {
            session->wants_prompt = false;
            return weft_fail(error, WEFT_CANCELLED, "the session was cancelled with %d of %d prompt tokens in the cache",
                             (int)session->n_cached, (int)session->n_prompt);
        }
        if (session->failed != WEFT_OK) return report_failure(session, error);
        weft_status status = go_on(session, &idle, error);
        if (status != WEFT_OK) return status;
    }
    return WEFT_OK;
}

weft_status weft_session_prefill(weft_session *session, weft_error *error) {
    weft_engine_enter(session->engine);
    weft_status status = prefill(session, error);
    weft_engine_leave(session->engine);
    return status;
}
