/* Compares the probabilities that engines give to all tokens, over a text. */
#include <math.h>
#include <string.h>

#include "check/model/track.h"

#define DEFAULT_CTX 512

/* Rows of logits of the first engine that are kept while the other engine computes the same rows. */
#define MAX_ROWS 32

typedef struct text {
    weft_runtime *runtime;
    weft_model *model;
    const weft_engine_options *options;
    weft_engine *engines[2];
    weft_session *sessions[2];
    weft_token *tokens;
    size_t n_tokens, n_ctx, n_vocab;
    size_t window, first; /* where the window begins in the text, and the kept rows in the window */
    float *rows;
    bool second; /* on_logits gets those of engines[1] */
    double sum_kl, sum_nll[2];
    weft_check_text_result result;
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
    uint64_t done, total;
} text;

/* ---- Measures ---- */

/* log(sum exp(logits)) */
static double log_total(const float *logits, size_t n) {
    double largest = -INFINITY, total = 0.0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, (double)logits[i]);
    for (size_t i = 0; i < n; i++) total += exp((double)logits[i] - largest);
    return largest + log(total);
}

static size_t most_likely(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

static double divergence(const float *a, double total_a, const float *b, double total_b, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double log_a = (double)a[i] - total_a, log_b = (double)b[i] - total_b, p = exp(log_a);
        if (p > 0.0) sum += p * (log_a - log_b);
    }
    return sum;
}

static void measure(text *t, size_t index, const float *first, const float *own) {
    weft_check_text_result *result = &t->result;
    double totals[2] = {log_total(first, t->n_vocab), log_total(own, t->n_vocab)};
    double kl = divergence(first, totals[0], own, totals[1], t->n_vocab);
    weft_token next = t->tokens[index + 1];
    t->sum_kl += kl;
    t->sum_nll[0] += totals[0] - (double)first[next];
    t->sum_nll[1] += totals[1] - (double)own[next];
    result->n_same_top += most_likely(first, t->n_vocab) == most_likely(own, t->n_vocab);
    if (!(kl <= result->max_kl) || result->n_positions == 0) {
        result->max_kl = kl;
        result->max_kl_index = index;
    }
    result->n_positions++;
}

static void on_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    text *t = user;
    if (index < t->first || index >= t->first + MAX_ROWS) return;
    float *row = t->rows + (index - t->first) * n_vocab;
    if (!t->second)
        memcpy(row, logits, n_vocab * sizeof *row);
    else if (t->window + index + 1 < t->n_tokens)
        measure(t, t->window + index, row, logits);
}

/* ---- Windows ---- */

static weft_status run_rows(text *t, size_t n, weft_error *error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < 2 && status == WEFT_OK; i++) {
        t->second = i == 1;
        status = weft_session_add_tokens(t->sessions[i], t->tokens + t->window + t->first, n, error);
        if (status == WEFT_OK) status = weft_session_prefill(t->sessions[i], error);
    }
    t->done += n;
    if (status == WEFT_OK && t->progress && !t->progress(t->user, t->done, t->total))
        return weft_fail(error, WEFT_CANCELLED, "the comparison over a text was ended");
    return status;
}

static weft_status run_window(text *t, size_t n, weft_error *error) {
    const weft_session_options options = {.on_logits = on_logits, .user = t};
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < 2 && status == WEFT_OK; i++)
        status = weft_session_create(t->engines[i], &options, &t->sessions[i], error);
    for (t->first = 0; t->first < n && status == WEFT_OK; t->first += MAX_ROWS)
        status = run_rows(t, n - t->first < MAX_ROWS ? n - t->first : MAX_ROWS, error);
    for (size_t i = 0; i < 2; i++) {
        weft_session_destroy(t->sessions[i]);
        t->sessions[i] = NULL;
    }
    return status;
}

static weft_status compare(text *t, size_t engine, weft_error *error) {
    weft_status status = WEFT_OK;
    t->result = (weft_check_text_result){.engine = engine};
    t->sum_kl = t->sum_nll[0] = t->sum_nll[1] = 0.0;
    for (t->window = 0; t->window + 1 < t->n_tokens && status == WEFT_OK; t->window += t->n_ctx)
        status = run_window(t, t->n_tokens - t->window < t->n_ctx ? t->n_tokens - t->window : t->n_ctx, error);
    double n = (double)t->result.n_positions;
    t->result.mean_kl = t->sum_kl / n;
    for (size_t i = 0; i < 2; i++) t->result.mean_nll[i] = t->sum_nll[i] / n;
    return status;
}

/* ---- Engines ---- */

static weft_status open_engine(text *t, size_t which, weft_engine **engine, weft_error *error) {
    weft_engine_options options = t->options[which];
    options.n_ctx = (int32_t)t->n_ctx;
    options.n_sequences = 1;
    options.n_cache = 0;
    options.n_kept = -1;
    options.logits = true;
    return weft_engine_create(t->model, &options, engine, error);
}

static weft_status run(text *t, size_t n_engines, weft_status (*report)(void *user, const weft_check_text_result *result),
                       weft_error *error) {
    weft_status status = open_engine(t, 0, &t->engines[0], error);
    for (size_t i = 1; i < n_engines && status == WEFT_OK; i++) {
        status = open_engine(t, i, &t->engines[1], error);
        if (status == WEFT_OK) status = compare(t, i, error);
        weft_engine_destroy(t->engines[1]);
        t->engines[1] = NULL;
        if (status == WEFT_OK && report) status = report(t->user, &t->result);
    }
    weft_engine_destroy(t->engines[0]);
    return status;
}

static weft_status prepare(text *t, const char *bytes, size_t size, weft_error *error) {
    weft_model_info info;
    weft_model_describe(t->model, &info);
    int32_t n_ctx = t->options[0].n_ctx == 0 ? DEFAULT_CTX : t->options[0].n_ctx;
    if (n_ctx > info.n_ctx_train) n_ctx = info.n_ctx_train;
    if (n_ctx < 2) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a window has two tokens or more");
    t->n_ctx = (size_t)n_ctx;
    t->n_vocab = (size_t)info.n_vocab;
    t->tokens = weft_allocate(t->runtime, (size + 8) * sizeof *t->tokens);
    t->rows = weft_allocate(t->runtime, MAX_ROWS * t->n_vocab * sizeof *t->rows);
    if (!t->tokens || !t->rows) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for a text of %zu bytes", size);
    weft_status status = weft_tokenize(t->model, bytes, size, true, t->tokens, size + 8, &t->n_tokens, error);
    if (status == WEFT_OK && t->n_tokens < 2)
        status = weft_fail(error, WEFT_INVALID_ARGUMENT, "the text has fewer than two tokens");
    return status;
}

weft_status weft_check_text(weft_model *model, const weft_engine_options *engines, size_t n_engines, const char *text_bytes,
                            size_t size, weft_status (*report)(void *user, const weft_check_text_result *result),
                            bool (*progress)(void *user, uint64_t done, uint64_t total), void *user, weft_error *error) {
    if (!model || !engines || n_engines < 2 || (!text_bytes && size > 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model, the options of two engines and a text are needed");
    text t = {.runtime = weft_model_runtime(model), .model = model, .options = engines, .progress = progress, .user = user};
    weft_status status = prepare(&t, text_bytes, size, error);
    t.total = (uint64_t)t.n_tokens * (n_engines - 1);
    if (status == WEFT_OK) status = run(&t, n_engines, report, error);
    weft_release(t.runtime, t.tokens);
    weft_release(t.runtime, t.rows);
    return status;
}
