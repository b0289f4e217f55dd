/* The commands inside a chat: /help, /save FILE and so on. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "chat.h"

static weft_status help(chat *c, const char *argument, weft_error *error) {
    (void)c, (void)argument, (void)error;
    for (const chat_command *command = chat_commands; command->name; command++)
        fprintf(stderr, "  %-8s %-5s %s\n", command->name, command->argument ? command->argument : "", command->help);
    fputs("A space before the slash makes a line a message.\n", stderr);
    return WEFT_OK;
}

static void replace_session(chat *c, weft_session *session) {
    weft_session_destroy(c->session);
    c->session = session;
}

static weft_status set_system(chat *c, const char *text, weft_error *error) {
    talk_settings settings = *c->settings;
    weft_session *session = NULL;
    settings.system = text;
    weft_status status = talk_session(&settings, &c->opened, &settings.session, &session, error);
    if (status != WEFT_OK) {
        weft_session_destroy(session);
        return status;
    }
    replace_session(c, session);
    fputs("a new conversation\n", stderr);
    return WEFT_OK;
}

/* The number of messages and answers before the last message. */
static weft_status last_message(const chat *c, size_t *n_before, weft_error *error) {
    weft_message message;
    bool found = false;
    for (size_t i = 0; weft_session_message_at(c->session, i, &message); i++) {
        if (message.role != WEFT_USER) continue;
        *n_before = i;
        found = true;
    }
    return found ? WEFT_OK : weft_fail(error, WEFT_NOT_FOUND, "there is no message yet");
}

static weft_status undo(chat *c, const char *argument, weft_error *error) {
    (void)argument;
    size_t n = 0;
    weft_status status = last_message(c, &n, error);
    if (status == WEFT_OK) status = weft_session_rewind_messages(c->session, n, error);
    if (status == WEFT_OK) fputs("the last message is taken back\n", stderr);
    return status;
}

static weft_status retry(chat *c, const char *argument, weft_error *error) {
    (void)argument;
    size_t n = 0;
    weft_sampling_options sampling = c->settings->session.sampling;
    weft_status status = last_message(c, &n, error);
    if (status == WEFT_OK) status = weft_session_rewind_messages(c->session, n + 1, error);
    if (sampling.seed != WEFT_SEED_RANDOM) sampling.seed += ++c->n_retries;
    if (status == WEFT_OK) status = weft_session_set_sampling(c->session, &sampling, error);
    return status == WEFT_OK ? chat_answer(c, error) : status;
}

static weft_status save(chat *c, const char *path, weft_error *error) {
    weft_status status = weft_session_save(c->session, path, NULL, error);
    if (status == WEFT_OK) show_line(stderr, "saved to %s\n", path);
    return status;
}

static void tell_carried(const char *what, const char *name, const weft_session_carried *carried) {
    show_line(stderr, "%s %s: %d tokens", what, name, (int)carried->n_tokens);
    if (carried->n_computed) fprintf(stderr, ", %d of which are computed again", (int)carried->n_computed);
    if (carried->reason[0]) show_line(stderr, " (%s)", carried->reason);
    putc('\n', stderr);
}

static weft_status load(chat *c, const char *path, weft_error *error) {
    weft_session_options session = c->settings->session;
    weft_restore_options options = {.session = &session};
    weft_session_carried carried;
    weft_session *restored = NULL;
    session.chat = &c->opened.chat;
    weft_status status = weft_session_restore(c->opened.engine, path, &options, &restored, &carried, error);
    if (status != WEFT_OK) return status;
    replace_session(c, restored);
    tell_carried("loaded", path, &carried);
    return WEFT_OK;
}

