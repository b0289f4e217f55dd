/* What the files of the window share. */
#ifndef WINDOW_PARTS_H
#define WINDOW_PARTS_H

#include "composer.h"
#include "device_menu.h"
#include "loader.h"
#include "message_list.h"
#include "notice.h"
#include "sidebar.h"
#include "status_line.h"
#include "store.h"
#include "window.h"
#include "worker.h"

struct chat_window {
    GtkWindow *window;
    weft_runtime *runtime;
    mailbox *box;
    worker *worker;
    settings settings;
    char *folder;
    GPtrArray *conversations; /* the newest first; references */
    conversation *shown;      /* one of them */

    weft_model *model; /* the worker's; NULL: none */
    char *model_name;
    char *subtitle_text;   /* model and device */
    char *wanted_device;   /* of the loading */
    GCancellable *loading; /* NULL: nothing is being loaded */
    bool is_closing, is_finished, is_listing;
    bool is_forced; /* the next close loses what cannot be saved */

    GtkWidget *title, *subtitle, *load_bar, *load_label, *load_progress;
    sidebar *sidebar;
    message_list *messages;
    composer *composer;
    device_menu *devices;
    status_line *status;
    notice *problem, *conversation_problem; /* of the window, and of the conversation */
};

/* window_layout.c: makes the widgets. */
void window_lay_out(chat_window *w, GtkApplication *app);

/* window_show.c: shows what is, without changing it. */
void window_show(chat_window *w);
void window_show_loading(chat_window *w, guint64 done, guint64 all);
void window_tell(chat_window *w, const char *problem);

/* window_events.c: what the worker tells. */
void window_take_event(void *user, event *e);
void window_events_taken(void *user);

/* window_model.c: models and devices. */
void window_choose_device(void *user, const char *device);
void window_cancel_loading(chat_window *w);
void window_reopen_device(chat_window *w);
/* Frees everything, once the worker has finished and nothing is loading. */
void window_end_if_over(chat_window *w);

/* window_actions.c: what the user does. */
void window_add_actions(chat_window *w, GtkApplication *app);
void window_choose(void *user, conversation *c);
void window_delete(void *user, conversation *c);
void window_act(void *user, message_action action, guint index);
void window_send(void *user);
void window_stop(void *user);
void window_leave_edit(void *user);
void window_help(void *user);
void window_dismiss(void *user);
void window_new(chat_window *w);
void window_write_list(chat_window *w);
void window_settings_changed(void *user);
gboolean window_close(GtkWindow *window, void *user);

#endif
