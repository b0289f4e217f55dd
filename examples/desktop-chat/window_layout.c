/* The widgets of the window. */
#include "settings_menu.h"
#include "window_parts.h"

static GtkWidget *icon_button(const char *icon, const char *action, const char *label, const char *keys) {
    GtkWidget *button = gtk_button_new_from_icon_name(icon);
    char *tooltip = g_strdup_printf("%s (%s)", label, keys);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    gtk_widget_set_tooltip_text(button, tooltip);
    gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL, label, -1);
    g_free(tooltip);
    return button;
}

static GtkWidget *make_title(chat_window *w) {
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    w->title = gtk_label_new("weft");
    w->subtitle = gtk_label_new("");
    gtk_widget_add_css_class(w->title, "title");
    gtk_widget_add_css_class(w->subtitle, "subtitle");
    gtk_label_set_ellipsize(GTK_LABEL(w->title), PANGO_ELLIPSIZE_END);
    gtk_label_set_ellipsize(GTK_LABEL(w->subtitle), PANGO_ELLIPSIZE_END);
    gtk_widget_set_valign(box, GTK_ALIGN_CENTER);
    gtk_box_append(GTK_BOX(box), w->title);
    gtk_box_append(GTK_BOX(box), w->subtitle);
    return box;
}

static void refuse_device(void *user, const char *why) {
    window_tell(user, why);
}

static GtkWidget *make_header(chat_window *w) {
    GtkWidget *header = gtk_header_bar_new();
    w->devices = device_menu_create(window_choose_device, refuse_device, w);
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), icon_button("list-add-symbolic", "win.new", "New conversation", "Ctrl+N"));
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), icon_button("document-open-symbolic", "win.open", "Open a model", "Ctrl+O"));
    gtk_header_bar_set_title_widget(GTK_HEADER_BAR(header), make_title(w));
    gtk_header_bar_pack_end(GTK_HEADER_BAR(header), settings_menu_create(&w->settings, window_settings_changed, w));
    gtk_header_bar_pack_end(GTK_HEADER_BAR(header), device_menu_widget(w->devices));
    return header;
}

static void on_cancel(GtkButton *button, void *user) {
    (void)button;
    window_cancel_loading(user);
}

static GtkWidget *make_load_bar(chat_window *w) {
    GtkWidget *cancel = gtk_button_new_with_label("Cancel"), *texts = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    w->load_bar = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    w->load_label = gtk_label_new(NULL);
    w->load_progress = gtk_progress_bar_new();
    gtk_label_set_xalign(GTK_LABEL(w->load_label), 0);
    gtk_label_set_ellipsize(GTK_LABEL(w->load_label), PANGO_ELLIPSIZE_MIDDLE);
    gtk_accessible_update_property(GTK_ACCESSIBLE(w->load_progress), GTK_ACCESSIBLE_PROPERTY_LABEL, "Loading", -1);
    gtk_widget_set_hexpand(texts, TRUE);
    gtk_widget_set_valign(cancel, GTK_ALIGN_CENTER);
    gtk_widget_set_name(cancel, "cancel-loading");
    gtk_widget_set_name(w->load_bar, "loading");
    gtk_widget_add_css_class(w->load_bar, "load-bar");
    gtk_widget_set_visible(w->load_bar, FALSE);
    gtk_box_append(GTK_BOX(texts), w->load_label);
    gtk_box_append(GTK_BOX(texts), w->load_progress);
    gtk_box_append(GTK_BOX(w->load_bar), texts);
    gtk_box_append(GTK_BOX(w->load_bar), cancel);
    g_signal_connect(cancel, "clicked", G_CALLBACK(on_cancel), w);
    return w->load_bar;
}

static void close_problem(void *user) {
    window_tell(user, NULL);
}

static GtkWidget *make_conversation(chat_window *w) {
    const composer_calls calls = {.send = window_send, .stop = window_stop, .leave_edit = window_leave_edit, .user = w};
    GtkWidget *column = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    w->problem = notice_create(close_problem, close_problem, w);
    w->conversation_problem = notice_create(window_dismiss, window_help, w);
    w->messages = message_list_create(window_act, w);
    w->composer = composer_create(&calls);
    w->status = status_line_create();
    gtk_widget_set_name(notice_widget(w->problem), "problem");
    gtk_widget_set_name(notice_widget(w->conversation_problem), "conversation-problem");
    gtk_box_append(GTK_BOX(column), notice_widget(w->problem));
    gtk_box_append(GTK_BOX(column), make_load_bar(w));
    gtk_box_append(GTK_BOX(column), message_list_widget(w->messages));
    gtk_box_append(GTK_BOX(column), notice_widget(w->conversation_problem));
    gtk_box_append(GTK_BOX(column), composer_widget(w->composer));
    gtk_box_append(GTK_BOX(column), status_line_widget(w->status));
    return column;
}

void window_lay_out(chat_window *w, GtkApplication *app) {
    GtkWidget *paned = gtk_paned_new(GTK_ORIENTATION_HORIZONTAL);
    w->window = GTK_WINDOW(gtk_application_window_new(app));
    g_object_set_data(G_OBJECT(w->window), "window", w);
    w->sidebar = sidebar_create(window_choose, window_delete, w);
    gtk_paned_set_start_child(GTK_PANED(paned), sidebar_widget(w->sidebar));
    gtk_paned_set_end_child(GTK_PANED(paned), make_conversation(w));
    gtk_paned_set_resize_start_child(GTK_PANED(paned), FALSE);
    gtk_paned_set_shrink_start_child(GTK_PANED(paned), FALSE);
    gtk_paned_set_shrink_end_child(GTK_PANED(paned), FALSE);
    gtk_paned_set_position(GTK_PANED(paned), 230);
    gtk_window_set_title(w->window, "weft");
    gtk_window_set_icon_name(w->window, "weft");
    gtk_window_set_titlebar(w->window, make_header(w));
    gtk_window_set_child(w->window, paned);
    gtk_window_set_default_size(w->window, w->settings.width, w->settings.height);
    g_signal_connect(w->window, "close-request", G_CALLBACK(window_close), w);
}
