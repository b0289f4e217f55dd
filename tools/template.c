/* weft template: a conversation as the file's chat template writes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

typedef struct template_settings {
    const char *chat_template, *tools, *documents, *variables, *now;
    bool no_generation_prompt, continue_last, tokens;
    weft_date date; /* of --now */
} template_settings;

/* Prints each token on a line: its id, its text, and whether all of it is the template's. A token's text is that of the rendered
 * text, but that SentencePiece puts a space before some and that bytes without a token are left out. */
static weft_status print_tokens(const weft_model *model, const weft_rendered *rendered, const byte_array *text,
                                const bool *from_template, weft_error *error) {
    size_t n = 0, at = 0;
    weft_status status = weft_rendered_tokens(rendered, NULL, 0, &n, error);
    weft_token *tokens = malloc((n + 1) * sizeof *tokens);
    if (status == WEFT_OK && !tokens) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    if (status == WEFT_OK) status = weft_rendered_tokens(rendered, tokens, n, &n, error);
    for (size_t i = 0; status == WEFT_OK && i < n; i++) {
        char piece[4096];
        size_t size = 0;
        status = weft_detokenize(model, tokens + i, 1, true, piece, sizeof piece, &size, error);
        if (size > sizeof piece) size = sizeof piece;
        size_t end = at + size < text->size ? at + size : text->size;
        bool own = true;
        for (size_t k = at; k < end; k++) own = own && from_template[k];
        if (text->size - at >= size && memcmp(text->data + at, piece, size) == 0) at = end;
        cJSON *json = cJSON_CreateObject();
        bool complete = json && cJSON_AddNumberToObject(json, "id", tokens[i]) && json_add_text(json, "text", piece, size) &&
                        cJSON_AddBoolToObject(json, "from_template", own);
        if (!json_print(json, complete)) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
    }
    free(tokens);
    return status;
}

static weft_status print_rendered(const template_settings *settings, const weft_model *model, const weft_rendered *rendered,
                                  weft_error *error) {
    weft_rendered_part part;
    byte_array text = {0};
    bool *from_template = NULL;
    weft_status status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && weft_rendered_part_at(rendered, i, &part); i++) {
        size_t before = text.size;
        bool *grown = realloc(from_template, before + part.size);
        if (grown) from_template = grown;
        if (!grown || !bytes_append(&text, part.text, part.size)) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory");
        for (size_t k = 0; status == WEFT_OK && k < part.size; k++) from_template[before + k] = part.from_template;
    }
    if (status == WEFT_OK && settings->tokens)
        status = print_tokens(model, rendered, &text, from_template, error);
    else if (status == WEFT_OK && text.size)
        show_text(stdout, text.data, text.size);
    if (status == WEFT_OK && ferror(stdout)) status = weft_fail(error, WEFT_IO, "cannot write to standard output");
    free(from_template);
    bytes_free(&text);
    return status;
}

static bool given_date(void *user, weft_date *now) {
    *now = ((const template_settings *)user)->date;
    return true;
}

static int run(const weft_command *command, int argc, char **argv) {
    template_settings settings = {0};
    option_spec options[] = {
        {"chat-template", 0, OPTION_TEXT, &settings.chat_template, 0, 0, "FILE|NAME",
         "another template: a file, or one that the model's file or weft has under this name"},
        {"tools", 0, OPTION_TEXT, &settings.tools, 0, 0, "FILE", "a file with the tools, in JSON"},
        {"documents", 0, OPTION_TEXT, &settings.documents, 0, 0, "FILE", "a file with the documents, in JSON"},
        {"variables", 0, OPTION_TEXT, &settings.variables, 0, 0, "FILE", "a file with a JSON object of more variables"},
        {"no-generation-prompt", 0, OPTION_FLAG, &settings.no_generation_prompt, 0, 0, NULL, "without what begins an answer"},
        {"continue", 0, OPTION_FLAG, &settings.continue_last, 0, 0, NULL, "end where the last message, an answer, ends"},
        {"now", 0, OPTION_TEXT, &settings.now, 0, 0, NULL,
         "the date and time of dates, as 2025-12-31T23:59:59; default the clock's"},
        {"tokens", 0, OPTION_FLAG, &settings.tokens, 0, 0, NULL, "a JSON object for each token: id, text, from_template"},
    };
    const char *paths[2];
    int code = options_parse(command, options, sizeof options / sizeof *options, paths, 2, argc, argv);
    if (code >= 0) return code;
    weft_date *date = &settings.date;
    if (settings.now && sscanf(settings.now, "%4d-%2d-%2dT%2d:%2d:%2d", &date->year, &date->month, &date->day, &date->hour,
                               &date->minute, &date->second) < 3)
        return usage_error(command, "--now takes a date such as 2025-12-31T23:59:59, not \"%s\"", settings.now);

    const char *names[] = {paths[1], settings.tools, settings.documents, settings.variables};
    byte_array texts[4] = {{0}, {0}, {0}, {0}};
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_rendered *rendered = NULL;
    weft_status status = open_runtime(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, paths[0], &model, &error);
    if (status == WEFT_OK && settings.chat_template) status = use_template(model, settings.chat_template, &error);
    for (size_t i = 0; status == WEFT_OK && i < 4; i++)
        if (names[i]) status = read_file(names[i], &texts[i], &error);
    const weft_render_options given = {.messages = texts[0].data,
                                       .tools = texts[1].data,
                                       .documents = texts[2].data,
                                       .variables = texts[3].data,
                                       .no_generation_prompt = settings.no_generation_prompt,
                                       .continue_last = settings.continue_last,
                                       .clock = settings.now ? given_date : clock_now,
                                       .clock_user = &settings};
    if (status == WEFT_OK) status = weft_model_render(model, &given, &rendered, &error);
    if (status == WEFT_OK) status = print_rendered(&settings, model, rendered, &error);
    weft_rendered_destroy(rendered);
    for (size_t i = 0; i < 4; i++) bytes_free(&texts[i]);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_template = {"template", "MODEL MESSAGES [options]",
                                       "A conversation (JSON) as the chat template writes it.", run};
