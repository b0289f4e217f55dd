/* weft detokenize: token ids on standard input to text. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

/* Reads whole numbers, one on each line or as a JSON list: any characters but letters, digits and signs may separate them. */
static weft_status parse_ids(const byte_array *input, byte_array *ids, weft_error *error) {
    const char *text = input->data;
    size_t i = 0;
    while (i < input->size) {
        char c = text[i];
        if (isspace((unsigned char)c) || c == ',' || c == '[' || c == ']') {
            i++;
            continue;
        }
        weft_token token = 0;
        size_t start = i;
        for (; i < input->size && text[i] >= '0' && text[i] <= '9' && i - start < 9; i++) token = token * 10 + (text[i] - '0');
        if (i == start || (i < input->size && (isalnum((unsigned char)text[i]) || text[i] == '.' || text[i] == '-')))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "standard input, byte %zu: token ids are whole numbers below 10^9", i);
        if (!bytes_append(ids, &token, sizeof token)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the ids");
    }
    return WEFT_OK;
}

static weft_status print_text(const weft_model *model, const byte_array *ids, bool special, weft_error *error) {
    const weft_token *tokens = (const weft_token *)(const void *)ids->data;
    size_t n_tokens = ids->size / sizeof *tokens, size = 0;
    weft_status status = weft_detokenize(model, tokens, n_tokens, special, NULL, 0, &size, error);
    if (status != WEFT_OK) return status;
    char *text = malloc(size + 1);
    if (!text) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for %zu bytes of text", size);
    status = weft_detokenize(model, tokens, n_tokens, special, text, size, &size, error);
    if (status == WEFT_OK) show_text(stdout, text, size);
    if (status == WEFT_OK && ferror(stdout)) status = weft_fail(error, WEFT_IO, "cannot write to standard output");
    free(text);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    bool special = false;
    option_spec options[] = {
        {"special", 0, OPTION_FLAG, &special, 0, 0, NULL, "write the text of special tokens, too"},
    };
    const char *path;
    int code = options_parse(command, options, 1, &path, 1, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    byte_array input = {0}, ids = {0};
    weft_status status = open_runtime(NULL, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    if (status == WEFT_OK) status = read_all(stdin, &input, &error);
    if (status == WEFT_OK) status = parse_ids(&input, &ids, &error);
    if (status == WEFT_OK) status = print_text(model, &ids, special, &error);
    bytes_free(&input);
    bytes_free(&ids);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_detokenize = {"detokenize", "MODEL [options] < IDS", "Text of token ids: one a line, or a JSON list.",
                                         run};
