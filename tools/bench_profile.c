/* weft bench --profile: where the time of a step goes, by kind of phase. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "bench.h"

/* The texts of `result` live only during the report. */
typedef struct timed_phase {
    weft_bench_phase result;
    char name[160], first[WEFT_NAME_SIZE], kernel[160], timed_kernel[160];
} timed_phase;

typedef struct timed_step {
    weft_bench_model_options options;
    weft_bench_step result;
    timed_phase *phases;
    size_t n_phases, capacity;
} timed_step;

enum { MAX_STEPS = MAX_NUMBERS * (MAX_NUMBERS + 1) + 1 };

typedef struct profile {
    weft_device_info device;
    double read_bandwidth; /* bytes/s; 0: unknown */
    timed_step steps[MAX_STEPS];
    size_t n_steps;
    double best;   /* the highest rate of arithmetic of all phases, in operations/s */
    bool complete; /* false: out of memory */
    uint64_t done; /* phases that the progress bar shows */
} profile;

static double bytes_per_s(const weft_bench_phase *phase) {
    return phase->us_median > 0 ? (double)phase->bytes * 1e6 / phase->us_median : 0;
}

static double operations_per_s(const weft_bench_phase *phase) {
    return phase->us_median > 0 ? (double)phase->operations * 1e6 / phase->us_median : 0;
}

static double us_in_step(const weft_bench_phase *phase) {
    return phase->us_median * phase->n_in_step;
}

/* ---- The run ---- */

static weft_status take_phase(void *user, const weft_bench_phase *result) {
    profile *p = user;
    timed_step *step = &p->steps[p->n_steps - 1];
    if (step->n_phases == step->capacity) {
        size_t capacity = step->capacity ? 2 * step->capacity : 16;
        timed_phase *phases = realloc(step->phases, capacity * sizeof *phases);
        p->complete = p->complete && phases;
        if (!phases) return WEFT_OUT_OF_MEMORY;
        step->phases = phases;
        step->capacity = capacity;
    }
    timed_phase *phase = &step->phases[step->n_phases++];
    *phase = (timed_phase){.result = *result};
    snprintf(phase->name, sizeof phase->name, "%s", result->name);
    snprintf(phase->first, sizeof phase->first, "%s", result->first);
    snprintf(phase->kernel, sizeof phase->kernel, "%s", result->kernel);
    if (result->timed_kernel) snprintf(phase->timed_kernel, sizeof phase->timed_kernel, "%s", result->timed_kernel);
    if (operations_per_s(result) > p->best) p->best = operations_per_s(result);
    return interrupted() ? WEFT_CANCELLED : WEFT_OK;
}

/* The library calls it between steps, too; the bar is drawn only once for each phase. */
static bool show_progress(void *user, uint64_t done, uint64_t total) {
    profile *p = user;
    bool news = done != p->done;
    p->done = done;
    return news ? progress_bar("phases", done, total) : !interrupted();
}

static weft_status run_step(profile *p, weft_model *model, weft_device *device, const weft_bench_model_options *options,
                            weft_error *error) {
    timed_step *step = &p->steps[p->n_steps++];
    step->options = *options;
    step->options.progress = show_progress;
    step->options.progress_user = p;
    p->done = UINT64_MAX;
    weft_status status = weft_bench_model(model, device, &step->options, take_phase, p, &step->result, error);
    progress_end();
    return p->complete ? status : weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for %zu phases", step->n_phases);
}

static weft_status run_steps(profile *p, const profile_settings *settings, weft_model *model, weft_device *device,
                             weft_error *error) {
    weft_bench_model_options options = settings->options;
    weft_status status = weft_device_describe(device, &p->device, error);
    if (status == WEFT_OK) status = weft_device_read_bandwidth(device, &p->read_bandwidth, error);
    if (status == WEFT_UNSUPPORTED) status = WEFT_OK;
    for (int32_t i = 0; i < settings->positions.n && status == WEFT_OK; i++) {
        options.position = settings->positions.values[i];
        options.n_rows = options.n_sequences = 1;
        status = run_step(p, model, device, &options, error);
        for (int32_t k = 0; k < settings->n_sequences.n && status == WEFT_OK; k++) {
            options.n_rows = options.n_sequences = settings->n_sequences.values[k];
            if (options.n_rows > 1) status = run_step(p, model, device, &options, error);
        }
    }
    if (status != WEFT_OK || settings->n_prefill == 0) return status;
    options.position = 0;
    options.n_rows = settings->n_prefill;
    options.n_sequences = 1;
    return run_step(p, model, device, &options, error);
}

