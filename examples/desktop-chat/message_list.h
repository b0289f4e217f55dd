/* The messages of the conversation that is shown. */
#ifndef MESSAGE_LIST_H
#define MESSAGE_LIST_H

#include "conversation.h"

typedef enum message_action { MESSAGE_EDIT, MESSAGE_RETRY, MESSAGE_CONTINUE } message_action;

typedef struct message_list message_list;

/* Lives as long as its widget. `act` is called when the user asks for something with message `index`. */
message_list *message_list_create(void (*act)(void *user, message_action action, guint index), void *user);
GtkWidget *message_list_widget(const message_list *list);
/* Shows the conversation as it is now; `empty` is what to show instead of no messages. */
void message_list_show(message_list *list, const conversation *c, const char *empty);
/* Shows the end, and stays there. */
void message_list_scroll_down(message_list *list);

#endif
