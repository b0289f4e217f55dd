/* Questions and answers. */
#include "talk.h"

void talk_read(talks *t, conversation *c) {
    if (!talk_open(t, c)) return;
    if (!c->answers) talk_tell_messages(t, c); /* otherwise the pieces tell */
    talk_tell_figures(t, c);
}

/* ---- Questions ---- */

/* False if the user has stopped the answer before it began. */
static bool set_busy(conversation *c, bool is_busy) {
    g_mutex_lock(&c->mutex);
    bool goes_on = !c->is_stopped;
    c->is_busy = is_busy && goes_on;
    g_mutex_unlock(&c->mutex);
    return goes_on;
}

static weft_status say(conversation *c, const question *q, weft_error *error) {
    weft_message first;
    weft_status status = WEFT_OK;
    if (q->n_kept >= 0) status = weft_session_rewind_messages(c->session, (size_t)q->n_kept, error);
    if (status != WEFT_OK || !q->text) return status;
    bool is_new = !weft_session_message_at(c->session, 0, &first);
    if (is_new && q->system && *q->system) status = weft_session_say(c->session, WEFT_SYSTEM, q->system, error);
    return status == WEFT_OK ? weft_session_say(c->session, WEFT_USER, q->text, error) : status;
}

static void end(talks *t, conversation *c, weft_finish finish) {
    c->answers = false;
    set_busy(c, false);
    talk_save(t, c);
    talk_tell_messages(t, c);
    talk_tell_figures(t, c);
    mailbox_post(t->box, (event){.kind = EVENT_END, .about = c, .finish = finish});
}

/* What comes after an edited message is kept until the new one is said. */
static weft_status say_instead(talks *t, conversation *c, const question *q, weft_error *error) {
    weft_session *before = NULL;
    weft_status status = talk_copy(t, c, &before, error);
    if (status != WEFT_OK) return status;
    status = say(c, q, error);
    if (status == WEFT_OK)
        weft_session_destroy(before);
    else
        talk_replace(c, before);
    return status;
}

static void refuse(const talks *t, conversation *c) {
    mailbox_post(t->box, (event){.kind = EVENT_REFUSED, .about = c});
}

void talk_ask(talks *t, conversation *c, const question *q) {
    weft_error error;
    if (!talk_open(t, c)) {
        refuse(t, c);
        return;
    }
    if (!set_busy(c, true)) {
        end(t, c, WEFT_FINISH_CANCELLED);
        return;
    }
    weft_status status = weft_session_set_sampling(c->session, &q->sampling, &error);
    if (status == WEFT_OK) status = q->text && q->n_kept >= 0 ? say_instead(t, c, q, &error) : say(c, q, &error);
    if (status != WEFT_OK) {
        set_busy(c, false);
        refuse(t, c);
        talk_tell_messages(t, c);
        talk_fail(t, c, &error);
        return;
    }
    weft_session_measure(c->session, &c->before);
    c->n_done = c->n_all = 0;
    c->answers = true;
    talk_tell_messages(t, c);
}

/* ---- Answers ---- */

static void fail_answer(talks *t, conversation *c, const weft_error *error) {
    c->answers = false;
    set_busy(c, false);
    talk_save(t, c);
    talk_tell_messages(t, c);
    talk_fail(t, c, error);
}

/* All pieces that there are now. */
static void give_pieces(talks *t, conversation *c) {
    weft_error error;
    weft_piece piece = {.last = false};
    bool found = true;
    while (c->answers && found) {
        weft_status status = weft_session_poll(c->session, &piece, &found, &error);
        if (status != WEFT_OK) fail_answer(t, c, &error);
        if (status != WEFT_OK || !found) return;
        if (piece.size > 0)
            mailbox_post(t->box, (event){.kind = EVENT_PIECE, .about = c, .text = g_strndup(piece.text, piece.size)});
        if (piece.last) end(t, c, piece.finish);
    }
}

static void tell_prefill(talks *t, conversation *c) {
    if (c->n_all == 0) return;
    mailbox_post(t->box, (event){.kind = EVENT_PREFILL, .about = c, .done = c->n_done, .all = c->n_all});
    c->n_all = 0;
}

bool talks_answering(const talks *t) {
    for (guint i = 0; i < t->open->len; i++)
        if (((const conversation *)t->open->pdata[i])->answers) return true;
    return false;
}

/* For all conversations that are answered now. `what` may close conversations. */
static void each_answer(talks *t, void (*what)(talks *t, conversation *c)) {
    GPtrArray *open = g_ptr_array_copy(t->open, (GCopyFunc)(void (*)(void))conversation_ref, NULL);
    g_ptr_array_set_free_func(open, (GDestroyNotify)conversation_unref);
    for (guint i = 0; i < open->len; i++)
        if (((const conversation *)open->pdata[i])->answers) what(t, open->pdata[i]);
    g_ptr_array_unref(open);
}

static void fail_step(talks *t, conversation *c) {
    fail_answer(t, c, &t->error);
}

void talks_step(talks *t) {
    each_answer(t, give_pieces);
    if (!talks_answering(t)) return;
    if (weft_engine_step(t->engine, NULL, &t->error) != WEFT_OK)
        each_answer(t, fail_step);
    else
        each_answer(t, tell_prefill);
}

void talk_end_answer(talks *t, conversation *c) {
    weft_session_cancel(c->session);
    while (c->answers) give_pieces(t, c);
}

void talks_tell_figures(talks *t) {
    each_answer(t, talk_tell_figures);
}
