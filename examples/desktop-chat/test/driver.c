#include "driver.h"

GtkWidget *driver_window(void) {
    GListModel *windows = gtk_window_get_toplevels();
    GtkWidget *found = NULL;
    for (guint i = 0; i < g_list_model_get_n_items(windows) && !found; i++) {
        GtkWidget *window = g_list_model_get_item(windows, i);
        if (GTK_IS_APPLICATION_WINDOW(window)) found = window;
        g_object_unref(window);
    }
    return found;
}

/* ---- Walking through the widgets ---- */

typedef bool (*condition)(GtkWidget *widget, const char *text);

/* The root itself may be hidden, as a closed menu is. */
static void collect(GtkWidget *widget, condition fits, const char *text, GPtrArray *found) {
    if (fits(widget, text)) g_ptr_array_add(found, widget);
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child; child = gtk_widget_get_next_sibling(child))
        if (gtk_widget_get_visible(child)) collect(child, fits, text, found);
}

static GPtrArray *find_all(GtkWidget *root, condition fits, const char *text) {
    GPtrArray *found = g_ptr_array_new();
    if (!root) root = driver_window();
    if (root) collect(root, fits, text, found);
    return found;
}

static bool has_name(GtkWidget *widget, const char *name) {
    return strcmp(gtk_widget_get_name(widget), name) == 0;
}

static bool is_button(GtkWidget *widget, const char *label) {
    return GTK_IS_BUTTON(widget) && g_strcmp0(gtk_button_get_label(GTK_BUTTON(widget)), label) == 0;
}

static bool is_label(GtkWidget *widget, const char *text) {
    return GTK_IS_LABEL(widget) && strstr(gtk_label_get_text(GTK_LABEL(widget)), text);
}

/* ---- Finding ---- */

GtkWidget *driver_look_for(GtkWidget *root, const char *name) {
    GPtrArray *found = find_all(root, has_name, name);
    GtkWidget *first = found->len ? found->pdata[0] : NULL;
    g_ptr_array_unref(found);
    return first;
}

GtkWidget *driver_find(GtkWidget *root, const char *name) {
    GtkWidget *found = driver_look_for(root, name);
    if (!found) g_error("there is no widget \"%s\"", name);
    return found;
}

guint driver_count(const char *name) {
    GPtrArray *found = find_all(NULL, has_name, name);
    guint n = found->len;
    g_ptr_array_unref(found);
    return n;
}

const char *driver_text(const char *name, int index) {
    GPtrArray *found = find_all(NULL, has_name, name);
    int n = (int)found->len, i = index < 0 ? n + index : index;
    GtkWidget *label = i < 0 || i >= n ? NULL : gtk_widget_get_first_child(found->pdata[i]);
    static GString *text;
    if (!text) text = g_string_new(NULL);
    g_string_truncate(text, 0);
    for (; label; label = gtk_widget_get_next_sibling(label)) g_string_append(text, gtk_label_get_text(GTK_LABEL(label)));
    g_ptr_array_unref(found);
    return text->str;
}

bool driver_shows(const char *name, const char *text) {
    GtkWidget *root = driver_look_for(NULL, name);
    if (!root) return false;
    GPtrArray *found = find_all(root, is_label, text);
    bool shows = found->len > 0;
    g_ptr_array_unref(found);
    return shows;
}

/* ---- Acting ---- */

static GtkWidget *find_button(GtkWidget *root, const char *label) {
    GPtrArray *found = find_all(root, is_button, label);
    GtkWidget *last = found->len ? found->pdata[found->len - 1] : NULL;
    g_ptr_array_unref(found);
    return last;
}

bool driver_can_press(const char *label) {
    GtkWidget *button = find_button(NULL, label);
    return button && gtk_widget_is_sensitive(button);
}

void driver_press(GtkWidget *root, const char *label) {
    GtkWidget *button = find_button(root, label);
    if (!button || !gtk_widget_is_sensitive(button)) g_error("there is no button \"%s\" that can be pressed", label);
    g_signal_emit_by_name(button, "clicked");
}

void driver_type(const char *name, const char *text) {
    gtk_text_buffer_set_text(gtk_text_view_get_buffer(GTK_TEXT_VIEW(driver_find(NULL, name))), text, -1);
}

bool driver_key(const char *name, guint key, GdkModifierType state) {
    GListModel *controllers = gtk_widget_observe_controllers(driver_find(NULL, name));
    gboolean is_taken = FALSE;
    for (guint i = 0; i < g_list_model_get_n_items(controllers) && !is_taken; i++) {
        GtkEventController *controller = g_list_model_get_item(controllers, i);
        if (GTK_IS_EVENT_CONTROLLER_KEY(controller) && gtk_event_controller_get_propagation_phase(controller) == GTK_PHASE_CAPTURE)
            g_signal_emit_by_name(controller, "key-pressed", key, 0, state, &is_taken);
        g_object_unref(controller);
    }
    g_object_unref(controllers);
    return is_taken;
}

/* ---- Drawing ---- */

void driver_draw(const char *path) {
    GtkWidget *window = driver_window();
    GskRenderNode *node = NULL;
    GdkPaintable *paintable = gtk_widget_paintable_new(window);
    for (int i = 0; i < 20 || !node; i++) { /* until it is laid out and drawn, and its animations are over */
        for (int k = 0; k < 10; k++) g_main_context_iteration(NULL, FALSE);
        g_usleep(15000);
        GtkSnapshot *snapshot = gtk_snapshot_new();
        gdk_paintable_snapshot(paintable, snapshot, gtk_widget_get_width(window), gtk_widget_get_height(window));
        g_clear_pointer(&node, gsk_render_node_unref);
        node = gtk_snapshot_free_to_node(snapshot);
    }
    GdkTexture *texture = gsk_renderer_render_texture(gtk_native_get_renderer(GTK_NATIVE(window)), node, NULL);
    if (!gdk_texture_save_to_png(texture, path)) g_error("cannot write %s", path);
    g_object_unref(texture);
    gsk_render_node_unref(node);
    g_object_unref(paintable);
}
