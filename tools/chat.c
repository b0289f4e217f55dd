/* weft chat: a conversation on a terminal. */
#include <stdio.h>

#include "chat.h"
#include "line.h"

/* Reads a line, or several whose ends have a backslash before them. */
static line_end read_message(chat *c, byte_array *message) {
    const char *prompt = "> ";
    line_end end;
    message->size = 0;
    while ((end = line_read(c->settings->json ? "" : prompt, &c->line)) == LINE_READ) {
        size_t size = c->line.size - 1;
        bool goes_on = size > 0 && c->line.data[size - 1] == '\\';
        if (goes_on) c->line.data[size - 1] = '\n';
        if (!bytes_append(message, c->line.data, size)) return LINE_NO_MEMORY;
        if (!goes_on) break;
        prompt = "  ";
    }
    if (end == LINE_CLOSED && message->size > 0) end = LINE_READ;
    return end == LINE_READ && !bytes_append(message, "", 1) ? LINE_NO_MEMORY : end;
}

static weft_status print_answer(chat *c, weft_error *error) {
    weft_status status = answer_begin(&c->answer, c->settings, error);
    c->answer.n_dropped = c->n_dropped;
    c->n_dropped = 0;
    if (status == WEFT_OK) status = answer_read(&c->answer, c->session, error);
    if (c->settings->json) return status == WEFT_OK ? answer_print_json(&c->answer, c->opened.engine, c->session, error) : status;
    const char *cut = status == WEFT_OK ? answer_cut_by(&c->answer) : NULL;
    if (status == WEFT_OK && c->answer.finish == WEFT_FINISH_CANCELLED) fputs(" [stopped]", stderr);
    if (cut) fprintf(stderr, " [cut by %s]", cut);
    putchar('\n');
    if (status == WEFT_OK && fflush(stdout) != 0) status = weft_fail(error, WEFT_IO, "cannot write to standard output");
    return status;
}

weft_status chat_answer(chat *c, weft_error *error) {
    interrupt_session(c->session); /* what is added to a session ends a cancel that came before */
    weft_status status = print_answer(c, error);
    interrupt_session(NULL);
    return status;
}

/* The session's on_drop. */
static void tell_dropped(void *user, size_t first, size_t n_messages) {
    chat *c = user;
    (void)first; /* only a system message comes before */
    c->n_dropped = n_messages;
    fprintf(stderr, "weft: the context is full: dropped the oldest messages and answers (%zu)\n", n_messages);
}

/* A message that cannot be added is told; the conversation goes on. */
static weft_status say(chat *c, const char *message, weft_error *error) {
    interrupt_session(c->session);
    weft_status status = weft_session_say(c->session, WEFT_USER, message, error);
    interrupt_session(NULL);
    return status == WEFT_OK ? chat_answer(c, error) : chat_tell(c, error);
}

static weft_status converse(chat *c, weft_error *error) {
    byte_array message = {0};
    weft_status status = WEFT_OK;
    while (status == WEFT_OK && !c->over) {
        line_end end = read_message(c, &message);
        if (end == LINE_CLOSED) break;
        if (end == LINE_NO_MEMORY) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the message");
        if (end == LINE_INTERRUPTED) interrupt_clear();
        if (end != LINE_READ || message.size == 1) continue;
        status = chat_is_command(message.data) ? chat_run_command(c, message.data, error) : say(c, message.data, error);
        interrupt_clear();
    }
    bytes_free(&message);
    bytes_free(&c->line);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    talk_settings settings = {.n_sequences = 2, .session.sampling = {.temperature = 0.7f, .top_p = 0.95f, .seed = 1}};
    int when_full = WEFT_WHEN_FULL_STOP;
    option_spec options[MAX_OPTIONS] = {
        {"when-full", 0, OPTION_CHOICE, &when_full, 0, 0, "stop|drop",
         "drop: the oldest messages make room for one that does not fit; default stop, which refuses it"},
    };
    size_t n_options = talk_options_add(&settings, options, 1);
    int code = talk_parse(&settings, command, options, n_options, NULL, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    chat c = {.settings = &settings};
    settings.session.when_full = (weft_when_full)when_full;
    settings.session.on_drop = tell_dropped;
    settings.session.user = &c;
    interrupt_install();
    lines_open(); /* now: what is typed while the model loads has no other rules */
    weft_status status = talk_open(&settings, &c.opened, &error);
    if (status == WEFT_OK && !c.opened.info.chat_format)
        status = weft_fail(&error, WEFT_UNSUPPORTED, "%s: no chat format: %s; --chat-template gives one", settings.model,
                           c.opened.info.chat_reason);
    if (status == WEFT_OK) status = talk_load(&settings, &c.opened, 0, &error);
    if (status == WEFT_OK) status = talk_session(&settings, &c.opened, &settings.session, &c.session, &error);
    if (status == WEFT_OK) status = converse(&c, &error);
    lines_close();
    weft_session_destroy(c.session);
    answer_free(&c.answer);
    talk_close(&c.opened);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_chat = {"chat", "MODEL [options]",
                                   "A conversation: Ctrl-C stops an answer, Ctrl-D ends it, /help lists commands.", run};
