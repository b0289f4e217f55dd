/* Drives the program as a user does: finds widgets by their names and texts, and waits for what they show. */
#ifndef DRIVER_H
#define DRIVER_H

#include <gtk/gtk.h>
#include <stdbool.h>

/* Ends the test with a message if the condition does not come true in some seconds. The program's main loop runs meanwhile. */
#define WAIT_FOR(condition)                                                                                                        \
    do {                                                                                                                           \
        gint64 until_ = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;                                                              \
        while (!(condition)) {                                                                                                     \
            g_main_context_iteration(NULL, FALSE);                                                                                 \
            g_usleep(500);                                                                                                         \
            if (g_get_monotonic_time() > until_) g_error("%s:%d: never: %s", __FILE__, __LINE__, #condition);                      \
        }                                                                                                                          \
    } while (0)

/* The program's only window; NULL: none. */
GtkWidget *driver_window(void);
/* The first widget of that name that is visible, below `root` (NULL: the window). Ends the test if there is none. */
GtkWidget *driver_find(GtkWidget *root, const char *name);
/* As driver_find, but NULL if there is none. */
GtkWidget *driver_look_for(GtkWidget *root, const char *name);
/* The number of texts of that name, and one of them, "" if it is not there; a negative index counts from the end. The result lives
 * until the next call. */
guint driver_count(const char *name);
const char *driver_text(const char *name, int index);
/* Whether a visible label below the widget of that name contains the text. */
bool driver_shows(const char *name, const char *text);
/* Presses the last visible button with this label, below `root` (NULL: the window). */
void driver_press(GtkWidget *root, const char *label);
bool driver_can_press(const char *label);
/* Types into the text view of that name, and presses a key in it. */
void driver_type(const char *name, const char *text);
bool driver_key(const char *name, guint key, GdkModifierType state);
/* Draws the window into a PNG file. */
void driver_draw(const char *path);

#endif
