/* weft chat: the conversation, and the commands that a person types in it. */
#ifndef WEFT_TOOLS_CHAT_H
#define WEFT_TOOLS_CHAT_H

#include "command.h"

typedef struct chat {
    const talk_settings *settings;
    talk opened;
    weft_session *session;
    talk_answer answer;
    byte_array line;
    uint64_t n_retries; /* each changes the seed */
    size_t n_dropped;   /* messages that the last one has displaced, until its answer begins */
    bool over;          /* by /quit */
} chat;

typedef struct chat_command {
    const char *name;     /* with the slash */
    const char *argument; /* "FILE"; NULL: none */
    const char *help;
    weft_status (*run)(chat *c, const char *argument, weft_error *error); /* prints what it did; a failure changes nothing */
} chat_command;
/* In the order of /help; a NULL name ends them. */
extern const chat_command chat_commands[];

/* Whether the message is a command: a slash and a word of letters at its beginning, and one line. */
bool chat_is_command(const char *message);
/* Runs the command; `message` is changed. A failure, or an unknown name, is told and the conversation goes on: what is returned
 * ends it. */
weft_status chat_run_command(chat *c, char *message, weft_error *error);
/* Reads and prints an answer, which Ctrl-C ends. */
weft_status chat_answer(chat *c, weft_error *error);
/* Tells a failure after which the conversation goes on. */
weft_status chat_tell(const chat *c, weft_error *error);

#endif
