/* weft check MODEL: prints the nodes of real steps, as text or as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"

enum {
    ALONE = CHECK_ALONE,
    IN_STEP = CHECK_IN_STEP,
    DRIFT = CHECK_DRIFT,
    PARTS = CHECK_PARTS,
    FUSED = CHECK_FUSED,
    N_MEASURES = CHECK_N_MEASURES
};
static const char *const measure_texts[N_MEASURES] = {"by itself", "in its step", "against the first device, end to end",
                                                      "its parts", "against its parts"};

/* A line of the output: one node, or for each measure the worst node of a layer. */
typedef struct line {
    bool used;
    char name[WEFT_NAME_SIZE], kernel[WEFT_NAME_SIZE], skipped[160];
    int32_t layer, step, n_rows;
    weft_op op;
    weft_check_measure measures[N_MEASURES], difference;
    char measured[N_MEASURES][WEFT_NAME_SIZE]; /* the node of each measure */
    bool passed;
} line;

typedef struct model_run {
    const check_settings *settings;
    const check_devices *devices;
    line lines[MAX_CHECK_DEVICES];
    cJSON *nodes; /* NULL: there is no JSON */
    check_heat heat;
    bool complete;
    int32_t printed_step;
} model_run;

/* The larger of a measure's nmse and error, as a share of the limit. */
static double share(const weft_check_measure *measure) {
    if (!measure->present) return -1.0;
    if (measure->failure) return INFINITY;
    double nmse = measure->nmse_limit > 0.0 ? measure->nmse / measure->nmse_limit : 0.0;
    return fmax(nmse, measure->error_limit > 0.0 ? measure->error / measure->error_limit : 0.0);
}

/* ---- Text ---- */

static void print_numbers(const weft_check_measure *measure) {
    if (measure->present)
        printf("  %8.1e %8.1e", measure->nmse, measure->error);
    else
        printf("  %8s %8s", "-", "-");
}

static void print_heading(const model_run *run, const line *l) {
    bool fused = run->settings->walk.fused;
    printf("step %d of %d row%s\n", (int)l->step, (int)l->n_rows, l->n_rows == 1 ? "" : "s");
    printf("  %-5s %-22s %-10s  %-17s  %-17s  %-17s  %s\n", "layer", run->settings->nodes == CHECK_ALL ? "node" : "worst node",
           "device", fused ? "its parts" : "by itself", fused ? "fused" : "in its step", fused ? "against its parts" : "end to end",
           "limits");
    printf("  %-5s %-22s %-10s", "", "", "");
    for (int i = 0; i < 4; i++) printf("  %8s %8s", "nmse", "error");
    printf("\n");
}

static void print_worst(const weft_check_measure *m) {
    printf("          nmse %.2e (limit %.1e), error %.2e (limit %.1e), worst in output %d at [%lld, %lld]: %.9g for %.9g\n",
           m->nmse, m->nmse_limit, m->error, m->error_limit, (int)m->worst_output, (long long)m->worst_column,
           (long long)m->worst_row, m->worst_value, m->worst_expected);
}

static void print_line(model_run *run, const line *l, size_t device) {
    static const int plain[] = {ALONE, IN_STEP, DRIFT}, fused[] = {PARTS, ALONE, FUSED};
    const int *columns = run->settings->walk.fused ? fused : plain;
    char layer[16] = "-";
    if (run->printed_step != l->step) print_heading(run, l);
    run->printed_step = l->step;
    if (l->layer >= 0) snprintf(layer, sizeof layer, "%d", (int)l->layer);
    printf("  %-5s %-22s %-10s", layer, l->name, run->devices->infos[device].id);
    for (int i = 0; i < 3; i++) print_numbers(&l->measures[columns[i]]);
    int of_limits = l->measures[ALONE].present ? ALONE : l->measures[IN_STEP].present ? IN_STEP : DRIFT;
    const weft_check_measure *limits = &l->measures[of_limits];
    printf("  %8.0e %8.0e%s\n", limits->nmse_limit, limits->error_limit, l->passed ? "" : "  FAIL");
    if (l->skipped[0]) show_line(stdout, "        not run by itself: %s\n", l->skipped);
    for (int i = 0; i < N_MEASURES; i++) {
        const weft_check_measure *m = &l->measures[i];
        if (!m->failure && !(run->settings->verbose && m->present)) continue;
        show_line(stdout, "        %s, %s%s%s\n", l->measured[i], run->settings->replay ? "against the golden" : measure_texts[i],
                  m->failure ? ": " : "", m->failure ? m->failure : "");
        print_worst(m);
    }
    if (!run->settings->verbose || !l->difference.present) return;
    printf("        by itself, against the first device by itself\n");
    print_worst(&l->difference);
}

