#include "device_menu.h"

/* ---- An entry of the list ---- */

G_DECLARE_FINAL_TYPE(DeviceEntry, device_entry, DEVICE, ENTRY, GObject)

struct _DeviceEntry {
    GObject parent;
    char *device;                  /* for the library */
    char *name, *detail, *why_not; /* why_not NULL: it can be used */
};

G_DEFINE_TYPE(DeviceEntry, device_entry, G_TYPE_OBJECT)

static void device_entry_finalize(GObject *object) {
    DeviceEntry *e = DEVICE_ENTRY(object);
    g_free(e->device);
    g_free(e->name);
    g_free(e->detail);
    g_free(e->why_not);
    G_OBJECT_CLASS(device_entry_parent_class)->finalize(object);
}

static void device_entry_class_init(DeviceEntryClass *class) {
    G_OBJECT_CLASS(class)->finalize = device_entry_finalize;
}

static void device_entry_init(DeviceEntry *e) {
    (void)e;
}

/* ---- The menu ---- */

struct device_menu {
    GtkWidget *widget;
    GListStore *entries;
    guint shown;
    void (*chosen)(void *user, const char *device);
    void (*refused)(void *user, const char *why);
    void *user;
};

static void add(device_menu *menu, const char *device, const char *name, char *detail, const char *why_not) {
    DeviceEntry *e = g_object_new(device_entry_get_type(), NULL);
    e->device = g_strdup(device);
    e->name = g_strdup(name);
    e->detail = detail;
    e->why_not = why_not && *why_not ? g_strdup(why_not) : NULL;
    g_list_store_append(menu->entries, e);
    g_object_unref(e);
}

/* Drivers for tests are no choice for a user. */
static const char *why_not(const weft_device_info *info) {
    if (*info->unusable) return info->unusable;
    if (info->kind == WEFT_DEVICE_NOTHING) return "It computes nothing: it is for tests";
    if (info->kind == WEFT_DEVICE_SOFTWARE_GPU)
        return "It runs on the processor and is slower than the CPU backend: it is for tests";
    return NULL;
}

static char *describe(const weft_device_info *info) {
    if (!info->memory_total) return g_strdup(info->backend);
    char *total = g_format_size_full(info->memory_total, G_FORMAT_SIZE_IEC_UNITS);
    char *free_bytes = g_format_size_full(info->memory_free, G_FORMAT_SIZE_IEC_UNITS);
    char *text = g_strdup_printf("%s: %s free of %s", info->backend, free_bytes, total);
    g_free(total);
    g_free(free_bytes);
    return text;
}

/* ---- Rows ---- */

static GtkWidget *add_line(GtkWidget *box, const char *class) {
    GtkWidget *label = gtk_label_new(NULL);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_wrap(GTK_LABEL(label), TRUE);
    gtk_label_set_width_chars(GTK_LABEL(label), 36); /* the menu may be wider than its button */
    gtk_label_set_max_width_chars(GTK_LABEL(label), 44);
    gtk_widget_add_css_class(label, class);
    gtk_box_append(GTK_BOX(box), label);
    return label;
}

static void set_up_row(GtkListItemFactory *factory, GtkListItem *item, void *user) {
    (void)factory, (void)user;
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    add_line(box, "device-name");
    add_line(box, "detail");
    gtk_list_item_set_child(item, box);
}

static void bind_row(GtkListItemFactory *factory, GtkListItem *item, void *user) {
    (void)factory, (void)user;
    const DeviceEntry *e = DEVICE_ENTRY(gtk_list_item_get_item(item));
    GtkWidget *box = gtk_list_item_get_child(item), *name = gtk_widget_get_first_child(box);
    gtk_label_set_text(GTK_LABEL(name), e->name);
    gtk_label_set_text(GTK_LABEL(gtk_widget_get_next_sibling(name)), e->why_not ? e->why_not : e->detail);
    gtk_widget_set_sensitive(box, !e->why_not);
    gtk_list_item_set_activatable(item, !e->why_not);
    gtk_list_item_set_selectable(item, !e->why_not);
}

