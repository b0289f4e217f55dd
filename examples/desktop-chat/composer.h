/* Where the user types: Enter sends, Shift+Enter begins a line. */
#ifndef COMPOSER_H
#define COMPOSER_H

#include <gtk/gtk.h>

typedef struct composer composer;

typedef struct composer_calls {
    void (*send)(void *user);
    void (*stop)(void *user);
    void (*leave_edit)(void *user);
    void *user;
} composer_calls;

/* Lives as long as its widget. */
composer *composer_create(const composer_calls *calls);
GtkWidget *composer_widget(const composer *c);
char *composer_text(const composer *c);
void composer_set_text(composer *c, const char *text);
/* `is_busy`: the button stops the answer; `edits`: an earlier message is being edited; `why_not`: why nothing can be sent, or NULL.
 */
void composer_set_state(composer *c, bool is_busy, bool edits, const char *why_not);
void composer_focus(composer *c);

#endif
