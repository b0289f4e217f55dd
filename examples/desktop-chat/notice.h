/* A box that tells a problem in place, with a button that may help. */
#ifndef NOTICE_H
#define NOTICE_H

#include <gtk/gtk.h>

typedef struct notice notice;

/* Lives as long as its widget. `closed` is called when the user closes it; `helped`, when the user presses the other button. */
notice *notice_create(void (*closed)(void *user), void (*helped)(void *user), void *user);
GtkWidget *notice_widget(const notice *n);
/* `text` NULL hides it; `help` is the button's text, or NULL. */
void notice_tell(notice *n, const char *text, const char *help);

#endif
