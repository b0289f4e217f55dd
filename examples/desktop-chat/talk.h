/* The worker's part of the conversations: sessions of one engine. Called by the worker's thread alone. */
#ifndef TALK_H
#define TALK_H

#include "worker.h"

typedef struct talks {
    mailbox *box;
    weft_model *model; /* NULL: none yet, and no engine */
    weft_engine *engine;
    GPtrArray *open; /* conversations that have a session; references */
    guint64 n_uses;
    weft_error error; /* of the last step */
} talks;

void talks_begin(talks *t, mailbox *box);
/* Stops the answers, saves everything, and ends all sessions, the engine and the model. False if something could not be saved, and
 * it is not forced: then that is still there. */
bool talks_end(talks *t, bool is_forced);
/* As worker_adopt. */
void talks_adopt(talks *t, weft_model *model, weft_engine *engine);

/* Makes sure that the conversation has a session. On failure EVENT_FAILED was told. */
bool talk_open(talks *t, conversation *c);
/* Saves the conversation and ends its session. On failure the session stays, and EVENT_FAILED was told. */
bool talk_close(talks *t, conversation *c);
/* Ends the session without saving it. */
void talk_drop(talks *t, conversation *c);
/* A copy of the session as it is now. */
weft_status talk_copy(talks *t, conversation *c, weft_session **copy, weft_error *error);
/* The conversation goes on with another session, which it takes. */
void talk_replace(conversation *c, weft_session *session);
bool talk_save(talks *t, conversation *c);
void talk_delete(talks *t, conversation *c);
void talk_fail(const talks *t, conversation *c, const weft_error *error);
void talk_tell_messages(const talks *t, conversation *c);
void talk_tell_figures(talks *t, conversation *c);

void talk_read(talks *t, conversation *c);
void talk_ask(talks *t, conversation *c, const question *q);
bool talks_answering(const talks *t);
/* Gives the pieces that there are, and runs a step of the engine. */
void talks_step(talks *t);
/* Ends an answer at once, with what it has so far. */
void talk_end_answer(talks *t, conversation *c);
void talks_tell_figures(talks *t);

#endif
