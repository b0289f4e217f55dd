/* weft tokenize: standard input to token ids. */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "command.h"

static weft_status print_ids(const weft_token *tokens, size_t n_tokens, bool json, weft_error *error) {
    for (size_t i = 0; i < n_tokens; i++) printf("%s%d", i == 0 ? (json ? "[" : "") : (json ? "," : "\n"), tokens[i]);
    if (json) fputs(n_tokens ? "]\n" : "[]\n", stdout);
    if (!json && n_tokens) putchar('\n');
    return ferror(stdout) ? weft_fail(error, WEFT_IO, "cannot write to standard output") : WEFT_OK;
}

static int run(const weft_command *command, int argc, char **argv) {
    bool special = false, json = false;
    option_spec options[] = {
        {"special", 0, OPTION_FLAG, &special, 0, 0, NULL,
         "add the tokens that the file says to add, and recognise control tokens in the text"},
        {"json", 0, OPTION_FLAG, &json, 0, 0, NULL, "print a JSON list instead of one id on each line"},
    };
    const char *path;
    int code = options_parse(command, options, 2, &path, 1, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    byte_array input = {0};
    weft_token *tokens = NULL;
    size_t n_tokens = 0;
    weft_status status = open_runtime(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    if (status == WEFT_OK) status = read_all(stdin, &input, &error);
    if (status == WEFT_OK) status = tokenize_text(model, input.data, input.size, special, &tokens, &n_tokens, &error);
    if (status == WEFT_OK) status = print_ids(tokens, n_tokens, json, &error);
    free(tokens);
    bytes_free(&input);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_tokenize = {"tokenize", "MODEL [options] < TEXT", "Prints the token ids of the text on standard input.",
                                       run};
