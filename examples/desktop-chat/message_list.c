#include "message_list.h"

#include "text_blocks.h"

typedef struct row {
    message_list *list;
    guint index;
    weft_role role;
    char *shown; /* valid UTF-8 */
    GtkWidget *box, *text, *actions;
    GtkWidget *edit, *retry, *go_on; /* NULL in rows that never have them */
} row;

struct message_list {
    GtkWidget *scroller, *column, *empty, *waiting, *spinner, *waiting_label;
    GPtrArray *rows; /* of struct row */
    bool follows;    /* the end stays in view */
    void (*act)(void *user, message_action action, guint index);
    void *user;
};

/* ---- Rows ---- */

static void on_edit(GtkButton *button, void *user) {
    (void)button;
    row *r = user;
    r->list->act(r->list->user, MESSAGE_EDIT, r->index);
}

static void on_retry(GtkButton *button, void *user) {
    (void)button;
    row *r = user;
    r->list->act(r->list->user, MESSAGE_RETRY, r->index);
}

static void on_continue(GtkButton *button, void *user) {
    (void)button;
    row *r = user;
    r->list->act(r->list->user, MESSAGE_CONTINUE, r->index);
}

static void on_copy(GtkButton *button, void *user) {
    row *r = user;
    gdk_clipboard_set_text(gtk_widget_get_clipboard(GTK_WIDGET(button)), r->shown);
}

static GtkWidget *add_action(row *r, const char *label, const char *tooltip, GCallback clicked) {
    GtkWidget *button = gtk_button_new_with_label(label);
    gtk_widget_add_css_class(button, "flat");
    gtk_widget_add_css_class(button, "action");
    gtk_widget_set_tooltip_text(button, tooltip);
    gtk_box_append(GTK_BOX(r->actions), button);
    g_signal_connect(button, "clicked", clicked, r);
    return button;
}

static GtkWidget *make_text(weft_role role) {
    static const char *const classes[] = {[WEFT_SYSTEM] = "system", [WEFT_USER] = "user", [WEFT_ASSISTANT] = "assistant"};
    GtkWidget *text = text_blocks_create(role == WEFT_USER ? 64 : 84);
    gtk_widget_add_css_class(text, "bubble");
    gtk_widget_add_css_class(text, classes[role]);
    gtk_widget_set_name(text, classes[role]);
    return text;
}

/* The text at the left or right end of a line. (An aligned text itself would try many widths.) */
static GtkWidget *make_line(GtkWidget *text, bool is_right) {
    GtkWidget *line = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 0), *space = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 0);
    gtk_widget_set_hexpand(space, TRUE);
    gtk_box_append(GTK_BOX(line), is_right ? space : text);
    gtk_box_append(GTK_BOX(line), is_right ? text : space);
    return line;
}

static void forget_row(void *given) {
    row *r = given;
    g_free(r->shown);
    g_free(r);
}

static void free_row(void *given) {
    row *r = given;
    gtk_box_remove(GTK_BOX(r->list->column), r->box);
    forget_row(r);
}

static void add_row(message_list *list, weft_role role) {
    row *r = g_new0(row, 1);
    r->list = list;
    r->index = list->rows->len;
    r->role = role;
    r->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 2);
    r->text = make_text(role);
    r->actions = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 0);
    gtk_widget_set_halign(r->actions, role == WEFT_USER ? GTK_ALIGN_END : GTK_ALIGN_START);
    gtk_box_append(GTK_BOX(r->box), make_line(r->text, role == WEFT_USER));
    gtk_box_append(GTK_BOX(r->box), r->actions);
    if (role != WEFT_SYSTEM) add_action(r, "Copy", "Copy the text", G_CALLBACK(on_copy));
    if (role == WEFT_ASSISTANT)
        gtk_widget_add_css_class(gtk_widget_get_first_child(r->actions), "first"); /* lines up with the text */
    if (role == WEFT_USER) r->edit = add_action(r, "Edit", "Edit this message and answer it anew", G_CALLBACK(on_edit));
    if (role != WEFT_SYSTEM) r->retry = add_action(r, "Retry", "Another answer", G_CALLBACK(on_retry));
    if (role == WEFT_ASSISTANT) r->go_on = add_action(r, "Continue", "Go on with this answer", G_CALLBACK(on_continue));
    GtkWidget *last = list->rows->len ? ((row *)list->rows->pdata[list->rows->len - 1])->box : NULL;
    gtk_box_insert_child_after(GTK_BOX(list->column), r->box, last);
    g_ptr_array_add(list->rows, r);
}

static void set_text(row *r, const GString *text) {
    char *valid = g_utf8_make_valid(text->str, (gssize)text->len);
    bool same = g_strcmp0(valid, r->shown) == 0;
    if (!same) text_blocks_show(r->text, valid);
    g_free(r->shown);
    r->shown = valid;
}

