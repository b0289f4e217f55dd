/* A chat program for the desktop. Usage: weft-desktop-chat [MODEL] */
#include "app.h"

int main(int argc, char **argv) {
    GtkApplication *app = app_create(false);
    int status = g_application_run(G_APPLICATION(app), argc, argv);
    g_object_unref(app);
    return status;
}
