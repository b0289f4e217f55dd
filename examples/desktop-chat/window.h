/* The window, and what happens in it. */
#ifndef WINDOW_H
#define WINDOW_H

#include <gtk/gtk.h>

typedef struct chat_window chat_window;

/* Shows the window, with the conversations of before. It ends by itself when the user has closed it and all is saved. */
chat_window *window_create(GtkApplication *app);
/* Opens a model file in the window. */
void window_open(chat_window *w, const char *path);
/* Opens the model of the last time, if there is one. */
void window_open_last(chat_window *w);
/* Brings the window to the front. */
void window_present(chat_window *w);

#endif
