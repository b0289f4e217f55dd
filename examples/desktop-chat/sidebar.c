#include "sidebar.h"

typedef struct line {
    sidebar *sidebar;
    conversation *about; /* a reference */
    GtkWidget *row, *title, *model, *spinner;
} line;

struct sidebar {
    GtkWidget *scroller, *list;
    GPtrArray *lines; /* of struct line, in the order of the rows */
    bool is_updating;
    void (*chosen)(void *user, conversation *c);
    void (*deleted)(void *user, conversation *c);
    void *user;
};

static void free_line(void *given) {
    line *l = given;
    conversation_unref(l->about);
    g_free(l);
}

static gboolean delete_now(void *user) {
    line *l = user;
    GtkWidget *row = l->row, *list = l->sidebar->list;
    l->sidebar->deleted(l->sidebar->user, l->about);
    g_object_unref(row);
    g_object_unref(list);
    return G_SOURCE_REMOVE;
}

/* The row goes with its button, so not before the click is over. */
static void on_delete(GtkButton *button, void *user) {
    line *l = user;
    gtk_popover_popdown(GTK_POPOVER(gtk_widget_get_ancestor(GTK_WIDGET(button), GTK_TYPE_POPOVER)));
    g_object_ref(l->row);
    g_object_ref(l->sidebar->list);
    g_idle_add(delete_now, l);
}

static GtkWidget *make_delete(line *l) {
    GtkWidget *menu = gtk_menu_button_new(), *popover = gtk_popover_new(), *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 8);
    GtkWidget *button = gtk_button_new_with_label("Delete");
    gtk_box_append(GTK_BOX(box), gtk_label_new("Delete this conversation?"));
    gtk_box_append(GTK_BOX(box), button);
    gtk_widget_add_css_class(button, "destructive-action");
    gtk_widget_set_name(button, "delete");
    gtk_widget_set_name(menu, "delete-menu");
    gtk_menu_button_set_has_frame(GTK_MENU_BUTTON(menu), FALSE);
    gtk_widget_add_css_class(menu, "delete");
    gtk_popover_set_child(GTK_POPOVER(popover), box);
    gtk_menu_button_set_icon_name(GTK_MENU_BUTTON(menu), "user-trash-symbolic");
    gtk_menu_button_set_popover(GTK_MENU_BUTTON(menu), popover);
    gtk_widget_set_valign(menu, GTK_ALIGN_CENTER);
    gtk_widget_set_tooltip_text(menu, "Delete");
    gtk_accessible_update_property(GTK_ACCESSIBLE(menu), GTK_ACCESSIBLE_PROPERTY_LABEL, "Delete the conversation", -1);
    g_signal_connect(button, "clicked", G_CALLBACK(on_delete), l);
    return menu;
}

static GtkWidget *make_text(const char *class) {
    GtkWidget *label = gtk_label_new(NULL);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
    gtk_widget_add_css_class(label, class);
    return label;
}

static line *make_line(sidebar *s, conversation *c) {
    line *l = g_new0(line, 1);
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6), *texts = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    *l = (line){.sidebar = s,
                .about = conversation_ref(c),
                .row = gtk_list_box_row_new(),
                .title = make_text("title-line"),
                .model = make_text("detail"),
                .spinner = gtk_spinner_new()};
    gtk_widget_set_hexpand(texts, TRUE);
    gtk_box_append(GTK_BOX(texts), l->title);
    gtk_box_append(GTK_BOX(texts), l->model);
    gtk_box_append(GTK_BOX(box), texts);
    gtk_box_append(GTK_BOX(box), l->spinner);
    gtk_box_append(GTK_BOX(box), make_delete(l));
    gtk_list_box_row_set_child(GTK_LIST_BOX_ROW(l->row), box);
    g_object_set_data_full(G_OBJECT(l->row), "line", l, free_line);
    return l;
}

static void update_line(const line *l) {
    const conversation *c = l->about;
    gtk_label_set_text(GTK_LABEL(l->title), c->title);
    gtk_label_set_text(GTK_LABEL(l->model), c->model_name);
    gtk_widget_set_tooltip_text(l->row, c->title);
    gtk_widget_set_visible(l->model, *c->model_name);
    gtk_widget_set_visible(l->spinner, c->is_answering);
    gtk_spinner_set_spinning(GTK_SPINNER(l->spinner), c->is_answering);
}

static void on_row(GtkListBox *list, GtkListBoxRow *row, void *user) {
    (void)list;
    sidebar *s = user;
    if (!row || s->is_updating) return;
    const line *l = g_object_get_data(G_OBJECT(row), "line");
    s->chosen(s->user, l->about);
}

static void forget(void *user, GObject *widget) {
    (void)widget;
    sidebar *s = user;
    g_ptr_array_unref(s->lines);
    g_free(s);
}

sidebar *sidebar_create(void (*chosen)(void *user, conversation *c), void (*deleted)(void *user, conversation *c), void *user) {
    sidebar *s = g_new0(sidebar, 1);
    *s = (sidebar){.chosen = chosen, .deleted = deleted, .user = user};
    s->lines = g_ptr_array_new();
    s->list = gtk_list_box_new();
    s->scroller = gtk_scrolled_window_new();
    gtk_widget_set_name(s->list, "conversations");
    gtk_widget_add_css_class(s->list, "navigation-sidebar");
    gtk_accessible_update_property(GTK_ACCESSIBLE(s->list), GTK_ACCESSIBLE_PROPERTY_LABEL, "Conversations", -1);
    gtk_list_box_set_selection_mode(GTK_LIST_BOX(s->list), GTK_SELECTION_BROWSE);
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(s->scroller), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(s->scroller), s->list);
    gtk_widget_set_size_request(s->scroller, 180, -1);
    g_signal_connect(s->list, "row-selected", G_CALLBACK(on_row), s);
    g_object_weak_ref(G_OBJECT(s->list), forget, s);
    return s;
}

GtkWidget *sidebar_widget(const sidebar *s) {
    return s->scroller;
}

/* The rows that are there already stay, but for those from the first difference on. */
static void match(sidebar *s, const GPtrArray *conversations) {
    guint same = 0;
    while (same < s->lines->len && same < conversations->len &&
           ((line *)s->lines->pdata[same])->about == conversations->pdata[same])
        same++;
    while (s->lines->len > same) {
        line *last = s->lines->pdata[s->lines->len - 1];
        g_ptr_array_set_size(s->lines, (int)s->lines->len - 1);
        gtk_list_box_remove(GTK_LIST_BOX(s->list), last->row);
    }
    for (guint i = same; i < conversations->len; i++) {
        line *l = make_line(s, conversations->pdata[i]);
        g_ptr_array_add(s->lines, l);
        gtk_list_box_append(GTK_LIST_BOX(s->list), l->row);
    }
}

void sidebar_show(sidebar *s, const GPtrArray *conversations, const conversation *shown) {
    s->is_updating = true;
    match(s, conversations);
    for (guint i = 0; i < s->lines->len; i++) {
        const line *l = s->lines->pdata[i];
        update_line(l);
        if (l->about == shown) gtk_list_box_select_row(GTK_LIST_BOX(s->list), GTK_LIST_BOX_ROW(l->row));
    }
    s->is_updating = false;
}
