/* Models and devices. */
#include "window_parts.h"

static void on_loaded(void *user, const loaded *l);

static void set_text(char **text, const char *to) {
    char *copy = g_strdup(to);
    g_free(*text);
    *text = copy;
}

/* `path` NULL: the open model, on another device. */
static void load(chat_window *w, const char *path, const char *device) {
    if (w->loading || w->is_closing) return;
    const load_request request = {.runtime = w->runtime,
                                  .box = w->box,
                                  .path = path ? path : w->settings.model,
                                  .model = path ? NULL : w->model,
                                  .device = device,
                                  .done = on_loaded,
                                  .user = w};
    set_text(&w->wanted_device, device);
    w->loading = loader_begin(&request);
    window_tell(w, NULL);
    window_show_loading(w, 0, 0);
    window_show(w);
}

/* The file's name without its ending, where the model has no name. */
static char *name_of(const weft_model *model, const char *path) {
    weft_model_info info;
    weft_model_describe(model, &info);
    if (*info.name) return g_utf8_make_valid(info.name, -1);
    char *name = g_path_get_basename(path), *end = strrchr(name, '.');
    if (end && end > name) *end = 0;
    return name;
}

static void adopt(chat_window *w, const loaded *l) {
    if (l->model != w->model) {
        for (guint i = 0; i < w->conversations->len; i++) {
            conversation *c = w->conversations->pdata[i];
            c->is_read = false;
            conversation_set_problem(c, WEFT_OK, NULL);
        }
        g_free(w->model_name);
        w->model_name = name_of(l->model, l->path);
        set_text(&w->settings.model, l->path);
    }
    if (w->shown->status == WEFT_DEVICE_LOST) conversation_set_problem(w->shown, WEFT_OK, NULL);
    w->model = l->model;
    set_text(&w->settings.device, w->wanted_device);
    worker_adopt(w->worker, l->model, l->engine);
    window_settings_changed(w);
}

static void drop(const chat_window *w, const loaded *l) {
    weft_engine_destroy(l->engine);
    if (l->model != w->model) weft_model_close(l->model);
}

/* What was there before stays, if it has not succeeded. */
static void on_loaded(void *user, const loaded *l) {
    chat_window *w = user;
    g_clear_object(&w->loading);
    if (w->is_closing) {
        if (l->engine) drop(w, l);
        window_end_if_over(w);
        return;
    }
    if (l->engine) adopt(w, l);
    if (l->problem && !l->is_cancelled) window_tell(w, l->problem);
    device_menu_show(w->devices, w->settings.device);
    window_show_loading(w, 0, 0);
    window_show(w);
}

void window_choose_device(void *user, const char *device) {
    chat_window *w = user;
    if (w->loading)
        device_menu_show(w->devices, w->wanted_device);
    else if (w->model)
        load(w, NULL, device);
    else
        set_text(&w->settings.device, device);
}

void window_cancel_loading(chat_window *w) {
    if (w->loading) g_cancellable_cancel(w->loading);
}

void window_reopen_device(chat_window *w) {
    load(w, NULL, w->settings.device);
}

void window_open(chat_window *w, const char *path) {
    load(w, path, w->settings.device);
}

void window_open_last(chat_window *w) {
    if (*w->settings.model) window_open(w, w->settings.model);
}
