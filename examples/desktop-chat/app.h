/* The application: starts from the command line or a desktop file, with a model or without. */
#ifndef APP_H
#define APP_H

#include <gtk/gtk.h>
#include <stdbool.h>

/* `is_alone`: it does not ask whether the program runs already; for tests. */
GtkApplication *app_create(bool is_alone);

#endif
