/* weft check --ops: the op table's cases on each device. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"

typedef struct table_run {
    const check_settings *settings;
    const char *device;
    cJSON *cases; /* NULL: text */
    bool complete;
} table_run;

static void print_case(const table_run *run, const weft_check_result *result) {
    if (result->skipped) {
        if (run->settings->verbose) show_line(stdout, "skip  %-48s %s\n", result->name, result->skipped);
        return;
    }
    if (result->passed && !run->settings->verbose) return;
    printf("%s  %-48s nmse %.2e (limit %.0e), error %.2e of row RMS (limit %.0e)  %s\n", result->passed ? "ok  " : "FAIL",
           result->name, result->nmse, result->nmse_limit, result->error, result->error_limit, result->kernel);
    if (!result->passed)
        show_line(stdout, "      %s; worst at [%lld, %lld]: %.9g, oracle %.9g; seed %llu\n", result->failure,
                  (long long)result->worst_column, (long long)result->worst_row, result->worst_value, result->worst_oracle,
                  (unsigned long long)result->seed);
}

static bool add_case(const table_run *run, const weft_check_result *result) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(run->cases, entry)) return false;
    bool complete = cJSON_AddStringToObject(entry, "device", run->device) &&
                    cJSON_AddStringToObject(entry, "op", weft_op_name(result->op)) &&
                    cJSON_AddStringToObject(entry, "case", result->name) && cJSON_AddBoolToObject(entry, "passed", result->passed);
    if (result->skipped) return complete && cJSON_AddStringToObject(entry, "skipped", result->skipped);
    if (result->failure) complete = complete && cJSON_AddStringToObject(entry, "failure", result->failure);
    return complete && cJSON_AddStringToObject(entry, "kernel", result->kernel ? result->kernel : "") &&
           cJSON_AddNumberToObject(entry, "nmse", result->nmse) &&
           cJSON_AddNumberToObject(entry, "nmse_limit", result->nmse_limit) &&
           cJSON_AddNumberToObject(entry, "error", result->error) &&
           cJSON_AddNumberToObject(entry, "error_limit", result->error_limit) &&
           cJSON_AddNumberToObject(entry, "seed", (double)result->seed);
}

static weft_status take_case(void *user, const weft_check_result *result) {
    table_run *run = user;
    if (!run->cases)
        print_case(run, result);
    else
        run->complete = run->complete && add_case(run, result);
    return interrupted() ? WEFT_CANCELLED : WEFT_OK;
}

weft_status check_table(const check_settings *settings, const check_devices *devices, bool *failed, weft_error *error) {
    cJSON *json = settings->json ? cJSON_CreateObject() : NULL;
    table_run run = {.settings = settings, .complete = true};
    weft_check_summary sum = {0};
    weft_status status = WEFT_OK;
    if (settings->json) {
        run.cases = !json || !check_json_devices(json, devices) ? NULL : cJSON_AddArrayToObject(json, "cases");
        if (!run.cases) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    }
    for (size_t i = 0; i < devices->count && status == WEFT_OK; i++) {
        weft_check_summary summary = {0};
        run.device = devices->infos[i].id;
        status = weft_check_ops(devices->devices[i], &settings->table, take_case, &run, &summary, error);
        if (status == WEFT_OK && !settings->json)
            printf("%s%s%zu passed, %zu failed, %zu skipped\n", devices->count > 1 ? run.device : "",
                   devices->count > 1 ? ": " : "", summary.n_passed, summary.n_failed, summary.n_skipped);
        sum.n_passed += summary.n_passed;
        sum.n_failed += summary.n_failed;
        sum.n_skipped += summary.n_skipped;
        *failed = *failed || summary.n_failed > 0 || summary.n_passed == 0;
    }
    if (status != WEFT_OK || !json) {
        cJSON_Delete(json);
        return status;
    }
    bool complete = run.complete && cJSON_AddNumberToObject(json, "n_passed", (double)sum.n_passed) &&
                    cJSON_AddNumberToObject(json, "n_failed", (double)sum.n_failed) &&
                    cJSON_AddNumberToObject(json, "n_skipped", (double)sum.n_skipped);
    return json_print(json, complete) ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}
