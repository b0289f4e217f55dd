/* weft perplexity: how well a model predicts a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"
#include "os/os.h"

typedef struct perplexity {
    double sum, sum_squares; /* of negative log-probabilities */
    uint64_t n_scored;
    size_t first_scored; /* position in the window */
    FILE *logits;
    bool write_failed;
} perplexity;

static void on_prompt(void *user, size_t index, weft_logprob token, const weft_logprob *top, size_t n_top) {
    perplexity *totals = user;
    (void)top, (void)n_top;
    if (index < totals->first_scored) return;
    totals->sum -= (double)token.logprob;
    totals->sum_squares += (double)token.logprob * (double)token.logprob;
    totals->n_scored++;
}

static void on_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    perplexity *totals = user;
    (void)index;
    if (fwrite(logits, sizeof *logits, n_vocab, totals->logits) != n_vocab) totals->write_failed = true;
}

/* Scores one window, in a session of its own. */
static weft_status score(weft_engine *engine, perplexity *totals, const weft_token *tokens, size_t n_tokens, weft_error *error) {
    weft_session_options options = {
        .n_prompt_top = 1, .on_prompt = on_prompt, .on_logits = totals->logits ? on_logits : NULL, .user = totals};
    weft_session *session = NULL;
    weft_status status = weft_session_create(engine, &options, &session, error);
    if (status == WEFT_OK) status = weft_session_add_tokens(session, tokens, n_tokens, error);
    interrupt_session(session);
    if (status == WEFT_OK) status = weft_session_prefill(session, error);
    interrupt_session(NULL);
    weft_session_destroy(session);
    if (status == WEFT_OK && totals->write_failed) return weft_fail(error, WEFT_IO, "cannot write the logits");
    if (status == WEFT_OK && interrupted()) return weft_fail(error, WEFT_CANCELLED, "stopped");
    return status;
}

/* Windows of n_ctx tokens that do not overlap. If there are several, only the second half of each is scored, so that every scored
 * token has at least half a window before it; if the model adds a BOS, the BOS replaces the first token of each window. */
static weft_status score_all(weft_engine *engine, perplexity *totals, weft_token *tokens, size_t n_tokens, size_t n_ctx,
                             weft_token bos, weft_error *error) {
    size_t n_windows = n_tokens < n_ctx ? 1 : n_tokens / n_ctx;
    if (n_tokens < n_ctx) n_ctx = n_tokens;
    totals->first_scored = n_windows > 1 ? n_ctx / 2 : 1;
    weft_status status = WEFT_OK;
    for (size_t i = 0; status == WEFT_OK && i < n_windows; i++) {
        weft_token *window = tokens + i * n_ctx;
        if (bos != WEFT_NO_TOKEN) window[0] = bos;
        status = score(engine, totals, window, n_ctx, error);
        progress_bar("windows", i + 1, n_windows);
    }
    return status;
}

static void print_result(const perplexity *totals, bool json) {
    double n = (double)totals->n_scored;
    double mean = totals->sum / n;
    double variance = n > 1 ? (totals->sum_squares - n * mean * mean) / (n - 1) : 0;
    double value = exp(mean), standard_error = value * sqrt(fmax(variance, 0) / n);
    if (json)
        printf("{\"perplexity\":%.9g,\"standard_error\":%.9g,\"mean_nll\":%.9g,\"n_scored\":%llu}\n", value, standard_error, mean,
               (unsigned long long)totals->n_scored);
    else
        printf("perplexity %.4f +- %.4f (%llu tokens scored)\n", value, standard_error, (unsigned long long)totals->n_scored);
}

/* The BOS that the model adds to texts, or WEFT_NO_TOKEN. */
static weft_token added_bos(const weft_model *model) {
    weft_token tokens[8];
    size_t n_tokens = 0;
    weft_model_info info;
    weft_model_describe(model, &info);
    bool added = weft_tokenize(model, "", 0, true, tokens, 8, &n_tokens, NULL) == WEFT_OK && n_tokens > 0 && tokens[0] == info.bos;
    return added ? info.bos : WEFT_NO_TOKEN;
}

/* Bytes of the BOS's marker, where the text begins with it. */
static size_t size_of_marker(const weft_model *model, weft_token bos, const byte_array *text) {
    char marker[256];
    size_t size = 0;
    if (bos == WEFT_NO_TOKEN || weft_detokenize(model, &bos, 1, true, marker, sizeof marker, &size, NULL) != WEFT_OK) return 0;
    return size > 0 && size <= sizeof marker && size <= text->size && memcmp(text->data, marker, size) == 0 ? size : 0;
}

/* A marker of the BOS at the text's start stands for the one that is added. */
static weft_status read_tokens(const weft_model *model, const char *path, weft_token bos, weft_token **tokens, size_t *n_tokens,
                               weft_error *error) {
    byte_array text = {0};
    weft_status status = read_file(path, &text, error);
    if (status == WEFT_OK) text.size--; /* the zero after it */
    size_t skipped = status == WEFT_OK ? size_of_marker(model, bos, &text) : 0;
    if (status == WEFT_OK) status = tokenize_text(model, text.data + skipped, text.size - skipped, true, tokens, n_tokens, error);
    bytes_free(&text);
    if (status == WEFT_OK && *n_tokens < 2) return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: fewer than two tokens", path);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    engine_settings settings = {.n_ctx = 512};
    const char *logits_path = NULL;
    bool json = false;
    option_spec options[MAX_OPTIONS] = {
        {"logits", 0, OPTION_TEXT, &logits_path, 0, 0, "FILE", "write all logits: F32 [n_positions, n_vocab], little-endian"},
        {"json", 0, OPTION_FLAG, &json, 0, 0, NULL, "one JSON object"},
    };
    size_t n_options = place_option_add(&settings, options, engine_options_add(&settings, options, 2));
    const char *positional[2];
    int code = options_parse(command, options, n_options, positional, 2, argc, argv);
    if (code < 0) code = place_check(command, &settings);
    if (code >= 0) return code;
    if (settings.n_ctx < 2) return usage_error(command, "--ctx takes 2 or more: a window's first token has no score");

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_token *tokens = NULL;
    size_t n_tokens = 0;
    perplexity totals = {0};
    weft_engine_options chosen = engine_options(&settings);
    chosen.logits = logits_path != NULL;
    chosen.max_top = 1;
    interrupt_install();
    weft_status status = open_runtime(settings.plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, positional[0], &model, &error);
    weft_token bos = status == WEFT_OK ? added_bos(model) : WEFT_NO_TOKEN;
    if (status == WEFT_OK) status = read_tokens(model, positional[1], bos, &tokens, &n_tokens, &error);
    if (status == WEFT_OK) status = weft_engine_create(model, &chosen, &engine, &error);
    if (status == WEFT_OK && logits_path && !(totals.logits = weft_os_stream_open(logits_path, "wb")))
        status = weft_fail(&error, WEFT_IO, "%s: cannot be written", logits_path);
    if (status == WEFT_OK) status = score_all(engine, &totals, tokens, n_tokens, (size_t)settings.n_ctx, bos, &error);
    progress_end();
    if (totals.logits && fclose(totals.logits) != 0 && status == WEFT_OK)
        status = weft_fail(&error, WEFT_IO, "%s: cannot be written", logits_path);
    if (status == WEFT_OK) print_result(&totals, json);
    free(tokens);
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_perplexity = {"perplexity", "MODEL FILE [options]",
                                         "Perplexity of a text with its standard error, in windows of --ctx tokens (default 512).",
                                         run};
