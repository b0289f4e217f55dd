/* The thread that runs the engine and its sessions. Everything that can take time is done here, so that the window never waits. */
#ifndef WORKER_H
#define WORKER_H

#include "mailbox.h"

typedef struct worker worker;

/* What is asked. */
typedef struct question {
    int n_kept;         /* goes back to the first messages; -1: to none of them, everything stays */
    const char *text;   /* what the user says; NULL: nothing new, the last message is answered again or the answer goes on */
    const char *system; /* what a new conversation begins with */
    weft_sampling_options sampling;
} question;

worker *worker_create(mailbox *box);
/* Reads the conversation from its file, if its session is not there: EVENT_MESSAGES or EVENT_FAILED. */
void worker_read(worker *w, conversation *c);
/* EVENT_MESSAGES, then pieces and EVENT_END; or EVENT_FAILED. */
void worker_ask(worker *w, conversation *c, const question *q);
/* Ends the answer at once. */
void worker_stop(conversation *c);
/* Removes the session and the file. */
void worker_delete(worker *w, conversation *c);
/* Goes on with another engine. If its model is the same, all sessions move to it, also in the middle of an answer. Otherwise they
 * are saved. The worker destroys the engine and the model when it needs them no more. */
void worker_adopt(worker *w, weft_model *model, weft_engine *engine);
/* Replaces a file by a text, once that is whole and on the disk: EVENT_PROBLEM if it fails. Takes both texts. */
void worker_write(worker *w, char *path, char *text);
/* Stops all answers and saves all conversations: EVENT_FINISHED. If some cannot be saved and it is not forced, the worker goes on:
 * EVENT_UNSAVED. */
void worker_finish(worker *w, bool is_forced);
/* After EVENT_FINISHED. */
void worker_destroy(worker *w);

#endif
