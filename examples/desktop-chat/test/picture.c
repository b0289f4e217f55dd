/* Makes the picture of the documentation: picture MODEL PICTURE.png QUESTION... A question that is "+" begins another conversation.
 */
#include "../app.h"
#include "driver.h"

static void open_model(GtkApplication *app, const char *path) {
    GFile *file = g_file_new_for_path(path);
    g_application_open(G_APPLICATION(app), &file, 1, "");
    g_object_unref(file);
    WAIT_FOR(driver_window() && !driver_look_for(NULL, "cancel-loading"));
}

static void ask(const char *text) {
    driver_type("question", text);
    WAIT_FOR(driver_can_press("Send"));
    driver_press(NULL, "Send");
    WAIT_FOR(!driver_can_press("Stop"));
}

int main(int argc, char **argv) {
    if (argc < 4) g_error("usage: picture MODEL PICTURE.png QUESTION...");
    GtkApplication *app = app_create(true);
    g_application_register(G_APPLICATION(app), NULL, NULL);
    open_model(app, argv[1]);
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "+") != 0)
            ask(argv[i]);
        else
            gtk_widget_activate_action(driver_window(), "win.new", NULL);
    }
    driver_draw(argv[2]);
    gtk_window_close(GTK_WINDOW(driver_window()));
    WAIT_FOR(!driver_window());
    g_object_unref(app);
    return 0;
}
