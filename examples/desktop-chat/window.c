/* Begins and ends the window. */
#include "window_parts.h"

static void on_log(void *user, weft_log_level level, const char *text) {
    (void)user;
    if (level <= WEFT_LOG_WARNING) g_info("weft: %s", text);
}

static void on_devices(void *user, const weft_device_info *list, size_t n) {
    chat_window *w = user;
    w->is_listing = false;
    if (w->is_closing) {
        window_end_if_over(w);
        return;
    }
    device_menu_list(w->devices, list, n);
    device_menu_show(w->devices, w->loading ? w->wanted_device : w->settings.device);
}

chat_window *window_create(GtkApplication *app) {
    chat_window *w = g_new0(chat_window, 1);
    weft_error error;
    const weft_runtime_options options = {.log = on_log};
    settings_read(&w->settings);
    w->folder = store_folder();
    w->model_name = g_strdup("");
    w->subtitle_text = g_strdup("no model");
    w->conversations = store_read(w->folder);
    w->box = mailbox_create(window_take_event, window_events_taken, w);
    w->worker = worker_create(w->box);
    window_lay_out(w, app);
    window_add_actions(w, app);
    if (w->conversations->len > 0)
        w->shown = w->conversations->pdata[0];
    else
        window_new(w);
    if (weft_runtime_create(&options, &w->runtime, &error) != WEFT_OK) {
        window_tell(w, error.message);
    } else {
        w->is_listing = true;
        loader_list_devices(w->runtime, on_devices, w);
    }
    window_show(w);
    composer_focus(w->composer);
    gtk_window_present(w->window);
    return w;
}

void window_present(chat_window *w) {
    if (!w->is_closing) gtk_window_present(w->window);
}

/* The window goes at once, and the program ends when everything is saved. */
gboolean window_close(GtkWindow *window, void *user) {
    chat_window *w = user;
    if (w->is_closing) return TRUE;
    w->is_closing = true;
    gtk_window_get_default_size(window, &w->settings.width, &w->settings.height);
    window_settings_changed(w);
    window_cancel_loading(w);
    for (guint i = 0; i < w->conversations->len; i++) {
        conversation *c = w->conversations->pdata[i];
        if (c->is_answering) worker_stop(c);
    }
    worker_finish(w->worker, w->is_forced);
    gtk_widget_set_visible(GTK_WIDGET(window), FALSE);
    return TRUE;
}

void window_end_if_over(chat_window *w) {
    if (!w->is_finished || w->loading || w->is_listing) return;
    worker_destroy(w->worker);
    gtk_window_destroy(w->window);
    mailbox_destroy(w->box);
    weft_runtime_destroy(w->runtime);
    g_ptr_array_unref(w->conversations);
    settings_clear(&w->settings);
    g_free(w->wanted_device);
    g_free(w->model_name);
    g_free(w->subtitle_text);
    g_free(w->folder);
    g_free(w);
}
