/* Compares the greedy tokens of several engines. Where an engine chooses another token than the first engine, also compares both
 * engines' logits. */
#include <math.h>
#include <string.h>

#include "check/model/track.h"

/* Rows of logits that are kept at the same time. */
#define MAX_PARTINGS 64

typedef struct greedy {
    weft_runtime *runtime;
    weft_model *model;
    const weft_engine_options *options;
    weft_engine *engines[2]; /* the first, and the one compared with it */
    int32_t *tokens;         /* the prompt, then the first engine's choices */
    int32_t n_prompt, n_tokens;
    int32_t n_vocab;
    double nmse_limit;
    weft_check_parting partings[MAX_PARTINGS];
    size_t n_partings;
    float *rows; /* the first engine's logits, a row for each parting */
    bool second; /* on_logits gets the logits of engines[1] */
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
    uint64_t done, total;
} greedy;

/* ---- Tokens ---- */

static weft_status go_on(greedy *g, weft_error *error) {
    if (!g->progress || g->progress(g->user, g->done, g->total)) return WEFT_OK;
    return weft_fail(error, WEFT_CANCELLED, "the comparison of tokens was ended");
}

static weft_status begin(greedy *g, weft_engine *engine, const weft_session_options *options, int32_t n_tokens,
                         weft_session **session, weft_error *error) {
    weft_status status = weft_session_create(engine, options, session, error);
    return status == WEFT_OK ? weft_session_add_tokens(*session, g->tokens, (size_t)n_tokens, error) : status;
}

/* Generates tokens from index `first` on, until `take` returns false. */
static weft_status generate(greedy *g, weft_engine *engine, int32_t first, bool (*take)(greedy *g, int32_t index, weft_token token),
                            weft_error *error) {
    weft_session *session = NULL;
    weft_piece piece;
    bool more = true;
    const weft_session_options options = {.sampling.ignore_end = true};
    weft_status status = begin(g, engine, &options, g->n_prompt + first, &session, error);
    for (int32_t i = first; i < g->n_tokens && more && status == WEFT_OK; i++) {
        status = weft_session_next(session, &piece, error);
        if (status == WEFT_OK && piece.last) status = weft_fail(error, WEFT_FAILED, "an answer ended after %d tokens", (int)i);
        if (status != WEFT_OK) break;
        g->done++;
        more = take(g, i, piece.token);
        status = go_on(g, error);
    }
    weft_session_destroy(session);
    return status;
}

static bool take_first(greedy *g, int32_t index, weft_token token) {
    g->tokens[g->n_prompt + index] = token;
    return true;
}

static bool take_other(greedy *g, int32_t index, weft_token token) {
    weft_token expected = g->tokens[g->n_prompt + index];
    if (token == expected) return true;
    g->partings[g->n_partings++] = (weft_check_parting){.index = index, .tokens = {expected, token}};
    return false;
}

/* ---- Logits ---- */

static double distance(const float *a, const float *b, int32_t n) {
    double error = 0.0, power = 0.0;
    for (int32_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        power += (double)a[i] * (double)a[i];
    }
    return error == 0.0 ? 0.0 : error / power;
}

/* The standard deviation of a - b. The mean of a - b is left out, since a shift of all logits changes no choice. */
static double deviation(const float *a, const float *b, int32_t n) {
    double sum = 0.0, power = 0.0;
    for (int32_t i = 0; i < n; i++) {
        double off = (double)a[i] - (double)b[i];
        sum += off;
        power += off * off;
    }
    return sqrt(fmax(power - sum * sum / (double)n, 0.0) / (double)n);
}

/* Each engine prefers its own token, so the gap between the two tokens' logits is never larger than the sum of both logits'
 * differences between the engines. A small gap alone therefore proves nothing. A parting is a tie if these two logits differ no
 * more than others do: the limit is six standard deviations of a difference of two logits, and that deviation is sqrt(2) times the
 * deviation of one logit. */
static void judge(const greedy *g, weft_check_parting *parting, const float *first, const float *own) {
    parting->nmse = distance(first, own, g->n_vocab);
    parting->nmse_limit = g->nmse_limit;
    for (int j = 0; j < 2; j++) {
        parting->logits[0][j] = (double)first[parting->tokens[j]];
        parting->logits[1][j] = (double)own[parting->tokens[j]];
    }
    parting->gap = fmax(fabs(parting->logits[0][0] - parting->logits[0][1]), fabs(parting->logits[1][0] - parting->logits[1][1]));
    parting->gap_limit = 6.0 * sqrt(2.0) * deviation(first, own, g->n_vocab);
    parting->tie = parting->nmse <= parting->nmse_limit && parting->gap <= parting->gap_limit;
}

static void on_logits(void *user, size_t index, const float *logits, size_t n_vocab) {
    greedy *g = user;
    for (size_t i = 0; i < g->n_partings; i++) {
        if ((size_t)(g->n_prompt + g->partings[i].index - 1) != index) continue;
        float *row = g->rows + i * n_vocab;
        if (g->second)
            judge(g, &g->partings[i], row, logits);
        else
            memcpy(row, logits, n_vocab * sizeof *row);
    }
}

