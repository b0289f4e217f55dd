/* What the user does. */
#include "window_parts.h"

/* ---- The list of conversations ---- */

void window_write_list(chat_window *w) {
    worker_write(w->worker, store_list_path(w->folder), store_list(w->conversations));
}

void window_choose(void *user, conversation *c) {
    chat_window *w = user;
    if (c == w->shown) return;
    g_free(w->shown->draft);
    w->shown->draft = composer_text(w->composer);
    w->shown = c;
    composer_set_text(w->composer, c->draft);
    window_show(w);
    message_list_scroll_down(w->messages);
    if (w->model) worker_read(w->worker, c);
}

void window_new(chat_window *w) {
    for (guint i = 0; i < w->conversations->len; i++) { /* there may be an empty one already */
        conversation *c = w->conversations->pdata[i];
        if (!c->is_read || c->messages->len > 0) continue;
        window_choose(w, c);
        composer_focus(w->composer);
        return;
    }
    conversation *c = conversation_create(w->folder, NULL);
    c->is_read = true;
    g_ptr_array_insert(w->conversations, 0, c);
    if (!w->shown) w->shown = c;
    window_choose(w, c);
    window_show(w);
    composer_focus(w->composer);
}

void window_delete(void *user, conversation *c) {
    chat_window *w = user;
    guint index = 0;
    if (!g_ptr_array_find(w->conversations, c, &index)) return;
    conversation_ref(c);
    worker_delete(w->worker, c);
    g_ptr_array_remove_index(w->conversations, index);
    window_write_list(w);
    if (c != w->shown) {
        window_show(w);
    } else if (w->conversations->len > 0) {
        window_choose(w, w->conversations->pdata[MIN(index, w->conversations->len - 1)]);
    } else {
        window_new(w);
    }
    conversation_unref(c);
}

/* ---- Questions ---- */

/* `text` may be NULL. What the worker will tell is shown at once. */
static void ask(chat_window *w, int n_kept, const char *text) {
    conversation *c = w->shown;
    const question q = {.n_kept = n_kept, .text = text, .system = w->settings.system, .sampling = settings_sampling(&w->settings)};
    if (n_kept >= 0) g_ptr_array_set_size(c->messages, n_kept);
    if (text) g_ptr_array_add(c->messages, message_create(WEFT_USER, text, strlen(text)));
    g_free(c->asked);
    c->asked = g_strdup(text);
    c->is_answering = true;
    c->can_continue = false;
    conversation_set_problem(c, WEFT_OK, NULL);
    worker_ask(w->worker, c, &q);
    window_show(w);
    message_list_scroll_down(w->messages);
}

/* The conversation is now the newest. */
static void bring_up(chat_window *w, conversation *c) {
    guint index = 0;
    char *model_path = g_strdup(w->settings.model), *model_name = g_strdup(w->model_name);
    g_free(c->model_path);
    g_free(c->model_name);
    c->model_path = model_path;
    c->model_name = model_name;
    if (!g_ptr_array_find(w->conversations, c, &index)) return;
    conversation_ref(c);
    g_ptr_array_remove_index(w->conversations, index);
    g_ptr_array_insert(w->conversations, 0, c);
    window_write_list(w);
}

void window_send(void *user) {
    chat_window *w = user;
    conversation *c = w->shown;
    char *text = g_strstrip(composer_text(w->composer));
    int n_kept = c->edits;
    c->edits = -1;
    composer_set_text(w->composer, "");
    bring_up(w, c);
    ask(w, n_kept, text);
    g_free(text);
}

void window_stop(void *user) {
    chat_window *w = user;
    if (w->shown->edits >= 0)
        window_leave_edit(w);
    else if (w->shown->is_answering)
        worker_stop(w->shown);
}

void window_leave_edit(void *user) {
    chat_window *w = user;
    w->shown->edits = -1;
    composer_set_text(w->composer, "");
    window_show(w);
}

static void begin_edit(chat_window *w, guint index) {
    const message *m = w->shown->messages->pdata[index];
    w->shown->edits = (int)index;
    composer_set_text(w->composer, m->text->str);
    window_show(w);
    composer_focus(w->composer);
}

void window_act(void *user, message_action action, guint index) {
    chat_window *w = user;
    const message *m = w->shown->messages->pdata[index];
    if (w->shown->is_answering) return;
    if (action == MESSAGE_EDIT)
        begin_edit(w, index);
    else if (action == MESSAGE_RETRY)
        ask(w, (int)index + (m->role == WEFT_USER ? 1 : 0), NULL);
    else
        ask(w, -1, NULL);
}

/* ---- Problems ---- */

void window_help(void *user) {
    chat_window *w = user;
    if (w->shown->status == WEFT_DEVICE_LOST)
        window_reopen_device(w);
    else
        window_open(w, w->shown->model_path);
}

void window_dismiss(void *user) {
    chat_window *w = user;
    conversation_set_problem(w->shown, WEFT_OK, NULL);
    window_show(w);
}

void window_settings_changed(void *user) {
    chat_window *w = user;
    worker_write(w->worker, settings_path(), settings_text(&w->settings));
}

/* ---- Actions with keys ---- */

static void on_new(GSimpleAction *action, GVariant *parameter, void *user) {
    (void)action, (void)parameter;
    window_new(user);
}

static void on_stop(GSimpleAction *action, GVariant *parameter, void *user) {
    (void)action, (void)parameter;
    window_stop(user);
}

static void on_file(GtkNativeDialog *dialog, int response, void *user) {
    if (response == GTK_RESPONSE_ACCEPT) {
        GFile *file = gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog));
        char *path = g_file_get_path(file);
        if (path) window_open(user, path);
        g_free(path);
        g_object_unref(file);
    }
    g_object_unref(dialog);
}

static void on_open(GSimpleAction *action, GVariant *parameter, void *user) {
    (void)action, (void)parameter;
    chat_window *w = user;
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new("Open a model", w->window, GTK_FILE_CHOOSER_ACTION_OPEN, "_Open", "_Cancel");
    GtkFileFilter *models = gtk_file_filter_new(), *all = gtk_file_filter_new();
    gtk_file_filter_set_name(models, "Models (GGUF)");
    gtk_file_filter_add_suffix(models, "gguf");
    gtk_file_filter_set_name(all, "All files");
    gtk_file_filter_add_pattern(all, "*");
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(dialog), models);
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(dialog), all);
    g_object_unref(models);
    g_object_unref(all);
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_signal_connect(dialog, "response", G_CALLBACK(on_file), w);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void on_close(GSimpleAction *action, GVariant *parameter, void *user) {
    (void)action, (void)parameter;
    gtk_window_close(((chat_window *)user)->window);
}

void window_add_actions(chat_window *w, GtkApplication *app) {
    static const GActionEntry entries[] = {
        {.name = "new", .activate = on_new},
        {.name = "open", .activate = on_open},
        {.name = "stop", .activate = on_stop},
        {.name = "close", .activate = on_close},
    };
    static const char *const keys[][3] = {
        {"win.new", "<Control>n"}, {"win.open", "<Control>o"}, {"win.stop", "Escape"}, {"win.close", "<Control>q"}};
    g_action_map_add_action_entries(G_ACTION_MAP(w->window), entries, G_N_ELEMENTS(entries), w);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        gtk_application_set_accels_for_action(app, keys[i][0], (const char *const[]){keys[i][1], NULL});
}
