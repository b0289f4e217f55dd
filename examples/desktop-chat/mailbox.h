/* What the worker and the loader tell the window: events, which arrive on the main thread. */
#ifndef MAILBOX_H
#define MAILBOX_H

#include "conversation.h"

typedef enum event_kind {
    EVENT_MESSAGES, /* all messages of the conversation, as they are now */
    EVENT_PREFILL,  /* `done` of `all` tokens of the question were read */
    EVENT_PIECE,    /* `text` is the answer's next */
    EVENT_END,      /* the answer is over: `finish` */
    EVENT_REFUSED,  /* the question was not taken; EVENT_FAILED tells why */
    EVENT_FAILED,   /* `status` and `text`: what went wrong in the conversation */
    EVENT_FIGURES,  /* memory and speed */
    EVENT_ADOPTED,  /* the worker has the new engine; `text` is its device's name */
    EVENT_LOADING,  /* `done` of `all` bytes of the weights are loaded */
    EVENT_PROBLEM,  /* `text`: what went wrong, in no conversation */
    EVENT_UNSAVED,  /* some conversations could not be saved at the end, which EVENT_FAILED has told */
    EVENT_FINISHED  /* everything is saved, and the worker has ended */
} event_kind;

/* What the status line shows. */
typedef struct figures {
    guint64 weights, cache, cache_used; /* bytes on the device */
    int32_t n_ctx;
    size_t n_tokens;                  /* of the conversation */
    double prefill_rate, decode_rate; /* tokens a second; 0: not known */
} figures;

typedef struct event {
    event_kind kind;
    conversation *about; /* a reference, or NULL */
    char *text;          /* owned */
    GPtrArray *messages; /* owned */
    weft_status status;
    weft_finish finish;
    guint64 done, all;
    figures figures;
} event;

typedef struct mailbox mailbox;

/* `take` gets each event, and `taken` is called after some of them; both on the main thread. */
mailbox *mailbox_create(void (*take)(void *user, event *e), void (*taken)(void *user), void *user);
/* On the main thread, when nobody posts any more. Events that have not arrived are dropped. */
void mailbox_destroy(mailbox *box);
/* From any thread. The event is copied; `about` gets a reference, text and messages become the mailbox's. */
void mailbox_post(mailbox *box, event e);

#endif
