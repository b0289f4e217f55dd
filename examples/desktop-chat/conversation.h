/* One conversation: what the window shows of it, and the session that holds it for the library. */
#ifndef CONVERSATION_H
#define CONVERSATION_H

#include <gtk/gtk.h>
#include <weft/decoder.h>

typedef struct message {
    weft_role role;
    GString *text;
} message;

message *message_create(weft_role role, const char *text, size_t size);
void message_destroy(void *given);

/* Counted by references. Each member is one thread's, or is used with the mutex. */
typedef struct conversation {
    char *id, *path; /* of its file; they never change */

    /* The window's. */
    char *title, *model_path, *model_name;
    GPtrArray *messages;     /* of struct message, as the library counts them */
    bool is_read;            /* the messages are known */
    bool is_answering;       /* from the question to the end of the answer */
    bool can_continue;       /* the last answer was cut */
    size_t n_read, n_prompt; /* tokens of the question that were read, and all; 0: none is being read */
    char *problem;           /* what to tell in it, or NULL */
    weft_status status;      /* of the problem */
    char *draft;             /* what was typed and not sent, while another one is shown */
    char *asked;             /* the question that is not answered yet, or NULL */
    int edits;               /* the message that is being edited; -1: none */

    /* With the mutex. */
    GMutex mutex;
    weft_session *session; /* NULL: the conversation is in its file alone */
    bool is_busy;          /* the worker reads the question or answers */
    bool is_stopped;       /* the user does not want the answer any more */

    /* The worker's. */
    bool answers;               /* pieces of an answer are to come */
    size_t n_done, n_all;       /* tokens of the question in the last step; 0: not told */
    guint64 used_at;            /* counts the uses of all conversations */
    weft_session_timing before; /* the session's times before this answer */
} conversation;

/* `id` NULL: a new one, whose file will be in that folder. */
conversation *conversation_create(const char *folder, const char *id);
conversation *conversation_ref(conversation *c);
void conversation_unref(conversation *c);
/* The last message; NULL: there is none. */
message *conversation_last(const conversation *c);
/* Tells a problem in the conversation; `text` NULL: no more. */
void conversation_set_problem(conversation *c, weft_status status, const char *text);
/* The title from the first words of the user. Returns whether it has changed. */
bool conversation_name(conversation *c);

#endif