static void set_actions(row *r, const conversation *c) {
    bool is_last = r->index + 1 == c->messages->len, rests = !c->is_answering;
    gtk_widget_set_visible(r->actions, rests || !is_last);
    gtk_widget_set_sensitive(r->actions, rests);
    if (r->retry) gtk_widget_set_visible(r->retry, is_last);
    if (r->go_on) gtk_widget_set_visible(r->go_on, is_last && c->can_continue);
}

/* ---- The list ---- */

static void on_extent(GtkAdjustment *adjustment, void *user) {
    const message_list *list = user;
    if (list->follows) gtk_adjustment_set_value(adjustment, gtk_adjustment_get_upper(adjustment));
}

/* The user scrolls away from the end, or back to it. */
static void on_scrolled(GtkAdjustment *adjustment, void *user) {
    message_list *list = user;
    double end = gtk_adjustment_get_upper(adjustment) - gtk_adjustment_get_page_size(adjustment);
    list->follows = gtk_adjustment_get_value(adjustment) >= end - 24;
}

static void forget(void *user, GObject *widget) {
    (void)widget;
    message_list *list = user;
    g_ptr_array_set_free_func(list->rows, forget_row);
    g_ptr_array_unref(list->rows);
    g_free(list);
}

static GtkWidget *make_waiting(message_list *list) {
    list->waiting = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
    list->spinner = gtk_spinner_new();
    list->waiting_label = gtk_label_new(NULL);
    gtk_widget_add_css_class(list->waiting, "waiting");
    gtk_box_append(GTK_BOX(list->waiting), list->spinner);
    gtk_box_append(GTK_BOX(list->waiting), list->waiting_label);
    return list->waiting;
}

message_list *message_list_create(void (*act)(void *user, message_action action, guint index), void *user) {
    message_list *list = g_new0(message_list, 1);
    *list = (message_list){.act = act, .user = user, .follows = true};
    list->rows = g_ptr_array_new_with_free_func(free_row);
    list->scroller = gtk_scrolled_window_new();
    list->column = gtk_box_new(GTK_ORIENTATION_VERTICAL, 12);
    list->empty = gtk_label_new(NULL);
    gtk_widget_add_css_class(list->column, "messages");
    gtk_widget_add_css_class(list->empty, "empty");
    gtk_label_set_wrap(GTK_LABEL(list->empty), TRUE);
    gtk_label_set_justify(GTK_LABEL(list->empty), GTK_JUSTIFY_CENTER);
    gtk_widget_set_vexpand(list->empty, TRUE);
    gtk_box_append(GTK_BOX(list->column), make_waiting(list));
    gtk_box_append(GTK_BOX(list->column), list->empty);
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(list->scroller), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(list->scroller), list->column);
    gtk_widget_set_vexpand(list->scroller, TRUE);
    GtkAdjustment *adjustment = gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(list->scroller));
    g_signal_connect(adjustment, "changed", G_CALLBACK(on_extent), list);
    g_signal_connect(adjustment, "value-changed", G_CALLBACK(on_scrolled), list);
    g_object_weak_ref(G_OBJECT(list->column), forget, list);
    return list;
}

GtkWidget *message_list_widget(const message_list *list) {
    return list->scroller;
}

static void show_waiting(message_list *list, const conversation *c) {
    const message *last = conversation_last(c);
    bool waits = c->is_answering && !(last && last->role == WEFT_ASSISTANT && last->text->len > 0);
    char *text = c->n_prompt > 0 ? g_strdup_printf("Reading: %zu of %zu tokens", c->n_read, c->n_prompt) : g_strdup("Thinking");
    gtk_label_set_text(GTK_LABEL(list->waiting_label), text);
    gtk_widget_set_visible(list->waiting, waits);
    gtk_spinner_set_spinning(GTK_SPINNER(list->spinner), waits);
    g_free(text);
}

void message_list_show(message_list *list, const conversation *c, const char *empty) {
    for (guint i = 0; i < c->messages->len; i++) {
        const message *m = c->messages->pdata[i];
        if (i < list->rows->len && ((const row *)list->rows->pdata[i])->role != m->role) g_ptr_array_set_size(list->rows, (int)i);
        if (i == list->rows->len) add_row(list, m->role);
        set_text(list->rows->pdata[i], m->text);
        set_actions(list->rows->pdata[i], c);
    }
    if (list->rows->len > c->messages->len) g_ptr_array_set_size(list->rows, (int)c->messages->len);
    show_waiting(list, c);
    gtk_label_set_text(GTK_LABEL(list->empty), empty);
    gtk_widget_set_visible(list->empty, c->messages->len == 0 && !c->is_answering);
}

void message_list_scroll_down(message_list *list) {
    list->follows = true;
    on_extent(gtk_scrolled_window_get_vadjustment(GTK_SCROLLED_WINDOW(list->scroller)), list);
}
