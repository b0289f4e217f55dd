/* weft chat: a conversation on a terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

/* Reads one line without its newline. A backslash at the end of a line continues it on the next. False at the end of the input. */
static bool read_message(byte_array *message) {
    int c;
    message->size = 0;
    while ((c = getc(stdin)) != EOF) {
        char byte = (char)c;
        if (byte == '\n' && message->size && message->data[message->size - 1] == '\\') {
            message->data[message->size - 1] = '\n';
            continue;
        }
        if (byte == '\n') break;
        if (byte != 0 && !bytes_append(message, &byte, 1)) return false;
    }
    if (c == EOF && (message->size == 0 || interrupted())) return false;
    return bytes_append(message, "", 1);
}

typedef struct chat {
    const talk_settings *settings;
    talk opened;
    weft_session *session;
    talk_answer answer;
} chat;

static weft_status answer(chat *c, weft_error *error) {
    weft_status status = answer_begin(&c->answer, c->settings, error);
    if (status == WEFT_OK) status = answer_read(&c->answer, c->session, error);
    if (c->settings->json) return status == WEFT_OK ? answer_print_json(&c->answer, c->opened.engine, c->session, error) : status;
    const char *cut = status == WEFT_OK ? answer_cut_by(&c->answer) : NULL;
    if (status == WEFT_OK && c->answer.finish == WEFT_FINISH_CANCELLED) fputs(" [stopped]", stderr);
    if (cut) fprintf(stderr, " [cut by %s]", cut);
    putchar('\n');
    return status;
}

/* A message that cannot be added is told; the conversation goes on. */
static weft_status say(chat *c, const char *message, weft_error *error) {
    weft_status status = WEFT_OK;
    interrupt_session(c->session);
    if (weft_session_say(c->session, WEFT_USER, message, error) == WEFT_OK) {
        interrupt_session(c->session); /* what is added to a session ends a cancel that came before */
        status = answer(c, error);
    } else {
        tell(error);
        if (c->settings->json && !json_print_error(error)) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    }
    interrupt_session(NULL);
    interrupt_clear();
    if (status == WEFT_OK && fflush(stdout) != 0) status = weft_fail(error, WEFT_IO, "cannot write to standard output");
    return status;
}

static weft_status converse(chat *c, weft_error *error) {
    byte_array message = {0};
    weft_status status = WEFT_OK;
    while (status == WEFT_OK) {
        if (!c->settings->json) fputs("> ", stderr);
        if (!read_message(&message)) {
            /* On some systems Ctrl-C at the prompt interrupts the read. Only the end of the input ends the program. */
            if (!interrupted() || feof(stdin)) break;
            interrupt_clear();
            clearerr(stdin);
            continue;
        }
        if (message.size > 1) status = say(c, message.data, error);
    }
    bytes_free(&message);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    talk_settings settings = {.session.sampling = {.temperature = 0.7f, .top_p = 0.95f, .seed = 1}};
    option_spec options[MAX_OPTIONS];
    size_t n_options = talk_options_add(&settings, options, 0);
    int code = talk_parse(&settings, command, options, n_options, NULL, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    chat c = {.settings = &settings};
    interrupt_install();
    weft_status status = talk_open(&settings, &c.opened, &error);
    if (status == WEFT_OK && !c.opened.info.chat_format)
        status = weft_fail(&error, WEFT_UNSUPPORTED, "%s: no chat format: %s; --chat-template gives one", settings.model,
                           c.opened.info.chat_reason);
    if (status == WEFT_OK) status = talk_load(&settings, &c.opened, 0, &error);
    if (status == WEFT_OK) status = talk_session(&settings, &c.opened, &settings.session, &c.session, &error);
    if (status == WEFT_OK) status = converse(&c, &error);
    weft_session_destroy(c.session);
    answer_free(&c.answer);
    talk_close(&c.opened);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_chat = {"chat", "MODEL [options]", "A conversation: Ctrl-C stops an answer, Ctrl-D ends it.", run};
