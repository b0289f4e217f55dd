/* Shows what is. */
#include "window_parts.h"

void window_tell(chat_window *w, const char *problem) {
    notice_tell(w->problem, problem, NULL);
}

void window_show_loading(chat_window *w, guint64 done, guint64 all) {
    gtk_widget_set_visible(w->load_bar, w->loading != NULL);
    if (!w->loading) return;
    if (all > 0) {
        char *of = g_format_size(all), *part = g_format_size(done), *text = g_strdup_printf("Loading: %s of %s", part, of);
        gtk_label_set_text(GTK_LABEL(w->load_label), text);
        g_free(text);
        g_free(part);
        g_free(of);
    } else {
        gtk_label_set_text(GTK_LABEL(w->load_label), "Opening the model");
    }
    gtk_progress_bar_set_fraction(GTK_PROGRESS_BAR(w->load_progress), all > 0 ? (double)done / (double)all : 0);
}

static void show_problem(chat_window *w) {
    const conversation *c = w->shown;
    const char *help = NULL;
    if (c->status == WEFT_DEVICE_LOST)
        help = "Reopen the device";
    else if (c->status == WEFT_UNSUPPORTED && !c->is_read && *c->model_path)
        help = "Open its model";
    notice_tell(w->conversation_problem, c->problem, c->problem ? help : NULL);
}

static const char *why_not(const chat_window *w) {
    if (!w->model) return w->loading ? "The model is being loaded" : "Open a model to begin (Ctrl+O)";
    if (!w->shown->is_read) return "The conversation cannot be read";
    return NULL;
}

static const char *empty_text(const chat_window *w) {
    if (w->loading && !w->model) return "The model is being loaded.";
    if (!w->model) return "Open a model file (GGUF) to begin: Ctrl+O.";
    if (w->shown->problem && !w->shown->is_read) return "";
    return "What would you like to talk about?";
}

void window_show(chat_window *w) {
    const conversation *c = w->shown;
    sidebar_show(w->sidebar, w->conversations, c);
    message_list_show(w->messages, c, empty_text(w));
    composer_set_state(w->composer, c->is_answering, c->edits >= 0, why_not(w));
    show_problem(w);
    gtk_label_set_text(GTK_LABEL(w->title), c->title);
    gtk_label_set_text(GTK_LABEL(w->subtitle), w->subtitle_text);
    if (!w->model) status_line_clear(w->status);
}
