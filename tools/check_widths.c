/* weft check MODEL --widths and --text: rows that are computed with others, and probabilities over a text. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"

typedef struct measure_run {
    const check_settings *settings;
    const check_devices *devices;
    size_t device;
    cJSON *list; /* NULL: text */
    bool complete;
} measure_run;

static weft_status no_json_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}

/* ---- Widths ---- */

static void print_width(const measure_run *run, const weft_check_width *w) {
    char rows[32];
    snprintf(rows, sizeof rows, w->n_rows == 1 ? "alone" : w->chunks ? "chunks of %d" : "%d together", (int)w->n_rows);
    if (w->n_rows == 1 && !w->chunks)
        printf("rows on %s\n  %-12s %-14s %9s %10s\n", run->devices->infos[run->device].id, "", "", "tokens/s", "same bits");
    printf("  %-12s %-14s %9.1f %10s",
           w->n_rows > 1 ? ""
           : w->chunks   ? "of a prompt"
                         : "of sequences",
           rows, w->tokens_per_s,
           w->n_rows == 1        ? ""
           : w->n_different == 0 ? "yes"
                                 : "NO");
    if (w->first) printf("  from %s on:", w->first);
    for (size_t i = 0; i < w->n_ops; i++)
        if (w->ops[i].n_different > 0)
            printf(" %s %zu of %zu", weft_op_name(w->ops[i].op), w->ops[i].n_different, w->ops[i].n_compared);
    printf("\n");
}

static bool add_width(const measure_run *run, const weft_check_width *w) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(run->list, entry)) return false;
    bool complete = cJSON_AddStringToObject(entry, "device", run->devices->infos[run->device].id) &&
                    cJSON_AddBoolToObject(entry, "chunks", w->chunks) && cJSON_AddNumberToObject(entry, "n_rows", w->n_rows) &&
                    cJSON_AddNumberToObject(entry, "tokens_per_s", w->tokens_per_s) &&
                    cJSON_AddNumberToObject(entry, "n_compared", (double)w->n_compared) &&
                    cJSON_AddNumberToObject(entry, "n_different", (double)w->n_different) &&
                    (w->first ? cJSON_AddStringToObject(entry, "first", w->first) : cJSON_AddNullToObject(entry, "first"));
    cJSON *ops = complete ? cJSON_AddArrayToObject(entry, "ops") : NULL;
    for (size_t i = 0; i < w->n_ops && ops; i++) {
        cJSON *op = cJSON_CreateObject();
        if (!op || !cJSON_AddItemToArray(ops, op) || !cJSON_AddStringToObject(op, "op", weft_op_name(w->ops[i].op)) ||
            !cJSON_AddNumberToObject(op, "n_compared", (double)w->ops[i].n_compared) ||
            !cJSON_AddNumberToObject(op, "n_different", (double)w->ops[i].n_different))
            return false;
    }
    return ops != NULL;
}

static weft_status take_width(void *user, const weft_check_width *width) {
    measure_run *run = user;
    progress_end();
    if (run->list) run->complete = run->complete && add_width(run, width);
    if (!run->settings->json) print_width(run, width);
    return WEFT_OK;
}

weft_status check_widths(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json, bool *failed,
                         weft_error *error) {
    static char rows[] = "rows";
    measure_run run = {.settings = settings, .devices = devices, .complete = true};
    const weft_check_width_options options = {.precision = settings->walk.precision,
                                              .prompt = settings->walk.prompt,
                                              .max_rows = settings->walk.max_rows,
                                              .page_size = settings->walk.page_size,
                                              .progress = progress_bar,
                                              .progress_user = rows};
    if (json && !(run.list = cJSON_AddArrayToObject(json, "widths"))) return no_json_memory(error);
    for (run.device = 0; run.device < devices->count; run.device++) {
        size_t n_different = 0;
        weft_status status =
            weft_check_widths(model, devices->devices[run.device], &options, take_width, &run, &n_different, error);
        progress_end();
        if (status != WEFT_OK) return status;
        *failed = *failed || n_different > 0;
    }
    return run.complete ? WEFT_OK : no_json_memory(error);
}

/* ---- A text ---- */

static const char *precision_name(const weft_engine_options *engine) {
    return engine->precision == WEFT_EXACT ? "exact" : "fast";
}

/* The first engine is that of the first device in `exact`, then come those that are compared with it. */
static const char *engine_name(const measure_run *run, const weft_check_text_result *r) {
    return check_engine_name(run->settings, run->devices, r->engine - 1);
}

static void print_text(const measure_run *run, const weft_engine_options *engine, const weft_check_text_result *r) {
    double n = (double)r->n_positions;
    printf("%s on %s against exact on %s, %zu tokens\n", precision_name(engine), engine_name(run, r), run->devices->infos[0].id,
           r->n_positions);
    printf("  KL divergence: mean %.3g, largest %.3g after token %zu\n", r->mean_kl, r->max_kl, r->max_kl_index);
    printf("  the same most likely token: %zu (%.2f %%)\n", r->n_same_top, 100.0 * (double)r->n_same_top / n);
    printf("  perplexity %.4f against %.4f\n", exp(r->mean_nll[1]), exp(r->mean_nll[0]));
}

static bool add_text(const measure_run *run, const weft_engine_options *engine, const weft_check_text_result *r) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(run->list, entry)) return false;
    return cJSON_AddStringToObject(entry, "device", engine_name(run, r)) &&
           cJSON_AddStringToObject(entry, "precision", precision_name(engine)) &&
           cJSON_AddStringToObject(entry, "reference", run->devices->infos[0].id) &&
           cJSON_AddNumberToObject(entry, "n_positions", (double)r->n_positions) &&
           check_add_number(entry, "mean_kl", r->mean_kl) && check_add_number(entry, "max_kl", r->max_kl) &&
           cJSON_AddNumberToObject(entry, "max_kl_index", (double)r->max_kl_index) &&
           cJSON_AddNumberToObject(entry, "n_same_top", (double)r->n_same_top) &&
           check_add_number(entry, "perplexity", exp(r->mean_nll[1])) &&
           check_add_number(entry, "reference_perplexity", exp(r->mean_nll[0]));
}

typedef struct text_run {
    measure_run run;
    weft_engine_options engines[MAX_CHECK_DEVICES + 2];
} text_run;

static weft_status take_text(void *user, const weft_check_text_result *result) {
    text_run *t = user;
    const weft_engine_options *engine = &t->engines[result->engine];
    progress_end();
    if (t->run.list) t->run.complete = t->run.complete && add_text(&t->run, engine, result);
    if (!t->run.settings->json) print_text(&t->run, engine, result);
    return WEFT_OK;
}

weft_status check_text(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json,
                       weft_error *error) {
    text_run t = {.run = {.settings = settings, .devices = devices, .complete = true}};
    byte_array text = {0};
    const size_t n_engines = 1 + check_engine_count(settings, devices);
    for (size_t i = 0; i < n_engines; i++) {
        t.engines[i] = check_engine(settings, devices, i == 0 ? 0 : i - 1);
        t.engines[i].precision = i == 0 || settings->engine.precision == 1 ? WEFT_EXACT : WEFT_FAST;
    }
    if (json && !(t.run.list = cJSON_AddArrayToObject(json, "text"))) return no_json_memory(error);
    weft_status status = read_file(settings->text, &text, error);
    if (status == WEFT_OK)
        status = weft_check_text(model, t.engines, n_engines, text.data, text.size - 1, take_text, check_show_tokens, &t, error);
    progress_end();
    bytes_free(&text);
    return status != WEFT_OK || t.run.complete ? status : no_json_memory(error);
}