static weft_status move(chat *c, const char *device, weft_error *error) {
    talk_settings settings = *c->settings;
    weft_engine *engine = NULL;
    weft_session_carried carried;
    stage_list *place = &settings.engine.place;
    const char *wrong = place_parse(device, place);
    const bool is_one = place->n == 1 && place->items[0].n_layers == 0;
    settings.engine.backend = is_one ? device : NULL; /* "auto" then looks at the memory that the model needs */
    if (is_one) place->n = 0;
    if (wrong) return weft_fail(error, WEFT_INVALID_ARGUMENT, "/device %s: %s", device, wrong);
    weft_status status = talk_engine(&settings, &c->opened, 0, &engine, error);
    if (status == WEFT_OK) status = weft_session_move(c->session, engine, &carried, error);
    if (status != WEFT_OK) {
        weft_engine_destroy(engine);
        return status;
    }
    weft_engine_destroy(c->opened.engine);
    c->opened.engine = engine;
    char name[MAX_STAGES * WEFT_NAME_SIZE];
    place_name(engine, name, sizeof name);
    tell_carried("moved to", name, &carried);
    return WEFT_OK;
}

static weft_status quit(chat *c, const char *argument, weft_error *error) {
    (void)argument, (void)error;
    c->over = true;
    return WEFT_OK;
}

const chat_command chat_commands[] = {
    {"/help", NULL, "lists these commands", help},
    {"/system", "TEXT", "begins a new conversation with this system message", set_system},
    {"/retry", NULL, "answers the last message again, with another seed", retry},
    {"/undo", NULL, "takes the last message and its answer back", undo},
    {"/save", "FILE", "writes the conversation to a file", save},
    {"/load", "FILE", "goes on with the conversation in a file", load},
    {"/device", "NAME", "goes on on another device, one of `weft devices`, or on several, as with --place", move},
    {"/quit", NULL, "ends the program, as Ctrl-D does", quit},
    {NULL, NULL, NULL, NULL},
};

bool chat_is_command(const char *message) {
    size_t n = 0;
    if (message[0] != '/') return false;
    while (isalpha((unsigned char)message[1 + n])) n++;
    return n > 0 && (message[1 + n] == 0 || message[1 + n] == ' ') && !strchr(message, '\n');
}

static weft_status no_command(const char *name, weft_error *error) {
    nearest_word nearest;
    nearest_begin(&nearest, name);
    for (const chat_command *command = chat_commands; command->name; command++) nearest_try(&nearest, command->name);
    if (nearest.word) return weft_fail(error, WEFT_NOT_FOUND, "there is no %.40s; did you mean %s?", name, nearest.word);
    return weft_fail(error, WEFT_NOT_FOUND, "there is no %.40s; /help lists the commands", name);
}

/* With --json, each line that is typed gets an object. */
static weft_status print_object(const chat *c, const char *name, const char *text, weft_error *error) {
    if (!c->settings->json) return WEFT_OK;
    if (!json_print_text(name, text)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    return fflush(stdout) == 0 ? WEFT_OK : weft_fail(error, WEFT_IO, "cannot write to standard output");
}

weft_status chat_tell(const chat *c, weft_error *error) {
    tell(error);
    return print_object(c, "error", error->message, error);
}

weft_status chat_run_command(chat *c, char *message, weft_error *error) {
    char *argument = message + strcspn(message, " "), *end = message + strlen(message);
    while (*argument == ' ') *argument++ = 0;
    while (end > argument && end[-1] == ' ') *--end = 0;
    const chat_command *command = chat_commands;
    while (command->name && strcmp(command->name, message) != 0) command++;
    weft_status status;
    if (!command->name)
        status = no_command(message, error);
    else if (command->argument && !argument[0])
        status = weft_fail(error, WEFT_INVALID_ARGUMENT, "%s needs %s", command->name, command->argument);
    else if (!command->argument && argument[0])
        status = weft_fail(error, WEFT_INVALID_ARGUMENT, "%s takes no argument", command->name);
    else
        status = command->run(c, argument, error);
    return status == WEFT_OK ? print_object(c, "done", message, error) : chat_tell(c, error);
}
