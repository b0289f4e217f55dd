/* Sessions: opened from a file or new, saved, closed when there are too many, and moved to another engine. */
#include <glib/gstdio.h>

#include "talk.h"

void talks_begin(talks *t, mailbox *box) {
    *t = (talks){.box = box, .open = g_ptr_array_new_with_free_func((GDestroyNotify)conversation_unref)};
}

/* ---- What is told ---- */

void talk_fail(const talks *t, conversation *c, const weft_error *error) {
    mailbox_post(t->box, (event){.kind = EVENT_FAILED, .about = c, .status = error->status, .text = g_strdup(error->message)});
}

static message *read_message(weft_session *session, size_t index, weft_role role) {
    size_t size = 0;
    if (weft_session_message_text(session, index, NULL, 0, &size, NULL) != WEFT_OK) return NULL;
    message *m = message_create(role, "", 0);
    g_string_set_size(m->text, size);
    if (weft_session_message_text(session, index, m->text->str, size, &size, NULL) == WEFT_OK) return m;
    message_destroy(m);
    return NULL;
}

void talk_tell_messages(const talks *t, conversation *c) {
    GPtrArray *messages = g_ptr_array_new_with_free_func(message_destroy);
    weft_message found;
    for (size_t i = 0; weft_session_message_at(c->session, i, &found); i++) {
        message *m = read_message(c->session, i, found.role);
        if (m) g_ptr_array_add(messages, m);
    }
    mailbox_post(t->box, (event){.kind = EVENT_MESSAGES, .about = c, .messages = messages});
}

static double rate(guint64 n, guint64 ns) {
    return ns > 0 ? (double)n * 1e9 / (double)ns : 0;
}

void talk_tell_figures(talks *t, conversation *c) {
    weft_engine_info info;
    weft_session_timing now;
    const weft_session_timing *before = &c->before;
    figures f = {.n_tokens = 0};
    weft_engine_describe(t->engine, &info);
    weft_session_measure(c->session, &now);
    weft_session_tokens(c->session, NULL, &f.n_tokens);
    f.weights = info.bytes.weights;
    f.cache = info.bytes.states;
    f.cache_used = info.n_pages ? info.bytes.states / (guint64)info.n_pages * (guint64)(info.n_pages - info.n_pages_free) : 0;
    f.n_ctx = info.n_ctx;
    f.prefill_rate = rate(now.n_prefill - before->n_prefill, now.prefill_ns - before->prefill_ns);
    f.decode_rate = rate(now.n_decode - before->n_decode, now.decode_ns - before->decode_ns);
    mailbox_post(t->box, (event){.kind = EVENT_FIGURES, .about = c, .figures = f});
}

/* ---- Opening ---- */

/* Called during a step, and may only take a note. */
static void on_prefill(void *user, size_t done, size_t all) {
    conversation *c = user;
    c->n_done = done;
    c->n_all = all;
}

static void set_session(conversation *c, weft_session *session) {
    g_mutex_lock(&c->mutex);
    c->session = session;
    c->is_busy = c->is_busy && session;
    g_mutex_unlock(&c->mutex);
}

/* Closes the conversation that was not used for the longest time; the one that is used now has the highest number. */
static bool close_oldest(talks *t) {
    conversation *oldest = NULL;
    for (guint i = 0; i < t->open->len; i++) {
        conversation *c = t->open->pdata[i];
        if (!c->answers && c->used_at < t->n_uses && (!oldest || c->used_at < oldest->used_at)) oldest = c;
    }
    return oldest && talk_close(t, oldest);
}

static weft_status try_open(talks *t, conversation *c, weft_session **session, weft_error *error) {
    const weft_session_options options = {.on_prefill = on_prefill, .user = c};
    const weft_restore_options restore = {.session = &options};
    if (!t->engine) return weft_fail(error, WEFT_NOT_FOUND, "open a model first");
    if (!g_file_test(c->path, G_FILE_TEST_EXISTS)) return weft_session_create(t->engine, &options, session, error);
    return weft_session_restore(t->engine, c->path, &restore, session, NULL, error);
}

bool talk_open(talks *t, conversation *c) {
    weft_error error;
    weft_session *session = NULL;
    c->used_at = ++t->n_uses;
    if (c->session) return true;
    weft_status status = try_open(t, c, &session, &error);
    if (status == WEFT_FULL && close_oldest(t)) status = try_open(t, c, &session, &error);
    if (status != WEFT_OK) {
        talk_fail(t, c, &error);
        return false;
    }
    weft_session_measure(session, &c->before);
    set_session(c, session);
    g_ptr_array_add(t->open, conversation_ref(c));
    return true;
}

weft_status talk_copy(talks *t, conversation *c, weft_session **copy, weft_error *error) {
    weft_status status = weft_session_fork(c->session, NULL, copy, error);
    if (status == WEFT_FULL && close_oldest(t)) status = weft_session_fork(c->session, NULL, copy, error);
    return status;
}

void talk_replace(conversation *c, weft_session *session) {
    weft_session *before = c->session;
    set_session(c, session);
    weft_session_destroy(before);
}

/* ---- Saving and closing ---- */

bool talk_save(talks *t, conversation *c) {
    weft_error error;
    weft_message first;
    if (!weft_session_message_at(c->session, 0, &first)) return true; /* nothing was said */
    weft_status status = weft_session_save(c->session, c->path, &(weft_save_options){.tokens_only = true}, &error);
    if (status != WEFT_OK) talk_fail(t, c, &error);
    return status == WEFT_OK;
}

void talk_drop(talks *t, conversation *c) {
    weft_session *session = c->session;
    c->answers = false;
    if (!session) return;
    set_session(c, NULL);
    weft_session_destroy(session);
    g_ptr_array_remove(t->open, c);
}

bool talk_close(talks *t, conversation *c) {
    if (!talk_save(t, c)) return false;
    talk_drop(t, c);
    return true;
}

void talk_delete(talks *t, conversation *c) {
    talk_drop(t, c);
    g_remove(c->path);
}

/* Those that cannot be saved stay, unless it is forced. */
static bool close_all(talks *t, bool is_forced) {
    for (guint i = t->open->len; i-- > 0;) {
        conversation *c = t->open->pdata[i];
        if (c->answers) talk_end_answer(t, c);
        if (!talk_close(t, c) && is_forced) talk_drop(t, c);
    }
    return t->open->len == 0;
}

bool talks_end(talks *t, bool is_forced) {
    if (!close_all(t, is_forced)) return false;
    weft_engine_destroy(t->engine);
    weft_model_close(t->model);
    g_ptr_array_unref(t->open);
    return true;
}

/* ---- Moving ---- */

/* A session that cannot be moved is saved, and opened again when it is used. */
static void move_all(talks *t, weft_engine *engine) {
    for (guint i = t->open->len; i-- > 0;) {
        conversation *c = t->open->pdata[i];
        weft_error error;
        if (weft_session_move(c->session, engine, NULL, &error) == WEFT_OK) continue;
        talk_fail(t, c, &error);
        if (!talk_close(t, c)) talk_drop(t, c);
    }
}

void talks_adopt(talks *t, weft_model *model, weft_engine *engine) {
    if (model == t->model)
        move_all(t, engine);
    else
        close_all(t, true);
    weft_engine_destroy(t->engine);
    if (model != t->model) weft_model_close(t->model);
    t->model = model;
    t->engine = engine;
    weft_engine_info info;
    weft_engine_describe(engine, &info);
    mailbox_post(t->box, (event){.kind = EVENT_ADOPTED, .text = g_strdup(info.device.name)});
}
