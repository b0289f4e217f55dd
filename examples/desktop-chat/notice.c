#include "notice.h"

struct notice {
    GtkWidget *revealer, *label, *help;
    void (*closed)(void *user);
    void (*helped)(void *user);
    void *user;
};

static void on_help(GtkButton *button, void *user) {
    (void)button;
    notice *n = user;
    n->helped(n->user);
}

static void on_close(GtkButton *button, void *user) {
    (void)button;
    notice *n = user;
    n->closed(n->user);
}

static void forget(void *user, GObject *widget) {
    (void)widget;
    g_free(user);
}

notice *notice_create(void (*closed)(void *user), void (*helped)(void *user), void *user) {
    notice *n = g_new0(notice, 1);
    *n = (notice){.closed = closed, .helped = helped, .user = user};
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12), *close = gtk_button_new_from_icon_name("window-close-symbolic");
    n->revealer = gtk_revealer_new();
    n->label = gtk_label_new(NULL);
    n->help = gtk_button_new_with_label("");
    gtk_widget_add_css_class(box, "notice");
    gtk_label_set_wrap(GTK_LABEL(n->label), TRUE);
    gtk_label_set_wrap_mode(GTK_LABEL(n->label), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_selectable(GTK_LABEL(n->label), TRUE);
    gtk_label_set_xalign(GTK_LABEL(n->label), 0);
    gtk_widget_set_hexpand(n->label, TRUE);
    gtk_widget_set_valign(n->help, GTK_ALIGN_CENTER);
    gtk_widget_set_valign(close, GTK_ALIGN_CENTER);
    gtk_widget_add_css_class(close, "flat");
    gtk_widget_set_tooltip_text(close, "Close");
    gtk_accessible_update_property(GTK_ACCESSIBLE(close), GTK_ACCESSIBLE_PROPERTY_LABEL, "Close this message", -1);
    gtk_box_append(GTK_BOX(box), n->label);
    gtk_box_append(GTK_BOX(box), n->help);
    gtk_box_append(GTK_BOX(box), close);
    gtk_revealer_set_child(GTK_REVEALER(n->revealer), box);
    gtk_widget_set_visible(n->revealer, FALSE);
    g_signal_connect(n->help, "clicked", G_CALLBACK(on_help), n);
    g_signal_connect(close, "clicked", G_CALLBACK(on_close), n);
    g_object_weak_ref(G_OBJECT(n->revealer), forget, n);
    return n;
}

GtkWidget *notice_widget(const notice *n) {
    return n->revealer;
}

void notice_tell(notice *n, const char *text, const char *help) {
    gtk_label_set_text(GTK_LABEL(n->label), text ? text : "");
    gtk_button_set_label(GTK_BUTTON(n->help), help ? help : "");
    gtk_widget_set_visible(n->help, help != NULL);
    gtk_widget_set_visible(n->revealer, text != NULL);
    gtk_revealer_set_reveal_child(GTK_REVEALER(n->revealer), text != NULL);
}