/* ---- Text ---- */

static void print_phase(const profile *p, const timed_step *step, const timed_phase *phase, int width) {
    const weft_bench_phase *result = &phase->result;
    char median[32], min[32], max[32], range[72], all[32];
    number_text(result->us_median, median, sizeof median);
    number_text(result->us_min, min, sizeof min);
    number_text(result->us_max, max, sizeof max);
    number_text(us_in_step(result), all, sizeof all);
    snprintf(range, sizeof range, "%s .. %s", min, max);
    printf("%-*s %4" PRId32 " %8s  %-18s %8s %5.1f %% %9.3f%c %8.1f ", width, phase->name, result->n_in_step, median, range, all,
           100 * share(us_in_step(result), step->result.sum_us), (double)result->bytes * 1e-6,
           result->own_bytes < CACHE_BYTES ? '*' : ' ', bytes_per_s(result) * 1e-9);
    if (p->read_bandwidth > 0)
        printf("%5.1f %% ", 100 * share(bytes_per_s(result), p->read_bandwidth));
    else
        printf("%7s ", "-");
    printf("%9.1f %5.1f %%  %" PRIu32 " %s", operations_per_s(result) * 1e-9, 100 * share(operations_per_s(result), p->best),
           result->kernel_number, phase->kernel);
    if (result->timed_kernel) printf(" (timed: %s)", phase->timed_kernel);
    show_line(stdout, ", %s\n", phase->first);
}

static void print_step(const profile *p, const timed_step *step) {
    const weft_bench_model_options *options = &step->options;
    const weft_bench_step *result = &step->result;
    char median[32], min[32], max[32], sum[32];
    size_t width = strlen("phase");
    for (size_t i = 0; i < step->n_phases; i++)
        if (strlen(step->phases[i].name) > width) width = strlen(step->phases[i].name);
    printf("\na step of %" PRId32 " row%s of %" PRId32 " sequence%s, from position %" PRId32 " on: %zu phases", options->n_rows,
           options->n_rows > 1 ? "s" : "", options->n_sequences, options->n_sequences > 1 ? "s" : "", options->position,
           result->n_phases);
    if (result->n_dispatches) printf(", %zu dispatches", result->n_dispatches);
    if (result->n_barriers) printf(", %zu barriers", result->n_barriers);
    printf("\n%-*s %4s %8s  %-18s %8s %7s %10s %8s %7s %9s %7s  %s\n", (int)width, "phase", "n", "us a run", "range", "us",
           "of sum", "MB", "GB/s", "of read", "GFLOP/s", "of best", "kernel, first node");
    for (size_t i = 0; i < step->n_phases; i++) print_phase(p, step, &step->phases[i], (int)width);
    number_text(result->us_median, median, sizeof median);
    number_text(result->us_min, min, sizeof min);
    number_text(result->us_max, max, sizeof max);
    number_text(result->sum_us, sum, sizeof sum);
    printf("all phases: %s us, %.1f %% of the whole step as measured: %s us (%s .. %s)\n", sum,
           100 * share(result->sum_us, result->us_median), median, min, max);
}

static void print_text(const profile *p, const profile_settings *settings) {
    bool cached = false;
    show_line(stdout, "%s: %s, %s", p->device.id, p->device.name, settings->options.precision == WEFT_EXACT ? "exact" : "fast");
    if (p->read_bandwidth > 0) printf("; reads %.1f GB/s", p->read_bandwidth * 1e-9);
    putchar('\n');
    for (size_t i = 0; i < p->n_steps; i++) {
        print_step(p, &p->steps[i]);
        for (size_t k = 0; k < p->steps[i].n_phases; k++) cached = cached || p->steps[i].phases[k].result.own_bytes < CACHE_BYTES;
    }
    if (cached)
        printf("* the weights and KV caches of all such nodes are less than %d MiB: the device's caches may hold them\n",
               (int)(CACHE_BYTES >> 20));
    printf("best: %.1f GFLOP/s, the highest of these phases\n", p->best * 1e-9);
}

/* ---- JSON ---- */