/* Runs both engines on the first engine's tokens, up to the last parting, to compare their logits. */
static weft_status read_logits(greedy *g, weft_error *error) {
    const weft_session_options options = {.on_logits = on_logits, .user = g};
    g->rows = weft_allocate(g->runtime, g->n_partings * (size_t)g->n_vocab * sizeof *g->rows);
    if (!g->rows)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu rows of %d logits", g->n_partings, (int)g->n_vocab);
    weft_status status = WEFT_OK;
    for (int i = 0; i < 2 && status == WEFT_OK; i++) {
        weft_session *session = NULL;
        g->second = i == 1;
        status = begin(g, g->engines[i], &options, g->n_prompt + g->partings[g->n_partings - 1].index, &session, error);
        if (status == WEFT_OK) status = weft_session_prefill(session, error);
        weft_session_destroy(session);
        if (status == WEFT_OK) status = go_on(g, error);
    }
    weft_release(g->runtime, g->rows);
    g->rows = NULL;
    return status;
}

/* ---- Engines ---- */

static weft_status open_engine(greedy *g, size_t which, weft_engine **engine, weft_error *error) {
    weft_engine_options options = g->options[which];
    options.n_ctx = g->n_prompt + g->n_tokens;
    options.n_sequences = 1;
    options.n_cache = 0;
    options.logits = true;
    return weft_engine_create(g->model, &options, engine, error);
}

/* Adds up the limits of all nodes of a step with one row. A node's quantised matrix decides its limit; the other ops have one limit
 * for all types. */
static weft_status add_limits(greedy *g, const weft_graph *graph, weft_error *error) {
    weft_node node;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < weft_graph_node_count(graph) && status == WEFT_OK; i++) {
        weft_type type;
        status = weft_graph_node(graph, i, &node, error);
        if (status != WEFT_OK || node.op == WEFT_OP_NONE) continue;
        status = weft_check_matrix_type(graph, &node, &type, error);
        if (status == WEFT_OK) g->nmse_limit += weft_check_limits_of(node.op, type, g->options[0].precision).nmse;
    }
    return status;
}

static weft_status find_limit(greedy *g, weft_error *error) {
    weft_graph *graph = NULL;
    weft_status status = weft_model_graph(g->model, &g->options[0], 1, 1, &graph, error);
    if (status == WEFT_OK) status = add_limits(g, graph, error);
    weft_graph_destroy(graph);
    return status;
}

/* Compares one engine with the first and reports each parting. */
static weft_status compare(greedy *g, size_t device, weft_check_greedy_summary *summary,
                           weft_status (*report)(void *user, const weft_check_parting *parting), weft_error *error) {
    weft_status status = open_engine(g, device, &g->engines[1], error);
    int32_t first = 0;
    g->n_partings = 0;
    while (first < g->n_tokens && g->n_partings < MAX_PARTINGS && status == WEFT_OK) {
        size_t before = g->n_partings;
        status = generate(g, g->engines[1], first, take_other, error);
        first = g->n_partings > before ? g->partings[before].index + 1 : g->n_tokens;
    }
    if (status == WEFT_OK && g->n_partings > 0) status = read_logits(g, error);
    for (size_t i = 0; i < g->n_partings && status == WEFT_OK; i++) {
        g->partings[i].device = device;
        *(g->partings[i].tie ? &summary->n_ties : &summary->n_differences) += 1;
        if (report) status = report(g->user, &g->partings[i]);
    }
    if (status == WEFT_OK && first < summary->n_tokens) summary->n_tokens = first;
    weft_engine_destroy(g->engines[1]);
    g->engines[1] = NULL;
    return status;
}

static weft_status run(greedy *g, size_t n_engines, weft_check_greedy_summary *summary,
                       weft_status (*report)(void *user, const weft_check_parting *parting), weft_error *error) {
    weft_status status = find_limit(g, error);
    if (status == WEFT_OK) status = open_engine(g, 0, &g->engines[0], error);
    if (status == WEFT_OK) status = generate(g, g->engines[0], 0, take_first, error);
    for (size_t i = 1; i < n_engines && status == WEFT_OK; i++) status = compare(g, i, summary, report, error);
    weft_engine_destroy(g->engines[1]);
    weft_engine_destroy(g->engines[0]);
    return status;
}

weft_status weft_check_greedy(weft_model *model, const weft_engine_options *engines, size_t n_engines, const char *prompt,
                              int32_t n_tokens, weft_status (*report)(void *user, const weft_check_parting *parting),
                              bool (*progress)(void *user, uint64_t done, uint64_t total), void *user,
                              weft_check_greedy_summary *summary, weft_error *error) {
    if (!model || !engines || n_engines == 0 || n_tokens < 1)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model, an engine's options and a number of tokens are needed");
    weft_check_greedy_summary counts = {.n_tokens = n_tokens};
    weft_runtime *runtime = weft_model_runtime(model);
    greedy *g = weft_allocate(runtime, sizeof *g);
    if (!g) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory to compare tokens");
    weft_model_info info;
    weft_model_describe(model, &info);
    *g = (greedy){.runtime = runtime,
                  .model = model,
                  .options = engines,
                  .n_tokens = n_tokens,
                  .n_vocab = info.n_vocab,
                  .progress = progress,
                  .user = user,
                  .total = (uint64_t)n_tokens * n_engines};
    weft_status status = weft_check_prompt(model, runtime, prompt, n_tokens, &g->tokens, &g->n_prompt, error);
    if (status == WEFT_OK) status = run(g, n_engines, &counts, report, error);
    weft_release(runtime, g->tokens);
    weft_release(runtime, g);
    if (status == WEFT_OK && summary) *summary = counts;
    return status;
}
