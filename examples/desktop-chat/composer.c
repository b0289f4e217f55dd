#include "composer.h"

struct composer {
    GtkWidget *box, *strip, *view, *hint, *button;
    GtkTextBuffer *buffer;
    composer_calls calls;
    bool is_busy, can_send;
};

char *composer_text(const composer *c) {
    GtkTextIter from, to;
    gtk_text_buffer_get_bounds(c->buffer, &from, &to);
    return gtk_text_buffer_get_text(c->buffer, &from, &to, FALSE);
}

static void look(composer *c) {
    char *text = composer_text(c);
    bool is_empty = !*text;
    char *stripped = g_strstrip(text);
    gtk_widget_set_visible(c->hint, is_empty);
    gtk_widget_set_sensitive(c->button, c->is_busy || (c->can_send && *stripped));
    g_free(text);
}

static void on_changed(GtkTextBuffer *buffer, void *user) {
    (void)buffer;
    look(user);
}

static void press(composer *c) {
    if (!gtk_widget_get_sensitive(c->button)) return;
    if (c->is_busy)
        c->calls.stop(c->calls.user);
    else
        c->calls.send(c->calls.user);
}

static void on_click(GtkButton *button, void *user) {
    (void)button;
    press(user);
}

static void on_leave(GtkButton *button, void *user) {
    (void)button;
    composer *c = user;
    c->calls.leave_edit(c->calls.user);
}

/* Enter while an answer comes does nothing: the text stays. */
static gboolean on_key(GtkEventControllerKey *keys, guint value, guint code, GdkModifierType state, void *user) {
    (void)code;
    composer *c = user;
    GdkEvent *event = gtk_event_controller_get_current_event(GTK_EVENT_CONTROLLER(keys));
    if (event && gtk_text_view_im_context_filter_keypress(GTK_TEXT_VIEW(c->view), event)) return TRUE;
    if ((value != GDK_KEY_Return && value != GDK_KEY_KP_Enter) || state & (GDK_SHIFT_MASK | GDK_CONTROL_MASK)) return FALSE;
    if (!c->is_busy) press(c);
    return TRUE;
}

static void forget(void *user, GObject *widget) {
    (void)widget;
    g_free(user);
}

static GtkWidget *make_strip(composer *c) {
    GtkWidget *strip = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12), *cancel = gtk_button_new_with_label("Cancel");
    GtkWidget *label = gtk_label_new("Editing an earlier message. What comes after it will be replaced.");
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_widget_set_hexpand(label, TRUE);
    gtk_widget_add_css_class(strip, "edit-strip");
    gtk_widget_add_css_class(cancel, "flat");
    gtk_box_append(GTK_BOX(strip), label);
    gtk_box_append(GTK_BOX(strip), cancel);
    g_signal_connect(cancel, "clicked", G_CALLBACK(on_leave), c);
    return strip;
}

static GtkWidget *make_view(composer *c) {
    GtkWidget *overlay = gtk_overlay_new(), *scroller = gtk_scrolled_window_new();
    GtkEventController *keys = gtk_event_controller_key_new();
    c->view = gtk_text_view_new();
    c->buffer = gtk_text_view_get_buffer(GTK_TEXT_VIEW(c->view));
    c->hint = gtk_label_new(NULL);
    gtk_widget_set_name(c->view, "question");
    gtk_text_view_set_wrap_mode(GTK_TEXT_VIEW(c->view), GTK_WRAP_WORD_CHAR);
    gtk_text_view_set_accepts_tab(GTK_TEXT_VIEW(c->view), FALSE);
    gtk_accessible_update_property(GTK_ACCESSIBLE(c->view), GTK_ACCESSIBLE_PROPERTY_LABEL, "Message", -1);
    gtk_event_controller_set_propagation_phase(keys, GTK_PHASE_CAPTURE);
    gtk_widget_add_controller(c->view, keys);
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroller), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_propagate_natural_height(GTK_SCROLLED_WINDOW(scroller), TRUE);
    gtk_scrolled_window_set_max_content_height(GTK_SCROLLED_WINDOW(scroller), 160);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroller), c->view);
    gtk_widget_set_halign(c->hint, GTK_ALIGN_START);
    gtk_widget_set_valign(c->hint, GTK_ALIGN_CENTER);
    gtk_widget_set_can_target(c->hint, FALSE);
    gtk_label_set_ellipsize(GTK_LABEL(c->hint), PANGO_ELLIPSIZE_END);
    gtk_widget_add_css_class(c->hint, "hint");
    gtk_overlay_set_child(GTK_OVERLAY(overlay), scroller);
    gtk_overlay_add_overlay(GTK_OVERLAY(overlay), c->hint);
    gtk_widget_set_hexpand(overlay, TRUE);
    gtk_widget_set_valign(overlay, GTK_ALIGN_CENTER);
    g_signal_connect(keys, "key-pressed", G_CALLBACK(on_key), c);
    g_signal_connect(c->buffer, "changed", G_CALLBACK(on_changed), c);
    return overlay;
}

composer *composer_create(const composer_calls *calls) {
    composer *c = g_new0(composer, 1);
    c->calls = *calls;
    c->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    c->strip = make_strip(c);
    c->button = gtk_button_new_with_label("Send");
    GtkWidget *line = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
    gtk_widget_set_name(c->button, "send");
    gtk_widget_set_valign(c->button, GTK_ALIGN_END);
    gtk_widget_add_css_class(c->box, "composer");
    gtk_box_append(GTK_BOX(line), make_view(c));
    gtk_box_append(GTK_BOX(line), c->button);
    gtk_box_append(GTK_BOX(c->box), c->strip);
    gtk_box_append(GTK_BOX(c->box), line);
    g_signal_connect(c->button, "clicked", G_CALLBACK(on_click), c);
    g_object_weak_ref(G_OBJECT(c->box), forget, c);
    composer_set_state(c, false, false, NULL);
    return c;
}

GtkWidget *composer_widget(const composer *c) {
    return c->box;
}

void composer_set_text(composer *c, const char *text) {
    gtk_text_buffer_set_text(c->buffer, text, -1);
}

void composer_set_state(composer *c, bool is_busy, bool edits, const char *why_not) {
    c->is_busy = is_busy;
    c->can_send = !why_not;
    gtk_widget_set_visible(c->strip, edits);
    gtk_button_set_label(GTK_BUTTON(c->button), is_busy ? "Stop" : "Send");
    gtk_widget_set_tooltip_text(c->button, is_busy ? "Stop the answer (Escape)" : "Send (Enter)");
    gtk_widget_remove_css_class(c->button, is_busy ? "suggested-action" : "destructive-action");
    gtk_widget_add_css_class(c->button, is_busy ? "destructive-action" : "suggested-action");
    gtk_label_set_text(GTK_LABEL(c->hint), why_not ? why_not : "Write a message");
    look(c);
}

void composer_focus(composer *c) {
    gtk_widget_grab_focus(c->view);
}
