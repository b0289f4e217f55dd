/* The options of how `weft run` and `weft chat` choose tokens. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "weft/grammar.h"

size_t sampling_options_add(sampling_settings *settings, weft_sampling_options *sampling, option_spec *options, size_t n_options) {
    settings->repeat_last_n = 64;
    settings->dry_penalty_last_n = -1;
    const option_spec rows[] = {
        {"n-predict", 'n', OPTION_COUNT, &sampling->max_tokens, 1, 16777216, NULL,
         "the most tokens of an answer; default as many as fit"},
        {"temp", 0, OPTION_REAL, &sampling->temperature, 0, 1000, NULL, "temperature; 0 is greedy; default 0, in chats 0.7"},
        {"top-k", 0, OPTION_COUNT, &sampling->top_k, 0, 16777216, NULL, "draw from the K most likely tokens; default 0, off"},
        {"top-p", 0, OPTION_REAL, &sampling->top_p, 0, 1, NULL,
         "draw from the most likely tokens that add up to probability P; default off, in chats 0.95"},
        {"min-p", 0, OPTION_REAL, &sampling->min_p, 0, 1, NULL,
         "draw from tokens at least P times as likely as the best; default off"},
        {"seed", 0, OPTION_SEED, &sampling->seed, 0, 0, NULL, "seed of the draws: a number, or random; default 1"},
        {"repeat-penalty", 0, OPTION_REAL, &sampling->repeat_penalty, 0.01, 100, NULL,
         "divides the positive logits of tokens that occurred, and multiplies the others; default 1, off"},
        {"repeat-last-n", 0, OPTION_COUNT, &settings->repeat_last_n, -1, 16777216, NULL,
         "how many last tokens the three penalties look at; -1: all, 0: they are off; default 64"},
        {"frequency-penalty", 0, OPTION_REAL, &sampling->frequency_penalty, -1000, 1000, NULL,
         "subtracted from a logit for each time that the token occurred; default 0"},
        {"presence-penalty", 0, OPTION_REAL, &sampling->presence_penalty, -1000, 1000, NULL,
         "subtracted once from the logit of a token that occurred; default 0"},
        {"dry-multiplier", 0, OPTION_REAL, &sampling->dry_multiplier, 0, 1000, NULL,
         "DRY: the strength against repetitions of several tokens; default 0, off"},
        {"dry-base", 0, OPTION_REAL, &sampling->dry_base, 1, 1000, NULL, "DRY: the factor for each token more; default 1.75"},
        {"dry-allowed-length", 0, OPTION_COUNT, &sampling->dry_allowed_length, 1, 16777216, NULL,
         "DRY: from this length on a repetition is penalised; default 2"},
        {"dry-penalty-last-n", 0, OPTION_COUNT, &settings->dry_penalty_last_n, -1, 16777216, NULL,
         "DRY: how many last tokens are searched; -1: all, 0: off; default -1"},
        {"dry-sequence-breaker", 0, OPTION_TEXTS, &settings->breakers, 0, 0, NULL,
         "DRY: a text at which a repetition ends, in place of the default ones; can be given again"},
        {"logit-bias", 0, OPTION_TEXTS, &settings->biases, 0, 0, "ID=BIAS",
         "added to the logit of token ID; -inf: never this token; can be given again"},
        {"stop", 0, OPTION_TEXTS, &settings->stops, 0, 0, NULL, "the answer ends before this text; can be given again"},
        {"grammar", 0, OPTION_TEXT, &settings->grammar, 0, 0, NULL, "the answer fits this grammar (docs/grammar.md)"},
        {"grammar-file", 0, OPTION_TEXT, &settings->grammar_file, 0, 0, "FILE", "the answer fits the grammar in this file"},
        {"json-schema", 0, OPTION_TEXT, &settings->schema, 0, 0, NULL,
         "the answer is JSON that fits this JSON Schema; {}: any JSON"},
        {"json-schema-file", 0, OPTION_TEXT, &settings->schema_file, 0, 0, "FILE",
         "the answer is JSON that fits the JSON Schema in this file"},
    };
    memcpy(options + n_options, rows, sizeof rows);
    return n_options + sizeof rows / sizeof rows[0];
}

static bool sampling_has_grammar(const sampling_settings *settings) {
    return settings->grammar || settings->grammar_file || settings->schema || settings->schema_file;
}

weft_status sampling_grammar(const sampling_settings *settings, weft_model *model, weft_grammar **grammar, weft_error *error) {
    const bool is_schema = settings->schema || settings->schema_file;
    const char *path = is_schema ? settings->schema_file : settings->grammar_file;
    const char *text = is_schema ? settings->schema : settings->grammar;
    byte_array content = {0};
    weft_status status = WEFT_OK;
    if (!sampling_has_grammar(settings)) return WEFT_OK;
    if (path) status = read_file(path, &content, error);
    if (path) text = content.data;
    if (status == WEFT_OK)
        status = weft_grammar_create(model, is_schema ? WEFT_GRAMMAR_JSON_SCHEMA : WEFT_GRAMMAR_NOTATION, text, strlen(text),
                                     grammar, error);
    bytes_free(&content);
    return status;
}

static bool parse_bias(const char *text, weft_logit_bias *bias) {
    char *end = NULL;
    long id = strtol(text, &end, 10);
    if (end == text || *end != '=' || id < 0 || id > INT32_MAX || end[1] == 0) return false;
    bias->token = (weft_token)id;
    bias->bias = strtof(end + 1, &end);
    return *end == 0 && bias->bias < INFINITY;
}

int sampling_options_end(const weft_command *command, sampling_settings *settings, weft_sampling_options *sampling) {
    for (size_t i = 0; i < settings->biases.n; i++)
        if (!parse_bias(settings->biases.items[i], &settings->logit_bias[i]))
            return usage_error(command, "--logit-bias takes ID=BIAS, not \"%s\"", settings->biases.items[i]);
    for (size_t i = 0; i < settings->stops.n; i++)
        if (!settings->stops.items[i][0]) return usage_error(command, "--stop takes a text that is not empty");
    for (size_t i = 0; i < settings->breakers.n; i++)
        if (!settings->breakers.items[i][0]) return usage_error(command, "--dry-sequence-breaker takes a text that is not empty");
    if (!settings->grammar + !settings->grammar_file + !settings->schema + !settings->schema_file < 3)
        return usage_error(command, "--grammar, --grammar-file, --json-schema and --json-schema-file exclude each other");
    if (sampling_has_grammar(settings) && sampling->ignore_end)
        return usage_error(command, "--ignore-end excludes a grammar or schema");
    sampling->logit_bias = settings->logit_bias;
    sampling->n_logit_bias = settings->biases.n;
    sampling->stop = settings->stops.items;
    sampling->n_stop = settings->stops.n;
    sampling->dry_breakers = settings->breakers.n > 0 ? settings->breakers.items : NULL;
    sampling->n_dry_breakers = settings->breakers.n;
    sampling->penalty_window = settings->repeat_last_n;
    if (settings->repeat_last_n == 0) sampling->repeat_penalty = sampling->frequency_penalty = sampling->presence_penalty = 0;
    sampling->dry_window = settings->dry_penalty_last_n > 0 ? settings->dry_penalty_last_n : 0;
    if (settings->dry_penalty_last_n == 0) sampling->dry_multiplier = 0;
    return -1;
}

bool sampling_needs_logits(const sampling_settings *settings, const weft_sampling_options *sampling) {
    return sampling_has_grammar(settings) || (sampling->repeat_penalty != 0 && sampling->repeat_penalty != 1) ||
           sampling->frequency_penalty != 0 || sampling->presence_penalty != 0 || sampling->dry_multiplier > 0 ||
           sampling->n_logit_bias > 0;
}
