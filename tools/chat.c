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

static weft_status answer(weft_session *session, weft_error *error) {
    weft_piece piece;
    weft_status status;
    interrupt_session(session);
    while ((status = weft_session_next(session, &piece, error)) == WEFT_OK) {
        fwrite(piece.text, 1, piece.size, stdout);
        if (fflush(stdout) != 0) status = weft_fail(error, WEFT_IO, "cannot write to standard output");
        if (piece.last || status != WEFT_OK) break;
    }
    interrupt_session(NULL);
    if (status == WEFT_OK && piece.finish == WEFT_FINISH_CANCELLED) fputs(" [stopped]", stderr);
    if (status == WEFT_OK && piece.finish == WEFT_FINISH_LENGTH) fputs(" [out of context]", stderr);
    putchar('\n');
    interrupt_clear();
    return status;
}

static weft_status converse(weft_session *session, const char *system, weft_error *error) {
    byte_array message = {0};
    weft_status status = system ? weft_session_say(session, WEFT_SYSTEM, system, error) : WEFT_OK;
    while (status == WEFT_OK) {
        fputs("> ", stderr);
        if (!read_message(&message)) {
            /* On some systems Ctrl-C at the prompt interrupts the read. Only the end of the input ends the program. */
            if (!interrupted() || feof(stdin)) break;
            interrupt_clear();
            clearerr(stdin);
            continue;
        }
        if (message.size == 1) continue;
        status = weft_session_say(session, WEFT_USER, message.data, error);
        if (status == WEFT_OK) status = answer(session, error);
    }
    bytes_free(&message);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    engine_settings settings = {0};
    const char *system = NULL;
    weft_session_options chosen = {.temperature = 0.7f, .top_p = 0.95f, .seed = 1};
    option_spec options[MAX_OPTIONS] = {
        {"system", 's', OPTION_TEXT, &system, 0, 0, NULL, "a system message"},
        {"n-predict", 'n', OPTION_COUNT, &chosen.n_predict, 1, 16777216, NULL, "the most tokens of an answer"},
        {"temp", 0, OPTION_REAL, &chosen.temperature, 0, 1000, NULL, "temperature; default 0.7; 0 is greedy"},
        {"top-k", 0, OPTION_COUNT, &chosen.top_k, 0, 16777216, NULL, "draw from the K most likely tokens; default 0, off"},
        {"top-p", 0, OPTION_REAL, &chosen.top_p, 0, 1, NULL,
         "draw from the most likely tokens that add up to probability P; default 0.95"},
        {"min-p", 0, OPTION_REAL, &chosen.min_p, 0, 1, NULL,
         "draw from tokens at least P times as likely as the best; default off"},
        {"seed", 0, OPTION_COUNT64, &chosen.seed, 0, 0, NULL, "seed of the draws; default 1"},
    };
    size_t n_options = engine_options_add(&settings, options, 7);
    const char *path;
    int code = options_parse(command, options, n_options, &path, 1, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_session *session = NULL;
    weft_engine_options engine_chosen = engine_options(&settings);
    interrupt_install();
    weft_status status = open_runtime(settings.plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    if (status == WEFT_OK) status = weft_engine_create(model, &engine_chosen, &engine, &error);
    progress_end();
    if (status == WEFT_OK) status = weft_session_create(engine, &chosen, &session, &error);
    if (status == WEFT_OK) status = converse(session, system, &error);
    weft_session_destroy(session);
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_chat = {"chat", "MODEL [options]", "A conversation: Ctrl-C stops an answer, Ctrl-D ends it.", run};
