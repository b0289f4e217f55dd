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

static weft_status answer(const talk_settings *settings, weft_session *session, weft_error *error) {
    weft_piece piece;
    weft_status status;
    size_t n_tokens = 0;
    while ((status = weft_session_next(session, &piece, error)) == WEFT_OK) {
        status = print_piece(&piece, error);
        if (piece.last || status != WEFT_OK) break;
        n_tokens++;
    }
    const char *cut = status == WEFT_OK ? cut_by(settings, piece.finish, n_tokens) : NULL;
    if (status == WEFT_OK && piece.finish == WEFT_FINISH_CANCELLED) fputs(" [stopped]", stderr);
    if (cut) fprintf(stderr, " [cut by %s]", cut);
    putchar('\n');
    return status;
}

/* A message that cannot be added is told; the conversation goes on. */
static weft_status say(const talk_settings *settings, weft_session *session, const char *message, weft_error *error) {
    weft_status status;
    interrupt_session(session);
    if (weft_session_say(session, WEFT_USER, message, error) == WEFT_OK) {
        interrupt_session(session); /* what is added to a session ends a cancel that came before */
        status = answer(settings, session, error);
    } else {
        tell(error);
        status = WEFT_OK;
    }
    interrupt_session(NULL);
    interrupt_clear();
    return status;
}

static weft_status converse(const talk_settings *settings, weft_session *session, weft_error *error) {
    byte_array message = {0};
    weft_status status = WEFT_OK;
    while (status == WEFT_OK) {
        fputs("> ", stderr);
        if (!read_message(&message)) {
            /* On some systems Ctrl-C at the prompt interrupts the read. Only the end of the input ends the program. */
            if (!interrupted() || feof(stdin)) break;
            interrupt_clear();
            clearerr(stdin);
            continue;
        }
        if (message.size > 1) status = say(settings, session, message.data, error);
    }
    bytes_free(&message);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    talk_settings settings = {.session = {.temperature = 0.7f, .top_p = 0.95f, .seed = 1}};
    option_spec options[MAX_OPTIONS];
    size_t n_options = talk_options_add(&settings, options, 0);
    int code = talk_parse(&settings, command, options, n_options, NULL, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    talk opened = {0};
    weft_session *session = NULL;
    interrupt_install();
    weft_status status = talk_open(&settings, &opened, &error);
    if (status == WEFT_OK && !opened.info.chat_format)
        status = weft_fail(&error, WEFT_UNSUPPORTED, "%s: no chat format: %s; --chat-template gives one", settings.model,
                           opened.info.chat_reason);
    if (status == WEFT_OK) status = talk_load(&settings, &opened, 0, &error);
    if (status == WEFT_OK) status = talk_session(&settings, &opened, &settings.session, &session, &error);
    if (status == WEFT_OK) status = converse(&settings, session, &error);
    weft_session_destroy(session);
    talk_close(&opened);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_chat = {"chat", "MODEL [options]", "A conversation: Ctrl-C stops an answer, Ctrl-D ends it.", run};
