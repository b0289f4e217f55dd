/* weft check MODEL --greedy: the places where devices choose different tokens. */
#include <math.h>
#include <stdio.h>

#include <cjson/cJSON.h>

#include "check.h"

typedef struct greedy_run {
    const check_devices *devices;
    cJSON *partings; /* NULL: text */
    bool complete;
} greedy_run;

static void print_parting(const greedy_run *run, const weft_check_parting *p) {
    const char *names[2] = {run->devices->infos[0].id, run->devices->infos[p->device].id};
    printf("token %d on %s: %s, logits differ by nmse %.2e (limit %.1e), gap %.3g (a tie's is up to %.3g)\n", (int)p->index,
           names[1], p->tie ? "a tie" : "DIFFERS", p->nmse, p->nmse_limit, p->gap, p->gap_limit);
    for (int i = 0; i < 2; i++)
        printf("      %-10s chose %d; logit of %d: %.6f, of %d: %.6f\n", names[i], (int)p->tokens[i], (int)p->tokens[0],
               p->logits[i][0], (int)p->tokens[1], p->logits[i][1]);
}

static bool add_parting(const greedy_run *run, const weft_check_parting *p) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(run->partings, entry)) return false;
    bool complete = cJSON_AddStringToObject(entry, "device", run->devices->infos[p->device].id) &&
                    cJSON_AddNumberToObject(entry, "index", p->index) && cJSON_AddBoolToObject(entry, "tie", p->tie) &&
                    json_add_tokens(entry, "tokens", p->tokens, 2);
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
    if (!run->partings)
        print_parting(run, parting);
    else
        run->complete = run->complete && add_parting(run, parting);
    return WEFT_OK;
}

static bool show_tokens(void *user, uint64_t done, uint64_t total) {
    static char unit[] = "tokens";
    (void)user;
    return progress_bar(unit, done, total);
}

static bool add_summary(cJSON *json, const weft_check_greedy_summary *summary) {
    return cJSON_AddNumberToObject(json, "n_tokens", summary->n_tokens) &&
           cJSON_AddNumberToObject(json, "n_ties", (double)summary->n_ties) &&
           cJSON_AddNumberToObject(json, "n_differences", (double)summary->n_differences);
}

weft_status check_greedy(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json, bool *failed,
                         weft_error *error) {
    weft_engine_options engines[MAX_CHECK_DEVICES];
    greedy_run run = {.devices = devices, .complete = true};
    weft_check_greedy_summary summary = {0};
    for (size_t i = 0; i < devices->count; i++) {
        engines[i] = engine_options(&settings->engine);
        engines[i].device = devices->infos[i].id;
        engines[i].max_rows = settings->walk.max_rows;
        engines[i].page_size = settings->walk.page_size;
        engines[i].progress = show_tokens;
    }
    cJSON *object = json ? cJSON_AddObjectToObject(json, "greedy") : NULL;
    if (object) run.partings = cJSON_AddArrayToObject(object, "partings");
    if (json && !run.partings) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    weft_status status = weft_check_greedy(model, engines, devices->count, settings->walk.prompt, settings->n_greedy, take_parting,
                                           show_tokens, &run, &summary, error);
    progress_end();
    if (status != WEFT_OK) return status;
    *failed = *failed || summary.n_differences > 0;
    if (!json)
        printf("%d greedy tokens: %zu ties, %zu differences\n", (int)summary.n_tokens, summary.n_ties, summary.n_differences);
    else if (!run.complete || !add_summary(object, &summary))
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    return WEFT_OK;
}