/* ---- JSON ---- */

bool check_add_number(cJSON *object, const char *name, double value) {
    return isfinite(value) ? cJSON_AddNumberToObject(object, name, value) != NULL : cJSON_AddNullToObject(object, name) != NULL;
}

static bool add_measure(cJSON *object, const char *name, const weft_check_measure *m, bool limits) {
    if (!m->present) return true;
    cJSON *entry = cJSON_AddObjectToObject(object, name);
    bool complete =
        entry && check_add_number(entry, "nmse", m->nmse) && check_add_number(entry, "error", m->error) &&
        check_add_number(entry, "worst_output", m->worst_output) && check_add_number(entry, "worst_row", (double)m->worst_row) &&
        check_add_number(entry, "worst_column", (double)m->worst_column) &&
        check_add_number(entry, "worst_value", m->worst_value) && check_add_number(entry, "worst_expected", m->worst_expected);
    if (limits)
        complete = complete && check_add_number(entry, "nmse_limit", m->nmse_limit) &&
                   check_add_number(entry, "error_limit", m->error_limit);
    if (m->failure) complete = complete && cJSON_AddStringToObject(entry, "failure", m->failure);
    return complete;
}

static bool add_line(const model_run *run, const line *l, size_t device) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(run->nodes, entry)) return false;
    bool complete = cJSON_AddNumberToObject(entry, "step", l->step) && cJSON_AddNumberToObject(entry, "n_rows", l->n_rows) &&
                    cJSON_AddNumberToObject(entry, "layer", l->layer) && cJSON_AddStringToObject(entry, "name", l->name) &&
                    cJSON_AddStringToObject(entry, "op", weft_op_name(l->op)) &&
                    cJSON_AddStringToObject(entry, "device", run->devices->infos[device].id) &&
                    cJSON_AddStringToObject(entry, "kernel", l->kernel) && cJSON_AddBoolToObject(entry, "passed", l->passed);
    if (l->skipped[0]) complete = complete && cJSON_AddStringToObject(entry, "skipped", l->skipped);
    for (int i = 0; i < N_MEASURES && complete; i++) complete = add_measure(entry, check_measure_names[i], &l->measures[i], true);
    return complete && add_measure(entry, "difference", &l->difference, false);
}

/* ---- Lines ---- */

static void flush_lines(model_run *run) {
    for (size_t i = 0; i < run->devices->count; i++) {
        line *l = &run->lines[i];
        if (!l->used) continue;
        if (!run->settings->json) print_line(run, l, i);
        if (run->nodes) run->complete = run->complete && add_line(run, l, i);
        l->used = false;
    }
}

static void start_line(line *l, const weft_check_node *node) {
    *l = (line){.used = true, .layer = node->layer, .step = node->step, .n_rows = node->n_rows, .passed = true};
}

