#include "app.h"

#include "window.h"

#define APP_ID "org.weft.DesktopChat"

/* The window of the application that is open; NULL: none. */
static chat_window *open_window(GtkApplication *app) {
    GtkWindow *window = gtk_application_get_active_window(app);
    return window ? g_object_get_data(G_OBJECT(window), "window") : NULL;
}

static void on_startup(GApplication *app, void *user) {
    (void)app, (void)user;
    GtkCssProvider *style = gtk_css_provider_new();
    gtk_css_provider_load_from_resource(style, "/org/weft/DesktopChat/style.css");
    gtk_style_context_add_provider_for_display(gdk_display_get_default(), GTK_STYLE_PROVIDER(style),
                                               GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
    gtk_icon_theme_add_resource_path(gtk_icon_theme_get_for_display(gdk_display_get_default()), "/org/weft/DesktopChat/icons");
    g_object_unref(style);
}

static void on_activate(GApplication *app, void *user) {
    (void)user;
    chat_window *w = open_window(GTK_APPLICATION(app));
    if (w)
        window_present(w);
    else
        window_open_last(window_create(GTK_APPLICATION(app)));
}

static void on_open(GApplication *app, GFile **files, int n_files, const char *hint, void *user) {
    (void)n_files, (void)hint, (void)user;
    chat_window *w = open_window(GTK_APPLICATION(app));
    char *path = g_file_get_path(files[0]);
    if (!w) w = window_create(GTK_APPLICATION(app));
    window_open(w, path ? path : "");
    window_present(w);
    g_free(path);
}

GtkApplication *app_create(bool is_alone) {
    GtkApplication *app = gtk_application_new(APP_ID, G_APPLICATION_HANDLES_OPEN | (is_alone ? G_APPLICATION_NON_UNIQUE : 0));
    g_signal_connect(app, "startup", G_CALLBACK(on_startup), NULL);
    g_signal_connect(app, "activate", G_CALLBACK(on_activate), NULL);
    g_signal_connect(app, "open", G_CALLBACK(on_open), NULL);
    return app;
}