static void set_up_button(GtkListItemFactory *factory, GtkListItem *item, void *user) {
    (void)factory, (void)user;
    GtkWidget *label = gtk_label_new(NULL);
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END);
    gtk_label_set_max_width_chars(GTK_LABEL(label), 24);
    gtk_list_item_set_child(item, label);
}

static void bind_button(GtkListItemFactory *factory, GtkListItem *item, void *user) {
    (void)factory, (void)user;
    const DeviceEntry *e = DEVICE_ENTRY(gtk_list_item_get_item(item));
    gtk_label_set_text(GTK_LABEL(gtk_list_item_get_child(item)), e->name);
}

static GtkListItemFactory *make_factory(void (*set_up)(GtkListItemFactory *, GtkListItem *, void *),
                                        void (*bind)(GtkListItemFactory *, GtkListItem *, void *)) {
    GtkListItemFactory *factory = gtk_signal_list_item_factory_new();
    g_signal_connect(factory, "setup", G_CALLBACK(set_up), NULL);
    g_signal_connect(factory, "bind", G_CALLBACK(bind), NULL);
    return factory;
}

/* ---- Choosing ---- */

static void on_selected(GObject *drop_down, GParamSpec *property, void *user) {
    (void)property;
    device_menu *menu = user;
    guint chosen = gtk_drop_down_get_selected(GTK_DROP_DOWN(drop_down));
    if (chosen == menu->shown || chosen == GTK_INVALID_LIST_POSITION) return;
    DeviceEntry *e = g_list_model_get_item(G_LIST_MODEL(menu->entries), chosen);
    if (e->why_not) { /* with the keyboard */
        gtk_drop_down_set_selected(GTK_DROP_DOWN(drop_down), menu->shown);
        menu->refused(menu->user, e->why_not);
    } else {
        menu->shown = chosen;
        menu->chosen(menu->user, e->device);
    }
    g_object_unref(e);
}

static void forget(void *user, GObject *widget) {
    (void)widget;
    g_free(user);
}

device_menu *device_menu_create(void (*chosen)(void *user, const char *device), void (*refused)(void *user, const char *why),
                                void *user) {
    device_menu *menu = g_new0(device_menu, 1);
    *menu = (device_menu){.chosen = chosen, .refused = refused, .user = user};
    menu->entries = g_list_store_new(device_entry_get_type());
    add(menu, "auto", "Best device", g_strdup("The library chooses"), NULL);
    menu->widget = gtk_drop_down_new(G_LIST_MODEL(menu->entries), NULL);
    GtkListItemFactory *button = make_factory(set_up_button, bind_button), *row = make_factory(set_up_row, bind_row);
    gtk_drop_down_set_factory(GTK_DROP_DOWN(menu->widget), button);
    gtk_drop_down_set_list_factory(GTK_DROP_DOWN(menu->widget), row);
    g_object_unref(button);
    g_object_unref(row);
    gtk_widget_set_name(menu->widget, "device");
    gtk_widget_set_tooltip_text(menu->widget, "Device");
    gtk_accessible_update_property(GTK_ACCESSIBLE(menu->widget), GTK_ACCESSIBLE_PROPERTY_LABEL, "Device", -1);
    g_signal_connect(menu->widget, "notify::selected", G_CALLBACK(on_selected), menu);
    g_object_weak_ref(G_OBJECT(menu->widget), forget, menu);
    return menu;
}

GtkWidget *device_menu_widget(const device_menu *menu) {
    return menu->widget;
}

void device_menu_list(device_menu *menu, const weft_device_info *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        add(menu, list[i].stable_id, *list[i].name ? list[i].name : list[i].backend, describe(&list[i]), why_not(&list[i]));
}

void device_menu_show(device_menu *menu, const char *device) {
    for (guint i = 0; i < g_list_model_get_n_items(G_LIST_MODEL(menu->entries)); i++) {
        DeviceEntry *e = g_list_model_get_item(G_LIST_MODEL(menu->entries), i);
        if (strcmp(e->device, device) == 0) menu->shown = i;
        g_object_unref(e);
    }
    gtk_drop_down_set_selected(GTK_DROP_DOWN(menu->widget), menu->shown);
}
