/* weft bench --ops: times the cases of the op table and compares them with the device's read bandwidth and with
 * the highest rate of arithmetic among them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "bench.h"

typedef struct timed_case {
    weft_bench_result result;
    char name[160], kernel[160], skipped[500]; /* copies, since the texts of `result` live only during the report */
} timed_case;

typedef struct table {
    const weft_bench_options *options;
    weft_device_info device;
    double read_bandwidth; /* bytes/s; 0: unknown */
    timed_case *cases;
    size_t n_cases, capacity;
    const timed_case *best; /* the case with the highest rate of arithmetic; NULL: nothing was timed */
    bool complete;          /* false: out of memory */
    uint64_t done;          /* cases that the progress bar shows */
} table;

static double bytes_per_s(const weft_bench_result *result) {
    return result->us_median > 0 ? (double)result->bytes * 1e6 / result->us_median : 0;
}

static double operations_per_s(const weft_bench_result *result) {
    return result->us_median > 0 ? (double)result->operations * 1e6 / result->us_median : 0;
}

double share(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

static bool may_be_cached(const weft_bench_result *result) {
    return result->own_bytes < CACHE_BYTES;
}

static weft_status take_case(void *user, const weft_bench_result *result) {
    table *t = user;
    if (t->n_cases == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        timed_case *cases = realloc(t->cases, capacity * sizeof *cases);
        if (!cases) {
            t->complete = false;
            return WEFT_OUT_OF_MEMORY;
        }
        t->cases = cases;
        t->capacity = capacity;
    }
    timed_case *timed = &t->cases[t->n_cases++];
    *timed = (timed_case){.result = *result};
    snprintf(timed->name, sizeof timed->name, "%s", result->name);
    snprintf(timed->kernel, sizeof timed->kernel, "%s", result->kernel ? result->kernel : "");
    snprintf(timed->skipped, sizeof timed->skipped, "%s", result->skipped ? result->skipped : "");
    return interrupted() ? WEFT_CANCELLED : WEFT_OK;
}

static void find_best(table *t) {
    for (size_t i = 0; i < t->n_cases; i++)
        if (operations_per_s(&t->cases[i].result) > (t->best ? operations_per_s(&t->best->result) : 0)) t->best = &t->cases[i];
}

/* ---- Text ---- */

void number_text(double value, char *text, size_t size) {
    snprintf(text, size, "%.*f", value < 10 ? 3 : value < 100 ? 2 : value < 1000 ? 1 : 0, value);
}

static void print_case(const table *t, const timed_case *timed, int width) {
    const weft_bench_result *result = &timed->result;
    if (result->skipped) {
        show_line(stdout, "%-*s  not timed: %s\n", width, timed->name, timed->skipped);
        return;
    }
    char median[32], min[32], max[32], range[72];
    number_text(result->us_median, median, sizeof median);
    number_text(result->us_min, min, sizeof min);
    number_text(result->us_max, max, sizeof max);
    snprintf(range, sizeof range, "%s .. %s", min, max);
    printf("%-*s %8s  %-18s %9.3f%c %8.1f ", width, timed->name, median, range, (double)result->bytes * 1e-6,
           may_be_cached(result) ? '*' : ' ', bytes_per_s(result) * 1e-9);
    if (t->read_bandwidth > 0)
        printf("%5.1f %% ", 100 * share(bytes_per_s(result), t->read_bandwidth));
    else
        printf("%7s ", "-");
    printf("%9.1f %5.1f %%  %s\n", operations_per_s(result) * 1e-9,
           t->best ? 100 * share(operations_per_s(result), operations_per_s(&t->best->result)) : 0, timed->kernel);
}

static void print_text(const table *t) {
    bool cached = false;
    size_t width = strlen("case");
    for (size_t i = 0; i < t->n_cases; i++)
        if (strlen(t->cases[i].name) > width) width = strlen(t->cases[i].name);
    show_line(stdout, "%s: %s, %s", t->device.id, t->device.name, t->options->precision == WEFT_EXACT ? "exact" : "fast");
    if (t->read_bandwidth > 0) printf("; reads %.1f GB/s", t->read_bandwidth * 1e-9);
    printf("\n%-*s %8s  %-18s %10s %8s %7s %9s %7s  %s\n", (int)width, "case", "us a run", "range", "MB", "GB/s", "of read",
           "GFLOP/s", "of best", "kernel");
    for (size_t i = 0; i < t->n_cases; i++) {
        print_case(t, &t->cases[i], (int)width);
        cached = cached || (!t->cases[i].result.skipped && may_be_cached(&t->cases[i].result));
    }
    if (cached)
        printf("* the weights and KV caches of all the nodes of its plan are less than %d MiB: the device's caches may hold them\n",
               (int)(CACHE_BYTES >> 20));
    if (t->best)
        printf("best: %.1f GFLOP/s, the highest of these cases: %s\n", operations_per_s(&t->best->result) * 1e-9, t->best->name);
}

/* ---- JSON ---- */

static bool add_case(const table *t, cJSON *list, const timed_case *timed) {
    const weft_bench_result *result = &timed->result;
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(list, entry)) {
        cJSON_Delete(entry);
        return false;
    }
    bool complete = cJSON_AddStringToObject(entry, "op", weft_op_name(result->op)) &&
                    cJSON_AddStringToObject(entry, "case", timed->name) && cJSON_AddStringToObject(entry, "kernel", timed->kernel);
    if (result->skipped) return complete && cJSON_AddStringToObject(entry, "skipped", timed->skipped);
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"n_columns", (double)result->n_columns},
        {"us", result->us_median},
        {"us_min", result->us_min},
        {"us_max", result->us_max},
        {"rounds", result->n_rounds},
        {"nodes", result->n_nodes},
        {"own_bytes", (double)result->own_bytes},
        {"bytes", (double)result->bytes},
        {"bytes_per_s", bytes_per_s(result)},
        {"read_share", share(bytes_per_s(result), t->read_bandwidth)},
        {"operations", (double)result->operations},
        {"operations_per_s", operations_per_s(result)},
        {"best_share", t->best ? share(operations_per_s(result), operations_per_s(&t->best->result)) : 0},
    };
    for (size_t i = 0; complete && i < sizeof numbers / sizeof numbers[0]; i++)
        complete = cJSON_AddNumberToObject(entry, numbers[i].name, numbers[i].value);
    return complete && cJSON_AddBoolToObject(entry, "may_be_cached", may_be_cached(result));
}

