/* Calls that wait on a session, and what a cancel does.
 *
 * The invariant: a call that waits has a reason to wait that a step, or another call, can end. It is kept like this.
 * - A call stands in the session's list from before it waits until it returns. An event that ends its reason (the prompt is in the
 * cache, the answer is over, or a cancel) also ends the call, at once and under the mutex. So a call never waits for an event of
 * the past, even if another session gets its prompt's pages before its thread runs again.
 * - Until then the session is active: weft_session_next waits while an answer has nothing to read, and a call of
 *   weft_session_prefill in the list makes its session want its prompt. (Or another thread is adding to the session; this ends by
 * itself.)
 * - If a session is active and no step is running, the scheduler finds rows to run, or a session fails (tenure.c).
 * So each pass of a waiting call's loop runs a step, or sleeps while another thread runs one. If a pass can do neither, weft has a
 * bug: the call fails and does not spin.
 *
 * A call that is over before its step has ended leaves the step to others (step.c): `stepping` is false then, and the step stays in
 * flight. It needs neither the call nor the session any more, and the next pass of any call, weft_engine_step or the engine's end
 * waits for it. */
#include "decoder/engine.h"

/* How often a thread that waits for another thread's step checks whether it was cancelled. */
#define LOOK_NS UINT64_C(20000000)

void weft_call_begin(weft_session *session, weft_call *call) {
    call->session = session;
    call->next = session->calls;
    session->calls = call;
    if (call->kind == WEFT_CALL_PREFILL) session->n_prefills++;
}

/* Takes the call out of the list. */
static void leave(weft_session *session, const weft_call *call) {
    weft_call **place = &session->calls;
    while (*place != call) place = &(*place)->next;
    *place = call->next;
    if (call->kind == WEFT_CALL_PREFILL) session->n_prefills--;
}

void weft_call_end(weft_session *session, weft_call *call) {
    if (!call->ended) leave(session, call);
}

void weft_calls_end(weft_session *session, weft_call_kind kind, const weft_call *but, weft_finish finish) {
    for (weft_call *call = session->calls, *next; call; call = next) {
        next = call->next;
        if (call->kind != kind || call == but) continue;
        leave(session, call);
        call->ended = true;
        call->finish = finish;
    }
    weft_os_condition_wake_all(&session->engine->changed);
}

weft_status weft_call_wait(weft_session *session, weft_call *call, weft_error *error) {
    weft_engine *engine = session->engine;
    bool ran = false;
    int32_t n_rows = 0;
    if (engine->stepping) {
        weft_engine_rest(engine);
        weft_os_condition_wait(&engine->changed, &engine->mutex, LOOK_NS);
        weft_engine_work(engine);
        return WEFT_OK;
    }
    weft_status status = weft_step(engine, call, &ran, &n_rows, error);
    call->n_idle = ran ? 0 : call->n_idle + 1;
    /* A single idle pass is no bug: the session may have been cancelled just now. */
    if (status == WEFT_OK && call->n_idle > 1 && session->failed == WEFT_OK)
        return weft_fail(error, WEFT_FAILED, "the engine found nothing to run for a session that waits");
    return status;
}

/* ---- Cancels ---- */

void weft_session_see_cancel(weft_session *session, const weft_call *own) {
    if (!atomic_exchange(&session->cancelled, false)) return;
    const weft_call *tells = own && own->kind == WEFT_CALL_NEXT ? own : NULL;
    session->wants_prompt = false;
    if (session->answering) {
        weft_session_abandon(session, WEFT_FINISH_CANCELLED);
        /* A call of weft_session_next reports the end of the answer: one that waits now, or else the next one. */
        for (const weft_call *call = session->calls; call && !tells; call = call->next)
            if (call->kind == WEFT_CALL_NEXT) session->answering = false;
    } else {
        weft_session_unqueue(session, session->n_cached);
    }
    weft_calls_end(session, WEFT_CALL_NEXT, tells, WEFT_FINISH_CANCELLED);
    weft_calls_end(session, WEFT_CALL_PREFILL, NULL, WEFT_FINISH_CANCELLED);
}

void weft_session_drop_cancel(weft_session *session) {
    if (session->calls)
        weft_session_see_cancel(session, NULL);
    else
        atomic_store(&session->cancelled, false);
    atomic_store(&session->adding_cancelled, false);
}

void weft_session_stop_answer(weft_session *session) {
    weft_session_drop_cancel(session);
    if (session->answering) {
        weft_session_abandon(session, WEFT_FINISH_CANCELLED);
        weft_calls_end(session, WEFT_CALL_NEXT, NULL, WEFT_FINISH_CANCELLED);
    }
    session->answering = false;
    session->failed = WEFT_OK;
    session->failure_told = false;
}
