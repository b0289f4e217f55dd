/* weft run: one prompt, one answer. */
#include <stdio.h>
#include <string.h>

#include "command.h"

typedef struct run_settings {
    talk_settings talk;
    const char *prompt, *file, *begin; /* file: the prompt's */
    bool raw, chat;
} run_settings;

static void print_figures(weft_engine *engine, const weft_session *session, const talk_answer *answer) {
    weft_engine_info info;
    weft_session_timing timing;
    weft_engine_describe(engine, &info);
    weft_session_measure(session, &timing);
    show_line(stderr, "\n%s: %s, loaded in %.2f s; prefill %llu tokens at %.0f tokens/s, decode %llu tokens at %.1f tokens/s\n",
              info.device.id, info.device.name, (double)info.load_ns * 1e-9, (unsigned long long)timing.n_prefill,
              token_rate(timing.n_prefill, timing.prefill_ns), (unsigned long long)timing.n_decode,
              token_rate(timing.n_decode, timing.decode_ns));
    const char *cut = answer_cut_by(answer);
    if (cut) fprintf(stderr, "weft: the answer was cut by %s after %zu tokens\n", cut, answer->n_tokens);
}

static bool uses_chat(const run_settings *settings, const weft_model_info *info) {
    return settings->chat || (!settings->raw && info->chat_format);
}

/* Says before the weights are loaded what becomes of the prompt. */
static weft_status check_chat(const run_settings *settings, const talk *opened, weft_error *error) {
    const weft_model_info *info = &opened->info;
    const talk_settings *t = &settings->talk;
    if (settings->raw || info->chat_format) return WEFT_OK;
    if (settings->chat || t->system || t->tools || t->variables || settings->begin)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: no chat format: %s; --chat-template gives one", info->path,
                         info->chat_reason);
    fputs("weft: no chat format (", stderr);
    print_escaped(stderr, info->chat_reason);
    fputs("); the prompt is used without one\n", stderr);
    return WEFT_OK;
}

static weft_status add_prompt(const run_settings *settings, const weft_model_info *info, weft_session *session, weft_error *error) {
    byte_array input = {0};
    weft_status status = WEFT_OK;
    const bool from_file = settings->file && strcmp(settings->file, "-") != 0;
    const char *text = settings->prompt;
    size_t size = text ? strlen(text) : 0;
    if (!text) {
        status = from_file ? read_file(settings->file, &input, error) : read_all(stdin, &input, error);
        if (status == WEFT_OK && !from_file && !bytes_append(&input, "", 1))
            status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the prompt");
        text = input.data;
        size = status == WEFT_OK ? input.size - 1 : 0;
    }
    bool chat = uses_chat(settings, info);
    if (status == WEFT_OK && chat && memchr(text, 0, size))
        status = weft_fail(error, WEFT_INVALID_ARGUMENT, "a chat message cannot hold a zero byte; --raw takes any bytes");
    if (status == WEFT_OK)
        status = chat ? weft_session_say(session, WEFT_USER, text, error) : weft_session_add_text(session, text, size, true, error);
    if (status == WEFT_OK && settings->begin) status = weft_session_begin(session, settings->begin, error);
    bytes_free(&input);
    return status;
}

static weft_status run_session(const run_settings *settings, talk *opened, weft_error *error) {
    talk_answer answer = {0};
    weft_session_options options = settings->talk.session;
    options.on_prompt = options.n_prompt_top ? answer_on_prompt : NULL;
    options.user = &answer;
    weft_session *session = NULL;
    weft_status status = answer_begin(&answer, &settings->talk, error);
    if (status == WEFT_OK) status = talk_session(&settings->talk, opened, &options, &session, error);
    interrupt_session(session);
    if (status == WEFT_OK) status = add_prompt(settings, &opened->info, session, error);
    interrupt_session(session); /* what is added to a session ends a cancel that came before */
    if (status == WEFT_OK) status = answer_read(&answer, session, error);
    interrupt_session(NULL);
    if (status == WEFT_OK && settings->talk.json) status = answer_print_json(&answer, opened->engine, session, error);
    if (status == WEFT_OK && !settings->talk.json) print_figures(opened->engine, session, &answer);
    if (status == WEFT_OK && answer.finish == WEFT_FINISH_CANCELLED)
        status = answer.n_tokens ? weft_fail(error, WEFT_CANCELLED, "stopped after %zu tokens", answer.n_tokens)
                                 : weft_fail(error, WEFT_CANCELLED, "stopped before the first token");
    weft_session_destroy(session);
    answer_free(&answer);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    run_settings settings = {.talk.session.sampling.seed = 1};
    weft_session_options *session = &settings.talk.session;
    option_spec options[MAX_OPTIONS] = {
        {"prompt", 'p', OPTION_TEXT, &settings.prompt, 0, 0, NULL, "the prompt; default the whole standard input"},
        {"file", 'f', OPTION_TEXT, &settings.file, 0, 0, "FILE", "a file with the prompt; - is standard input"},
        {"raw", 0, OPTION_FLAG, &settings.raw, 0, 0, NULL, "no chat format; special tokens in the text are recognised"},
        {"chat", 0, OPTION_FLAG, &settings.chat, 0, 0, NULL, "the file's chat template; the default if there is one"},
        {"begin", 0, OPTION_TEXT, &settings.begin, 0, 0, NULL, "the answer begins with this text, which is not printed"},
        {"ignore-end", 0, OPTION_FLAG, &session->sampling.ignore_end, 0, 0, NULL, "do not stop at end tokens"},
        {"logprobs", 0, OPTION_COUNT, &session->sampling.n_top, 1, 1024, NULL,
         "with --json: the K most likely and the chosen, for each token"},
        {"prompt-logprobs", 0, OPTION_COUNT, &session->n_prompt_top, 1, 1024, NULL,
         "the same for each prompt token after the first"},
    };
    const talk_settings *t = &settings.talk;
    size_t n_options = talk_options_add(&settings.talk, options, 8);
    const char *text;
    int code = talk_parse(&settings.talk, command, options, n_options, &text, argc, argv);
    if (code >= 0) return code;
    if ((settings.prompt != NULL) + (settings.file != NULL) + (text != NULL) > 1)
        return usage_error(command, "the prompt is given twice; --prompt, --file and an argument exclude each other");
    if (text) settings.prompt = text;
    if (settings.raw && (settings.chat || t->system || t->chat_template || t->tools || t->variables || settings.begin))
        return usage_error(command, "--raw excludes --chat and what belongs to a chat");
    if ((session->sampling.n_top || session->n_prompt_top) && !settings.talk.json)
        return usage_error(command, "--logprobs and --prompt-logprobs need --json");

    weft_error error = {0};
    talk opened = {0};
    interrupt_install();
    weft_status status = talk_open(&settings.talk, &opened, &error);
    if (status == WEFT_OK) status = check_chat(&settings, &opened, &error);
    int32_t max_top = session->sampling.n_top > session->n_prompt_top ? session->sampling.n_top : session->n_prompt_top;
    if (status == WEFT_OK) status = talk_load(&settings.talk, &opened, max_top, &error);
    if (status == WEFT_OK) status = run_session(&settings, &opened, &error);
    talk_close(&opened);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_run = {"run", "MODEL [PROMPT] [options]", "Answers one prompt and streams the text.", run};