static bool print_json(const table *t) {
    cJSON *json = cJSON_CreateObject();
    bool complete = json && cJSON_AddStringToObject(json, "device", t->device.id) &&
                    json_add_text(json, "name", t->device.name, strlen(t->device.name)) &&
                    cJSON_AddStringToObject(json, "precision", t->options->precision == WEFT_EXACT ? "exact" : "fast") &&
                    cJSON_AddNumberToObject(json, "read_bytes_per_s", t->read_bandwidth) &&
                    cJSON_AddNumberToObject(json, "best_operations_per_s", t->best ? operations_per_s(&t->best->result) : 0) &&
                    cJSON_AddStringToObject(json, "best_case", t->best ? t->best->name : "");
    cJSON *list = complete ? cJSON_AddArrayToObject(json, "cases") : NULL;
    complete = list != NULL;
    for (size_t i = 0; complete && i < t->n_cases; i++) complete = add_case(t, list, &t->cases[i]);
    return json_print(json, complete);
}

/* ---- The run ---- */

/* The library calls it between steps, too; the bar is drawn only once for each case. */
static bool show_progress(void *user, uint64_t done, uint64_t total) {
    table *t = user;
    bool news = done != t->done;
    t->done = done;
    return news ? progress_bar("cases", done, total) : !interrupted();
}

static weft_status run_table(table *t, weft_device *device, bool json, weft_error *error) {
    weft_status status = weft_device_describe(device, &t->device, error);
    if (status == WEFT_OK) status = weft_device_read_bandwidth(device, &t->read_bandwidth, error);
    if (status == WEFT_UNSUPPORTED) status = WEFT_OK;
    if (status == WEFT_OK) status = weft_bench_ops(device, t->options, take_case, t, error);
    progress_end();
    if (!t->complete) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for %zu cases", t->n_cases);
    if (status != WEFT_OK) return status;
    if (t->n_cases == 0) return weft_fail(error, WEFT_NOT_FOUND, "no case matches --op, --type and --case");
    find_best(t);
    if (!json) print_text(t);
    return !json || print_json(t) ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}

weft_status bench_table(const engine_settings *engine, const weft_bench_options *options, bool json, weft_error *error) {
    weft_bench_options shown = *options;
    weft_device_options chosen = device_options(engine);
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    table t = {.options = &shown, .complete = true};
    shown.progress = show_progress;
    shown.progress_user = &t;
    interrupt_install();
    weft_status status = open_runtime(engine->plugin, &runtime, error);
    if (status == WEFT_OK) status = weft_device_open(runtime, engine->backend ? engine->backend : "auto", &chosen, &device, error);
    if (status == WEFT_OK) status = run_table(&t, device, json, error);
    free(t.cases);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    return status;
}