static void add_to_line(line *l, const weft_check_node *node) {
    double own = -1.0, worst = -2.0;
    for (int i = 0; i < N_MEASURES; i++) {
        worst = fmax(worst, share(&l->measures[i]));
        own = fmax(own, share(check_measure_of(node, i)));
    }
    if (own > worst || l->name[0] == '\0' || (l->passed && !node->passed)) {
        snprintf(l->name, sizeof l->name, "%s", node->name);
        snprintf(l->kernel, sizeof l->kernel, "%s", node->kernel);
        l->op = node->op;
    }
    if (node->skipped) snprintf(l->skipped, sizeof l->skipped, "%s: %.90s", node->name, node->skipped);
    for (int i = 0; i < N_MEASURES; i++) {
        if (share(check_measure_of(node, i)) <= share(&l->measures[i])) continue;
        l->measures[i] = *check_measure_of(node, i);
        snprintf(l->measured[i], sizeof l->measured[i], "%s", node->name);
    }
    if (node->difference.nmse >= l->difference.nmse) l->difference = node->difference;
    l->passed = l->passed && node->passed;
}

static weft_status take_node(void *user, const weft_check_node *node) {
    model_run *run = user;
    const line *first = &run->lines[0];
    bool new_line = run->settings->nodes == CHECK_ALL ? run->lines[node->device].used || node->device == 0
                                                      : first->used && (first->layer != node->layer || first->step != node->step);
    progress_end();
    if (run->nodes) run->complete = run->complete && check_heat_add(&run->heat, node);
    if (new_line) flush_lines(run);
    line *l = &run->lines[node->device];
    if (!l->used) start_line(l, node);
    add_to_line(l, node);
    return WEFT_OK;
}

/* ---- The run ---- */

static weft_status walk(model_run *run, weft_model *model, weft_check_model_summary *summary, weft_error *error) {
    static char nodes[] = "nodes";
    weft_check_model_options options = run->settings->walk;
    options.progress = progress_bar;
    options.progress_user = nodes;
    weft_status status =
        weft_check_model(model, run->devices->devices, run->devices->count, &options, take_node, run, summary, error);
    progress_end();
    if (status != WEFT_OK) return status;
    flush_lines(run);
    return WEFT_OK;
}

static weft_status replay(model_run *run, weft_model *model, cJSON *json, weft_check_model_summary *summary, weft_error *error) {
    weft_check_replay_summary replayed = {0};
    weft_status status = check_replay(run->settings, model, run->devices, json, take_node, run, &replayed, error);
    if (status != WEFT_OK) return status;
    flush_lines(run);
    *summary = replayed.nodes;
    if (!run->settings->json) printf("%zu of %zu results have the recorded bits\n", replayed.n_same_bits, replayed.n_results);
    return WEFT_OK;
}

static void print_summary(const model_run *run, const weft_check_model_summary *summary) {
    printf("%zu passed, %zu failed, %zu skipped\n", summary->n_passed, summary->n_failed, summary->n_skipped);
    if (summary->failed)
        printf("the first node over its limit is %s on %s in step %d\n", summary->first_name,
               run->devices->infos[summary->first_device].id, (int)summary->first_step);
    if (summary->not_finite_name[0])
        printf("NaN or infinity first appear in the result of %s on %s in step %d\n", summary->not_finite_name,
               run->devices->infos[summary->not_finite_device].id, (int)summary->not_finite_step);
}

static bool add_place(const model_run *run, cJSON *json, const char *what, const char *name, size_t device, int32_t step) {
    if (!name[0]) return cJSON_AddNullToObject(json, what) != NULL;
    cJSON *place = cJSON_AddObjectToObject(json, what);
    return place && cJSON_AddStringToObject(place, "name", name) &&
           cJSON_AddStringToObject(place, "device", run->devices->infos[device].id) && cJSON_AddNumberToObject(place, "step", step);
}

static bool add_summary(const model_run *run, cJSON *json, const weft_check_model_summary *summary) {
    return cJSON_AddNumberToObject(json, "n_passed", (double)summary->n_passed) &&
           cJSON_AddNumberToObject(json, "n_failed", (double)summary->n_failed) &&
           cJSON_AddNumberToObject(json, "n_skipped", (double)summary->n_skipped) &&
           add_place(run, json, "first_failure", summary->failed ? summary->first_name : "", summary->first_device,
                     summary->first_step) &&
           add_place(run, json, "first_not_finite", summary->not_finite_name, summary->not_finite_device, summary->not_finite_step);
}

