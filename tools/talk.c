/* What `weft run` and `weft chat` share: options, opening a model for a conversation. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "weft/grammar.h"

size_t talk_options_add(talk_settings *settings, option_spec *options, size_t n_options) {
    const option_spec rows[] = {
        {"model", 'm', OPTION_TEXT, &settings->model, 0, 0, "FILE", "the model's file; then it is no argument"},
        {"system", 's', OPTION_TEXT, &settings->system, 0, 0, NULL, "a system message"},
        {"chat-template", 0, OPTION_TEXT, &settings->chat_template, 0, 0, "FILE|NAME",
         "the chat template: a file, or one that the model's file or weft has under this name"},
        {"tools", 0, OPTION_TEXT, &settings->tools, 0, 0, "FILE", "a file with tools for the chat template, in JSON"},
        {"variables", 0, OPTION_TEXT, &settings->variables, 0, 0, "FILE",
         "a file with a JSON object of more variables of the chat template"},
        {"json", 0, OPTION_FLAG, &settings->json, 0, 0, NULL, "one JSON object at the end of an answer instead of the text"},
        {"stream", 0, OPTION_FLAG, &settings->stream, 0, 0, NULL,
         "with --json: also an object for each token, on a line, as soon as it is chosen"},
    };
    memcpy(options + n_options, rows, sizeof rows);
    n_options =
        sampling_options_add(&settings->sampling, &settings->session.sampling, options, n_options + sizeof rows / sizeof rows[0]);
    return place_option_add(&settings->engine, options, engine_options_add(&settings->engine, options, n_options));
}

int talk_parse(talk_settings *settings, const weft_command *command, const option_spec *options, size_t n_options,
               const char **text, int argc, char **argv) {
    const char *given[2] = {NULL, NULL};
    int code = options_parse_some(command, options, n_options, given, 0, text ? 2 : 1, argc, argv);
    if (code >= 0) return code;
    size_t n_given = given[0] == NULL ? 0 : given[1] == NULL ? 1 : 2, n_models = settings->model ? 0 : 1;
    if (n_given < n_models) return usage_error(command, "the model's file is missing");
    if (n_given > n_models + (text ? 1 : 0)) return usage_error(command, "unexpected argument \"%s\"", given[n_given - 1]);
    if (text) *text = n_given > n_models ? given[n_given - 1] : NULL;
    if (settings->stream && !settings->json) return usage_error(command, "--stream needs --json");
    if (!settings->model) settings->model = given[0];
    code = place_check(command, &settings->engine);
    return code >= 0 ? code : sampling_options_end(command, &settings->sampling, &settings->session.sampling);
}

weft_status use_template(weft_model *model, const char *file_or_name, weft_error *error) {
    byte_array text = {0};
    weft_status status = weft_model_use_template(model, file_or_name, NULL, error);
    if (status != WEFT_NOT_FOUND) return status;
    status = read_file(file_or_name, &text, error);
    if (status == WEFT_OK) status = weft_model_use_template(model, NULL, text.data, error);
    bytes_free(&text);
    if (status != WEFT_NOT_FOUND) return status;
    char names[256] = "";
    const char *name;
    for (size_t i = 0, n = 0; (name = weft_template_name(i)) && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", name);
    return weft_fail(error, status, "there is no chat template \"%s\": it is no file, and the names are %s", file_or_name, names);
}

weft_status talk_open(talk_settings *settings, talk *opened, weft_error *error) {
    weft_status status = open_runtime(settings->engine.plugin, &opened->runtime, error);
    if (status == WEFT_OK) status = weft_model_open(opened->runtime, settings->model, &opened->model, error);
    if (status == WEFT_OK && settings->chat_template) status = use_template(opened->model, settings->chat_template, error);
    if (status == WEFT_OK && settings->tools) status = read_file(settings->tools, &opened->tools, error);
    if (status == WEFT_OK && settings->variables) status = read_file(settings->variables, &opened->variables, error);
    if (status == WEFT_OK) weft_model_describe(opened->model, &opened->info);
    if (status == WEFT_OK) status = sampling_grammar(&settings->sampling, opened->model, &opened->grammar, error);
    settings->session.sampling.grammar = opened->grammar;
    opened->chat = (weft_render_options){.tools = opened->tools.data, .variables = opened->variables.data, .clock = clock_now};
    return status;
}

weft_status talk_engine(const talk_settings *settings, talk *opened, int32_t max_top, weft_engine **engine, weft_error *error) {
    weft_engine_options chosen = engine_options(&settings->engine);
    int32_t n_ctx_train = opened->info.n_ctx_train;
    chosen.max_top = max_top;
    chosen.logits = sampling_needs_logits(&settings->sampling, &settings->session.sampling);
    chosen.n_sequences = settings->n_sequences;
    if (chosen.n_ctx == 0) chosen.n_ctx = n_ctx_train > 0 && n_ctx_train < 4096 ? n_ctx_train : 4096;
    chosen.n_cache = chosen.n_ctx;
    weft_status status = weft_engine_create(opened->model, &chosen, engine, error);
    progress_end();
    return status;
}

weft_status talk_load(const talk_settings *settings, talk *opened, int32_t max_top, weft_error *error) {
    return talk_engine(settings, opened, max_top, &opened->engine, error);
}

void talk_close(talk *opened) {
    weft_engine_destroy(opened->engine);
    weft_grammar_destroy(opened->grammar);
    weft_model_close(opened->model);
    weft_runtime_destroy(opened->runtime);
    bytes_free(&opened->tools);
    bytes_free(&opened->variables);
}

/* Of a prompt that needs several steps. */
static void show_prefill(void *user, size_t done, size_t all) {
    (void)user;
    if (done < all)
        progress_bar("tokens", done, all);
    else
        progress_end();
}

weft_status talk_session(const talk_settings *settings, talk *opened, const weft_session_options *options, weft_session **session,
                         weft_error *error) {
    weft_session_options chosen = *options;
    chosen.chat = &opened->chat;
    chosen.on_prefill = show_prefill;
    weft_status status = weft_session_create(opened->engine, &chosen, session, error);
    if (status == WEFT_OK && settings->system) status = weft_session_say(*session, WEFT_SYSTEM, settings->system, error);
    return status;
}
