/* The line at the bottom: device, memory and speed. */
#ifndef STATUS_LINE_H
#define STATUS_LINE_H

#include "mailbox.h"

typedef struct status_line status_line;

/* Lives as long as its widget. */
status_line *status_line_create(void);
GtkWidget *status_line_widget(const status_line *s);
void status_line_show(status_line *s, const figures *f);
/* No model is open. */
void status_line_clear(status_line *s);

#endif
