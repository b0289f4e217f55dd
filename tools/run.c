/* weft run: one prompt, one answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

typedef struct run_settings {
    talk_settings talk;
    const char *prompt, *file, *begin; /* file: the prompt's */
    bool raw, chat, json;
} run_settings;

/* The data for --json, collected while the answer streams. */
typedef struct run_answer {
    cJSON *logprobs, *prompt_logprobs; /* NULL if not asked for */
    byte_array text;
    size_t n_tokens;
    weft_finish finish;
    bool out_of_memory;
} run_answer;

static void append(run_answer *answer, cJSON *array, weft_logprob own, const weft_logprob *top, size_t n_top) {
    cJSON *entry = json_logprobs(own, top, n_top);
    if (entry && cJSON_AddItemToArray(array, entry)) return;
    cJSON_Delete(entry);
    answer->out_of_memory = true;
}

static void on_prompt(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    (void)index;
    run_answer *answer = user;
    append(answer, answer->prompt_logprobs, token, top, n_top);
}

static const char *const finish_names[] = {"", "stop", "length", "cancelled"};

static double rate(uint64_t n, uint64_t ns) {
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

static bool print_json(const run_settings *settings, weft_engine *engine, const weft_session *session, run_answer *answer) {
    const weft_token *tokens;
    size_t n_tokens;
    weft_engine_info info;
    weft_session_timing timing;
    weft_session_tokens(session, &tokens, &n_tokens);
    weft_session_measure(session, &timing);
    weft_engine_describe(engine, &info);
    /* The session holds the prompt, the answer and, after a stop, the end token. */
    size_t n_prompt = n_tokens - answer->n_tokens - (answer->finish == WEFT_FINISH_STOP);
    cJSON *json = cJSON_CreateObject();
    bool complete = json && !answer->out_of_memory && json_add_tokens(json, "prompt_tokens", tokens, n_prompt) &&
                    json_add_tokens(json, "tokens", tokens + n_prompt, answer->n_tokens) &&
                    json_add_text(json, "text", answer->text.data, answer->text.size) &&
                    cJSON_AddStringToObject(json, "finish_reason", finish_names[answer->finish]);
    const char *cut = cut_by(&settings->talk, answer->finish, answer->n_tokens);
    complete = complete && (!cut || cJSON_AddStringToObject(json, "cut_by", cut));
    if (complete && settings->talk.session.n_top) {
        complete = cJSON_AddItemToObject(json, "logprobs", answer->logprobs);
        answer->logprobs = NULL;
    }
    if (complete && settings->talk.session.n_prompt_top) {
        complete = cJSON_AddItemToObject(json, "prompt_logprobs", answer->prompt_logprobs);
        answer->prompt_logprobs = NULL;
    }
    complete = complete && cJSON_AddNumberToObject(json, "prefill_tokens_per_s", rate(timing.n_prefill, timing.prefill_ns)) &&
               cJSON_AddNumberToObject(json, "decode_tokens_per_s", rate(timing.n_decode, timing.decode_ns)) &&
               cJSON_AddStringToObject(json, "backend", info.device.backend) &&
               cJSON_AddStringToObject(json, "device", info.device.name);
    return json_print(json, complete);
}

static void print_figures(const run_settings *settings, weft_engine *engine, const weft_session *session,
                          const run_answer *answer) {
    weft_engine_info info;
    weft_session_timing timing;
    weft_engine_describe(engine, &info);
    weft_session_measure(session, &timing);
    show_line(stderr, "\n%s: %s, loaded in %.2f s; prefill %llu tokens at %.0f tokens/s, decode %llu tokens at %.1f tokens/s\n",
              info.device.id, info.device.name, (double)info.load_ns * 1e-9, (unsigned long long)timing.n_prefill,
              rate(timing.n_prefill, timing.prefill_ns), (unsigned long long)timing.n_decode,
              rate(timing.n_decode, timing.decode_ns));
    const char *cut = cut_by(&settings->talk, answer->finish, answer->n_tokens);
    if (cut) fprintf(stderr, "weft: the answer was cut by %s after %zu tokens\n", cut, answer->n_tokens);
}

static weft_status generate(const run_settings *settings, weft_session *session, run_answer *answer, weft_error *error) {
    weft_piece piece;
    weft_status status;
    while ((status = weft_session_next(session, &piece, error)) == WEFT_OK) {
        if (!settings->json) {
            status = print_piece(&piece, error);
            if (status != WEFT_OK) return status;
        } else if (!bytes_append(&answer->text, piece.text, piece.size)) {
            answer->out_of_memory = true;
        }
        if (!piece.last && settings->json && settings->talk.session.n_top)
            append(answer, answer->logprobs, piece.chosen, piece.top, piece.n_top);
        if (piece.last) {
            answer->finish = piece.finish;
            return WEFT_OK;
        }
        answer->n_tokens++;
    }
    return status;
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
    const char *text = settings->prompt;
    size_t size = text ? strlen(text) : 0;
    if (!text) {
        status = settings->file ? read_file(settings->file, &input, error) : read_all(stdin, &input, error);
        if (status == WEFT_OK && !settings->file && !bytes_append(&input, "", 1))
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
    run_answer answer = {.logprobs = cJSON_CreateArray(), .prompt_logprobs = cJSON_CreateArray()};
    weft_session_options options = settings->talk.session;
    options.on_prompt = options.n_prompt_top ? on_prompt : NULL;
    options.user = &answer;
    weft_session *session = NULL;
    weft_status status =
        answer.logprobs && answer.prompt_logprobs ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    if (status == WEFT_OK) status = talk_session(&settings->talk, opened, &options, &session, error);
    interrupt_session(session);
    if (status == WEFT_OK) status = add_prompt(settings, &opened->info, session, error);
    interrupt_session(session); /* what is added to a session ends a cancel that came before */
    if (status == WEFT_OK) status = generate(settings, session, &answer, error);
    interrupt_session(NULL);
    if (status == WEFT_OK && !settings->json) print_figures(settings, opened->engine, session, &answer);
    if (status == WEFT_OK && settings->json && !print_json(settings, opened->engine, session, &answer))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    if (status == WEFT_OK && answer.finish == WEFT_FINISH_CANCELLED)
        status = answer.n_tokens ? weft_fail(error, WEFT_CANCELLED, "stopped after %zu tokens", answer.n_tokens)
                                 : weft_fail(error, WEFT_CANCELLED, "stopped before the first token");
    weft_session_destroy(session);
    cJSON_Delete(answer.logprobs);
    cJSON_Delete(answer.prompt_logprobs);
    bytes_free(&answer.text);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    run_settings settings = {.talk.session.seed = 1};
    weft_session_options *session = &settings.talk.session;
    option_spec options[MAX_OPTIONS] = {
        {"prompt", 'p', OPTION_TEXT, &settings.prompt, 0, 0, NULL, "the prompt; default the whole standard input"},
        {"file", 'f', OPTION_TEXT, &settings.file, 0, 0, NULL, "a file with the prompt"},
        {"raw", 0, OPTION_FLAG, &settings.raw, 0, 0, NULL, "no chat format; special tokens in the text are recognised"},
        {"chat", 0, OPTION_FLAG, &settings.chat, 0, 0, NULL, "the file's chat template; the default if there is one"},
        {"begin", 0, OPTION_TEXT, &settings.begin, 0, 0, NULL, "the answer begins with this text, which is not printed"},
        {"ignore-end", 0, OPTION_FLAG, &session->ignore_end, 0, 0, NULL, "do not stop at end tokens"},
        {"logprobs", 0, OPTION_COUNT, &session->n_top, 1, 1024, NULL,
         "with --json: the K most likely and the chosen, for each token"},
        {"prompt-logprobs", 0, OPTION_COUNT, &session->n_prompt_top, 1, 1024, NULL,
         "the same for each prompt token after the first"},
        {"json", 0, OPTION_FLAG, &settings.json, 0, 0, NULL, "one JSON object at the end instead of the text"},
    };
    const talk_settings *t = &settings.talk;
    size_t n_options = talk_options_add(&settings.talk, options, 9);
    const char *text;
    int code = talk_parse(&settings.talk, command, options, n_options, &text, argc, argv);
    if (code >= 0) return code;
    if ((settings.prompt != NULL) + (settings.file != NULL) + (text != NULL) > 1)
        return usage_error(command, "the prompt is given twice; --prompt, --file and an argument exclude each other");
    if (text) settings.prompt = text;
    if (settings.raw && (settings.chat || t->system || t->chat_template || t->tools || t->variables || settings.begin))
        return usage_error(command, "--raw excludes --chat and what belongs to a chat");
    if ((session->n_top || session->n_prompt_top) && !settings.json)
        return usage_error(command, "--logprobs and --prompt-logprobs need --json");

    weft_error error = {0};
    talk opened = {0};
    interrupt_install();
    weft_status status = talk_open(&settings.talk, &opened, &error);
    if (status == WEFT_OK) status = check_chat(&settings, &opened, &error);
    int32_t max_top = session->n_top > session->n_prompt_top ? session->n_top : session->n_prompt_top;
    if (status == WEFT_OK) status = talk_load(&settings.talk, &opened, max_top, &error);
    if (status == WEFT_OK) status = run_session(&settings, &opened, &error);
    talk_close(&opened);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_run = {"run", "MODEL [PROMPT] [options]", "Answers one prompt and streams the text.", run};
