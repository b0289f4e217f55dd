/* The list of conversations. */
#ifndef SIDEBAR_H
#define SIDEBAR_H

#include "conversation.h"

typedef struct sidebar sidebar;

/* Lives as long as its widget. `chosen` and `deleted` are called when the user chooses or deletes a conversation. */
sidebar *sidebar_create(void (*chosen)(void *user, conversation *c), void (*deleted)(void *user, conversation *c), void *user);
GtkWidget *sidebar_widget(const sidebar *s);
/* Shows these, `shown` as the chosen one. */
void sidebar_show(sidebar *s, const GPtrArray *conversations, const conversation *shown);

#endif
