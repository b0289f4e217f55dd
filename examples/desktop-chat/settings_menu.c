#include "settings_menu.h"

typedef struct menu {
    settings *settings;
    GtkWidget *system, *temperature, *top_p, *min_p, *max_tokens, *is_seeded, *seed;
    void (*changed)(void *user);
    void *user;
} menu;

static void read_widgets(const menu *m) {
    settings *s = m->settings;
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(GTK_TEXT_VIEW(m->system));
    GtkTextIter from, to;
    gtk_text_buffer_get_bounds(buffer, &from, &to);
    g_free(s->system);
    s->system = g_strstrip(gtk_text_buffer_get_text(buffer, &from, &to, FALSE));
    s->temperature = gtk_spin_button_get_value(GTK_SPIN_BUTTON(m->temperature));
    s->top_p = gtk_spin_button_get_value(GTK_SPIN_BUTTON(m->top_p));
    s->min_p = gtk_spin_button_get_value(GTK_SPIN_BUTTON(m->min_p));
    s->max_tokens = gtk_spin_button_get_value_as_int(GTK_SPIN_BUTTON(m->max_tokens));
    s->is_seeded = gtk_check_button_get_active(GTK_CHECK_BUTTON(m->is_seeded));
    s->seed = (guint64)gtk_spin_button_get_value(GTK_SPIN_BUTTON(m->seed));
}

static void on_closed(GtkPopover *popover, void *user) {
    (void)popover;
    const menu *m = user;
    read_widgets(m);
    m->changed(m->user);
}

static GtkWidget *make_number(const char *name, const char *tooltip, double max, double step, double value) {
    GtkWidget *spin = gtk_spin_button_new_with_range(0, max, step);
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(spin), value);
    gtk_widget_set_name(spin, name);
    gtk_widget_set_tooltip_text(spin, tooltip);
    return spin;
}

/* In a row with a label that describes it. */
static void add_number(GtkWidget *grid, int row, const char *label, GtkWidget *spin) {
    GtkWidget *text = gtk_label_new_with_mnemonic(label);
    gtk_label_set_xalign(GTK_LABEL(text), 0);
    gtk_label_set_mnemonic_widget(GTK_LABEL(text), spin);
    gtk_widget_set_hexpand(text, TRUE);
    gtk_grid_attach(GTK_GRID(grid), text, 0, row, 1, 1);
    gtk_grid_attach(GTK_GRID(grid), spin, 1, row, 1, 1);
}

static void add_system(menu *m, GtkWidget *grid) {
    GtkWidget *label = gtk_label_new_with_mnemonic("S_ystem prompt of new conversations"), *scroller = gtk_scrolled_window_new();
    m->system = gtk_text_view_new();
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), m->system);
    gtk_text_view_set_wrap_mode(GTK_TEXT_VIEW(m->system), GTK_WRAP_WORD_CHAR);
    gtk_text_view_set_accepts_tab(GTK_TEXT_VIEW(m->system), FALSE);
    gtk_text_buffer_set_text(gtk_text_view_get_buffer(GTK_TEXT_VIEW(m->system)), m->settings->system, -1);
    gtk_widget_set_name(m->system, "system-prompt");
    gtk_widget_add_css_class(scroller, "frame");
    gtk_widget_add_css_class(scroller, "system-prompt");
    gtk_widget_set_size_request(scroller, 320, 84);
    gtk_scrolled_window_set_policy(GTK_SCROLLED_WINDOW(scroller), GTK_POLICY_NEVER, GTK_POLICY_AUTOMATIC);
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(scroller), m->system);
    gtk_grid_attach(GTK_GRID(grid), label, 0, 0, 2, 1);
    gtk_grid_attach(GTK_GRID(grid), scroller, 0, 1, 2, 1);
}

static GtkWidget *make_grid(menu *m) {
    const settings *s = m->settings;
    GtkWidget *grid = gtk_grid_new();
    gtk_grid_set_row_spacing(GTK_GRID(grid), 8);
    gtk_grid_set_column_spacing(GTK_GRID(grid), 12);
    gtk_widget_add_css_class(grid, "settings");
    add_system(m, grid);
    m->temperature = make_number("temperature", "0: always the most likely token", 5, 0.1, s->temperature);
    m->top_p = make_number("top-p", "Only the most likely tokens that together have this probability; 0: off", 1, 0.05, s->top_p);
    m->min_p =
        make_number("min-p", "Only tokens at least this likely, compared with the most likely one; 0: off", 1, 0.01, s->min_p);
    m->max_tokens = make_number("max-tokens", "0: as many as fit", 1e6, 16, s->max_tokens);
    m->seed = make_number("seed", "The same seed gives the same answer", 4294967295.0, 1, (double)s->seed);
    m->is_seeded = gtk_check_button_new_with_mnemonic("Always with this s_eed");
    add_number(grid, 2, "_Temperature", m->temperature);
    add_number(grid, 3, "Top-_p", m->top_p);
    add_number(grid, 4, "_Min-p", m->min_p);
    add_number(grid, 5, "Most to_kens of an answer", m->max_tokens);
    gtk_grid_attach(GTK_GRID(grid), m->is_seeded, 0, 6, 1, 1);
    gtk_grid_attach(GTK_GRID(grid), m->seed, 1, 6, 1, 1);
    gtk_check_button_set_active(GTK_CHECK_BUTTON(m->is_seeded), s->is_seeded);
    gtk_accessible_update_property(GTK_ACCESSIBLE(m->seed), GTK_ACCESSIBLE_PROPERTY_LABEL, "Seed", -1);
    g_object_bind_property(m->is_seeded, "active", m->seed, "sensitive", G_BINDING_SYNC_CREATE);
    return grid;
}

GtkWidget *settings_menu_create(settings *s, void (*changed)(void *user), void *user) {
    menu *m = g_new0(menu, 1);
    GtkWidget *button = gtk_menu_button_new(), *popover = gtk_popover_new();
    *m = (menu){.settings = s, .changed = changed, .user = user};
    gtk_popover_set_child(GTK_POPOVER(popover), make_grid(m));
    gtk_menu_button_set_icon_name(GTK_MENU_BUTTON(button), "open-menu-symbolic");
    gtk_menu_button_set_popover(GTK_MENU_BUTTON(button), popover);
    gtk_widget_set_name(button, "settings");
    gtk_widget_set_tooltip_text(button, "Settings");
    gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL, "Settings", -1);
    g_signal_connect(popover, "closed", G_CALLBACK(on_closed), m);
    g_object_set_data_full(G_OBJECT(popover), "menu", m, g_free);
    return button;
}