static bool add_model(cJSON *json, const check_settings *settings, weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    return json_add_text(json, "weft", weft_version_text(), strlen(weft_version_text())) &&
           json_add_text(json, "model", settings->model, strlen(settings->model)) &&
           json_add_text(json, "family", info.family, strlen(info.family)) &&
           json_add_text(json, "name", info.name, strlen(info.name)) && cJSON_AddNumberToObject(json, "n_layers", info.n_layers) &&
           cJSON_AddStringToObject(json, "precision", settings->walk.precision == WEFT_EXACT ? "exact" : "fast");
}

static cJSON *start_json(const check_settings *settings, weft_model *model, const check_devices *devices, model_run *run) {
    cJSON *json = cJSON_CreateObject();
    if (json && add_model(json, settings, model) && check_json_devices(json, devices) &&
        (run->nodes = cJSON_AddArrayToObject(json, "nodes")))
        return json;
    cJSON_Delete(json);
    return NULL;
}

static weft_status no_json_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}

/* Everything that the settings ask for, in this order. */
static weft_status run_all(model_run *run, weft_model *model, cJSON *json, bool *failed, weft_error *error) {
    const check_settings *settings = run->settings;
    const check_devices *devices = run->devices;
    weft_check_model_summary summary = {0};
    check_culprit culprit = {.step = 0};
    weft_status status = WEFT_OK;
    if (settings->nodes != CHECK_NONE || settings->replay) {
        status = settings->replay ? replay(run, model, json, &summary, error) : walk(run, model, &summary, error);
        *failed = *failed || summary.failed || summary.n_passed == 0;
        if (status == WEFT_OK && !settings->json) print_summary(run, &summary);
    }
    if (status == WEFT_OK && json)
        run->complete = run->complete && add_summary(run, json, &summary) && check_heat_json(&run->heat, devices, json);
    if (status == WEFT_OK && settings->record) status = check_record(settings, model, devices, json, error);
    if (summary.failed) {
        snprintf(culprit.node, sizeof culprit.node, "%s", summary.first_name);
        culprit.step = summary.first_step;
    }
    if (status == WEFT_OK && settings->bisect) status = check_bisect(settings, model, devices, json, &culprit, failed, error);
    if (status == WEFT_OK && settings->dumps.n + settings->repros.n > 0)
        status = check_nodes_write(settings, model, devices, &culprit, json, error);
    if (status == WEFT_OK && settings->n_greedy > 0) status = check_greedy(settings, model, devices, json, failed, error);
    if (status == WEFT_OK && settings->widths) status = check_widths(settings, model, devices, json, failed, error);
    if (status == WEFT_OK && settings->text) status = check_text(settings, model, devices, json, error);
    return status == WEFT_OK && !run->complete ? no_json_memory(error) : status;
}

weft_status check_model(const check_settings *settings, weft_runtime *runtime, const check_devices *devices, bool *failed,
                        weft_error *error) {
    static model_run run;
    run = (model_run){.settings = settings, .devices = devices, .complete = true, .printed_step = -1};
    weft_model *model = NULL;
    weft_status status = weft_model_open(runtime, settings->model, &model, error);
    cJSON *json = NULL;
    if (status == WEFT_OK && (settings->json || settings->html) && !(json = start_json(settings, model, devices, &run)))
        status = no_json_memory(error);
    if (status == WEFT_OK) status = run_all(&run, model, json, failed, error);
    if (status == WEFT_OK && json) cJSON_AddBoolToObject(json, "passed", !*failed);
    if (status == WEFT_OK && settings->html) status = check_html(settings->html, json, error);
    weft_model_close(model);
    check_heat_free(&run.heat);
    if (status != WEFT_OK || !settings->json) {
        cJSON_Delete(json);
        return status;
    }
    return json_print(json, true) ? WEFT_OK : no_json_memory(error);
}