static bool add_phase(const profile *p, const timed_step *step, cJSON *list, const timed_phase *phase) {
    const weft_bench_phase *result = &phase->result;
    const named_number numbers[] = {
        {"kernel_number", result->kernel_number},
        {"n_in_step", result->n_in_step},
        {"n_columns", (double)result->n_columns},
        {"us", result->us_median},
        {"us_min", result->us_min},
        {"us_max", result->us_max},
        {"us_in_step", us_in_step(result)},
        {"sum_share", share(us_in_step(result), step->result.sum_us)},
        {"rounds", result->n_rounds},
        {"nodes", result->n_nodes},
        {"own_bytes", (double)result->own_bytes},
        {"bytes", (double)result->bytes},
        {"bytes_per_s", bytes_per_s(result)},
        {"read_share", share(bytes_per_s(result), p->read_bandwidth)},
        {"operations", (double)result->operations},
        {"operations_per_s", operations_per_s(result)},
        {"best_share", share(operations_per_s(result), p->best)},
    };
    cJSON *entry = cJSON_CreateObject();
    return entry && cJSON_AddItemToArray(list, entry) && cJSON_AddStringToObject(entry, "op", weft_op_name(result->op)) &&
           cJSON_AddStringToObject(entry, "phase", phase->name) &&
           json_add_text(entry, "first", phase->first, strlen(phase->first)) &&
           cJSON_AddStringToObject(entry, "kernel", phase->kernel) &&
           (!result->timed_kernel || cJSON_AddStringToObject(entry, "timed_kernel", phase->timed_kernel)) &&
           json_add_numbers(entry, numbers, sizeof numbers / sizeof numbers[0]) &&
           cJSON_AddBoolToObject(entry, "may_be_cached", result->own_bytes < CACHE_BYTES);
}

static bool add_step(const profile *p, cJSON *list, const timed_step *step) {
    const named_number numbers[] = {
        {"n_rows", step->options.n_rows},
        {"n_sequences", step->options.n_sequences},
        {"position", step->options.position},
        {"n_phases", (double)step->result.n_phases},
        {"n_dispatches", (double)step->result.n_dispatches},
        {"n_barriers", (double)step->result.n_barriers},
        {"us", step->result.us_median},
        {"us_min", step->result.us_min},
        {"us_max", step->result.us_max},
        {"sum_us", step->result.sum_us},
        {"sum_share", share(step->result.sum_us, step->result.us_median)},
    };
    cJSON *entry = cJSON_CreateObject();
    bool complete =
        entry && cJSON_AddItemToArray(list, entry) && json_add_numbers(entry, numbers, sizeof numbers / sizeof numbers[0]);
    cJSON *phases = complete ? cJSON_AddArrayToObject(entry, "phases") : NULL;
    complete = phases != NULL;
    for (size_t i = 0; complete && i < step->n_phases; i++) complete = add_phase(p, step, phases, &step->phases[i]);
    return complete;
}

static bool print_json(const profile *p, const profile_settings *settings) {
    cJSON *json = cJSON_CreateObject();
    bool exact = settings->options.precision == WEFT_EXACT;
    bool complete = json && cJSON_AddStringToObject(json, "device", p->device.name) &&
                    cJSON_AddStringToObject(json, "backend", p->device.backend) &&
                    cJSON_AddStringToObject(json, "precision", exact ? "exact" : "fast") &&
                    cJSON_AddNumberToObject(json, "read_bytes_per_s", p->read_bandwidth) &&
                    cJSON_AddNumberToObject(json, "best_operations_per_s", p->best);
    cJSON *list = complete ? cJSON_AddArrayToObject(json, "steps") : NULL;
    complete = list != NULL;
    for (size_t i = 0; complete && i < p->n_steps; i++) complete = add_step(p, list, &p->steps[i]);
    return json_print(json, complete);
}

weft_status bench_profile(const engine_settings *engine, const profile_settings *settings, const char *path, bool json,
                          weft_error *error) {
    static profile p;
    weft_device_options chosen = device_options(engine);
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_device *device = NULL;
    p.complete = true;
    interrupt_install();
    weft_status status = open_runtime(engine->plugin, &runtime, error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, error);
    if (status == WEFT_OK) status = weft_device_open(runtime, engine->backend ? engine->backend : "auto", &chosen, &device, error);
    if (status == WEFT_OK) status = run_steps(&p, settings, model, device, error);
    if (status == WEFT_OK && !json) print_text(&p, settings);
    if (status == WEFT_OK && json && !print_json(&p, settings))
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    for (size_t i = 0; i < p.n_steps; i++) free(p.steps[i].phases);
    weft_device_close(device);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status;
}
