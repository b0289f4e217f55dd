/* What the worker and the loader tell. */
#include "window_parts.h"

static void on_messages(chat_window *w, conversation *c, event *e) {
    g_ptr_array_unref(c->messages);
    c->messages = g_ptr_array_ref(e->messages);
    c->is_read = true;
    if (conversation_name(c)) window_write_list(w);
}

static void on_prefill(chat_window *w, conversation *c, event *e) {
    (void)w;
    c->n_read = (size_t)e->done;
    c->n_prompt = (size_t)e->all;
}

static void on_piece(chat_window *w, conversation *c, event *e) {
    (void)w;
    message *last = conversation_last(c);
    if (!last || last->role != WEFT_ASSISTANT) {
        last = message_create(WEFT_ASSISTANT, "", 0);
        g_ptr_array_add(c->messages, last);
    }
    g_string_append(last->text, e->text);
    c->n_prompt = 0;
}

static void rest(conversation *c, bool can_continue) {
    const message *last = conversation_last(c);
    c->is_answering = false;
    c->can_continue = can_continue && last && last->role == WEFT_ASSISTANT;
    c->n_prompt = 0;
}

static void on_end(chat_window *w, conversation *c, event *e) {
    (void)w;
    g_clear_pointer(&c->asked, g_free);
    rest(c, e->finish == WEFT_FINISH_CANCELLED || e->finish == WEFT_FINISH_LENGTH);
}

/* The question goes back to where it was typed. */
static void on_refused(chat_window *w, conversation *c, event *e) {
    (void)e;
    const message *last = conversation_last(c);
    if (!c->asked) return;
    if (last && last->role == WEFT_USER) g_ptr_array_set_size(c->messages, (int)c->messages->len - 1);
    g_free(c->draft);
    c->draft = g_steal_pointer(&c->asked);
    if (c == w->shown) composer_set_text(w->composer, c->draft);
}

static void on_failed(chat_window *w, conversation *c, event *e) {
    (void)w;
    conversation_set_problem(c, e->status, e->text);
    rest(c, c->is_answering);
}

static void on_figures(chat_window *w, conversation *c, event *e) {
    if (c == w->shown) status_line_show(w->status, &e->figures);
}

static void on_adopted(chat_window *w, conversation *c, event *e) {
    (void)c;
    g_free(w->subtitle_text);
    w->subtitle_text = g_strdup_printf("%s · %s", w->model_name, e->text);
    worker_read(w->worker, w->shown);
}

static void on_loading(chat_window *w, conversation *c, event *e) {
    (void)c;
    window_show_loading(w, e->done, e->all);
}

static void on_problem(chat_window *w, conversation *c, event *e) {
    (void)c;
    window_tell(w, e->text);
}

/* The window comes back; closing it again ends the program all the same. */
static void on_unsaved(chat_window *w, conversation *c, event *e) {
    (void)c, (void)e;
    w->is_closing = false;
    w->is_forced = true;
    window_tell(w, "Not everything could be saved. If you close the window again, it is lost.");
    window_present(w);
}

static void on_finished(chat_window *w, conversation *c, event *e) {
    (void)c, (void)e;
    w->is_finished = true;
}

void window_take_event(void *user, event *e) {
    static void (*const takers[])(chat_window * w, conversation * c, event * e) = {
        [EVENT_MESSAGES] = on_messages, [EVENT_PREFILL] = on_prefill, [EVENT_PIECE] = on_piece,     [EVENT_REFUSED] = on_refused,
        [EVENT_END] = on_end,           [EVENT_FAILED] = on_failed,   [EVENT_FIGURES] = on_figures, [EVENT_ADOPTED] = on_adopted,
        [EVENT_LOADING] = on_loading,   [EVENT_PROBLEM] = on_problem, [EVENT_UNSAVED] = on_unsaved, [EVENT_FINISHED] = on_finished,
    };
    takers[e->kind](user, e->about, e);
}

/* Runs after the events of one moment, so that a fast answer is drawn once. */
void window_events_taken(void *user) {
    chat_window *w = user;
    if (w->is_finished)
        window_end_if_over(w);
    else
        window_show(w);
}
