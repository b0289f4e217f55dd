/* weft check MODEL --greedy: the places where devices choose different tokens. */
#include <math.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "check.h"

typedef struct greedy_run {
    const check_settings *settings;
    const check_devices *devices;
    weft_model *model;
    cJSON *partings; /* NULL: there is no JSON */
    bool complete;
} greedy_run;

static void print_parting(const greedy_run *run, const weft_check_parting *p) {
    const char *names[2] = {check_engine_name(run->settings, run->devices, 0),
                            check_engine_name(run->settings, run->devices, p->device)};
    printf("token %d on %s: %s, logits differ by nmse %.2e (limit %.1e), gap %.3g (a tie's is up to %.3g)\n", (int)p->index,
           names[1], p->tie ? "a tie" : "DIFFERS", p->nmse, p->nmse_limit, p->gap, p->gap_limit);
    for (int i = 0; i < 2; i++)
        printf("      %-10s chose %d; logit of %d: %.6f, of %d: %.6f\n", names[i], (int)p->tokens[i], (int)p->tokens[0],
               p->logits[i][0], (int)p->tokens[1], p->logits[i][1]);
}

/* Adds "texts": of both tokens, which need not be UTF-8. */
static bool add_texts(const greedy_run *run, cJSON *entry, const weft_check_parting *p) {
    cJSON *texts = cJSON_AddArrayToObject(entry, "texts");
    for (int i = 0; i < 2 && texts; i++) {
        char text[256];
        size_t size = 0;
        cJSON *holder = cJSON_CreateObject();
        if (weft_detokenize(run->model, &p->tokens[i], 1, true, text, sizeof text, &size, NULL) != WEFT_OK) size = 0;
        bool added = holder && json_add_text(holder, "text", text, size < sizeof text ? size : sizeof text) &&
                     cJSON_AddItemToArray(texts, cJSON_DetachItemFromObject(holder, "text"));
        cJSON_Delete(holder);
        if (!added) return false;
    }
    return texts != NULL;
}

static bool add_parting(const greedy_run *run, const weft_check_parting *p) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(run->partings, entry)) return false;
    bool complete = cJSON_AddStringToObject(entry, "device", check_engine_name(run->settings, run->devices, p->device)) &&
                    cJSON_AddNumberToObject(entry, "index", p->index) && cJSON_AddBoolToObject(entry, "tie", p->tie) &&
                    json_add_tokens(entry, "tokens", p->tokens, 2) && add_texts(run, entry, p);
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"nmse", p->nmse}, {"nmse_limit", p->nmse_limit}, {"gap", p->gap}, {"gap_limit", p->gap_limit}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        complete = complete && cJSON_AddNumberToObject(entry, numbers[i].name, numbers[i].value);
    cJSON *logits = complete ? cJSON_AddArrayToObject(entry, "logits") : NULL;
    for (int i = 0; i < 2 && logits; i++) {
        cJSON *row = cJSON_CreateDoubleArray(p->logits[i], 2);
        if (!row || !cJSON_AddItemToArray(logits, row)) return false;
    }
    return logits != NULL;
}

static weft_status take_parting(void *user, const weft_check_parting *parting) {
    greedy_run *run = user;
    progress_end();
    if (!run->settings->json) print_parting(run, parting);
    if (run->partings) run->complete = run->complete && add_parting(run, parting);
    return WEFT_OK;
}

static bool add_summary(cJSON *json, const weft_check_greedy_summary *summary) {
    return cJSON_AddNumberToObject(json, "n_tokens", summary->n_tokens) &&
           cJSON_AddNumberToObject(json, "n_ties", (double)summary->n_ties) &&
           cJSON_AddNumberToObject(json, "n_differences", (double)summary->n_differences);
}

weft_status check_greedy(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json, bool *failed,
                         weft_error *error) {
    weft_engine_options engines[MAX_CHECK_DEVICES + 1];
    const size_t n_engines = check_engine_count(settings, devices);
    greedy_run run = {.settings = settings, .devices = devices, .model = model, .complete = true};
    weft_check_greedy_summary summary = {0};
    for (size_t i = 0; i < n_engines; i++) engines[i] = check_engine(settings, devices, i);
    cJSON *object = json ? cJSON_AddObjectToObject(json, "greedy") : NULL;
    if (object) run.partings = cJSON_AddArrayToObject(object, "partings");
    if (json && !run.partings) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    weft_status status = weft_check_greedy(model, engines, n_engines, settings->walk.prompt, settings->n_greedy, take_parting,
                                           check_show_tokens, &run, &summary, error);
    progress_end();
    if (status != WEFT_OK) return status;
    *failed = *failed || summary.n_differences > 0;
    if (!settings->json)
        printf("%d greedy tokens: %zu ties, %zu differences\n", (int)summary.n_tokens, summary.n_ties, summary.n_differences);
    if (json && (!run.complete || !add_summary(object, &summary)))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    return WEFT_OK;
}
