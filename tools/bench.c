/* weft bench: tokens a second, and how much of the device's memory bandwidth that is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "command.h"

enum { MAX_REPEATS = 100 };

typedef struct bench_settings {
    engine_settings engine;
    int32_t n_prompt, n_predict, n_repeats;
    bool json;
} bench_settings;

typedef struct bench_figures {
    double prefill[MAX_REPEATS], decode[MAX_REPEATS]; /* tokens/s */
    double read_bandwidth;                            /* bytes/s; 0: unknown */
} bench_figures;

static double rate(uint64_t n, uint64_t ns) {
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

/* Tokens that are the same every run and look like no text: speed does not depend on them. */
static weft_status add_prompt(weft_session *session, int32_t n_vocab, int32_t n_prompt, weft_error *error) {
    weft_token *tokens = malloc((size_t)n_prompt * sizeof *tokens);
    if (!tokens) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for %d tokens", n_prompt);
    uint32_t state = 1;
    for (int32_t i = 0; i < n_prompt; i++) {
        state = state * 1664525u + 1013904223u;
        tokens[i] = (weft_token)((state >> 8) % (uint32_t)n_vocab);
    }
    weft_status status = weft_session_add_tokens(session, tokens, (size_t)n_prompt, error);
    free(tokens);
    return status;
}

static weft_status run_once(const bench_settings *settings, weft_engine *engine, int32_t n_vocab, double *prefill, double *decode,
                            weft_error *error) {
    weft_session_options options = {.n_predict = settings->n_predict, .ignore_end = true};
    weft_session *session = NULL;
    weft_session_timing timing;
    weft_piece piece = {.last = settings->n_predict == 0};
    weft_status status = weft_session_create(engine, &options, &session, error);
    if (status == WEFT_OK) status = add_prompt(session, n_vocab, settings->n_prompt, error);
    if (status == WEFT_OK) interrupt_session(session);
    if (status == WEFT_OK && piece.last) status = weft_session_prefill(session, error);
    while (status == WEFT_OK && !piece.last) status = weft_session_next(session, &piece, error);
    interrupt_session(NULL);
    if (status == WEFT_OK && interrupted()) status = weft_fail(error, WEFT_CANCELLED, "stopped");
    if (status == WEFT_OK) {
        weft_session_measure(session, &timing);
        *prefill = rate(timing.n_prefill, timing.prefill_ns);
        *decode = rate(timing.n_decode, timing.decode_ns);
    }
    weft_session_destroy(session);
    return status;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts; the values are then minimum first, maximum last. */
static double median(double *values, int32_t n) {
    qsort(values, (size_t)n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static bool print_result(const bench_settings *settings, weft_engine *engine, bench_figures *figures) {
    int32_t n = settings->n_repeats;
    weft_engine_info info;
    weft_engine_describe(engine, &info);
    double prefill = median(figures->prefill, n), decode = median(figures->decode, n);
    double share = figures->read_bandwidth > 0 ? decode * (double)info.decode_weight_bytes / figures->read_bandwidth : 0;
    if (!settings->json) {
        printf("%s: %s\n", info.device.id, info.device.name);
        printf("prefill %5d tokens  %10.1f tokens/s (%.1f .. %.1f)\n", settings->n_prompt, prefill, figures->prefill[0],
               figures->prefill[n - 1]);
        printf("decode  %5d tokens  %10.1f tokens/s (%.1f .. %.1f)\n", settings->n_predict, decode, figures->decode[0],
               figures->decode[n - 1]);
        printf("a token reads %.1f MB of weights: %.1f GB/s", (double)info.decode_weight_bytes * 1e-6,
               decode * (double)info.decode_weight_bytes * 1e-9);
        if (share > 0) printf(", %.0f %% of the %.1f GB/s the device reads", 100 * share, figures->read_bandwidth * 1e-9);
        putchar('\n');
        return true;
    }
    cJSON *json = cJSON_CreateObject();
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"n_prompt", settings->n_prompt},
        {"n_predict", settings->n_predict},
        {"repeats", n},
        {"prefill_tokens_per_s", prefill},
        {"prefill_min", figures->prefill[0]},
        {"prefill_max", figures->prefill[n - 1]},
        {"decode_tokens_per_s", decode},
        {"decode_min", figures->decode[0]},
        {"decode_max", figures->decode[n - 1]},
        {"decode_weight_bytes", (double)info.decode_weight_bytes},
        {"read_bytes_per_s", figures->read_bandwidth},
        {"read_share", share},
    };
    bool complete = json && cJSON_AddStringToObject(json, "device", info.device.name) &&
                    cJSON_AddStringToObject(json, "backend", info.device.backend);
    for (size_t i = 0; complete && i < sizeof numbers / sizeof numbers[0]; i++)
        complete = cJSON_AddNumberToObject(json, numbers[i].name, numbers[i].value);
    return json_print(json, complete);
}

/* A backend that cannot tell leaves 0. */
static weft_status measure_bandwidth(const bench_settings *settings, weft_engine *engine, weft_runtime *runtime,
                                     double *bytes_per_s, weft_error *error) {
    weft_engine_info info;
    weft_engine_describe(engine, &info);
    weft_engine_options chosen = engine_options(&settings->engine);
    weft_device *device = NULL;
    weft_status status = weft_device_open(runtime, info.device.id, &chosen.device_options, &device, error);
    if (status == WEFT_OK) status = weft_device_read_bandwidth(device, bytes_per_s, error);
    weft_device_close(device);
    return status == WEFT_UNSUPPORTED ? WEFT_OK : status;
}

static weft_status measure(const bench_settings *settings, weft_runtime *runtime, weft_engine *engine, int32_t n_vocab,
                           bench_figures *figures, weft_error *error) {
    double ignored[2];
    weft_status status = run_once(settings, engine, n_vocab, &ignored[0], &ignored[1], error);
    if (status == WEFT_OK) status = measure_bandwidth(settings, engine, runtime, &figures->read_bandwidth, error);
    for (int32_t i = 0; status == WEFT_OK && i < settings->n_repeats; i++)
        status = run_once(settings, engine, n_vocab, &figures->prefill[i], &figures->decode[i], error);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    bench_settings settings = {.n_prompt = 512, .n_predict = 128, .n_repeats = 5};
    option_spec options[MAX_OPTIONS] = {
        {"n-prompt", 'p', OPTION_COUNT, &settings.n_prompt, 1, 16777216, NULL, "tokens to prefill; default 512"},
        {"n-predict", 'n', OPTION_COUNT, &settings.n_predict, 0, 16777216, NULL, "tokens to decode; default 128"},
        {"repeat", 'r', OPTION_COUNT, &settings.n_repeats, 1, MAX_REPEATS, NULL, "runs, after one to warm up; default 5"},
        {"json", 0, OPTION_FLAG, &settings.json, 0, 0, NULL, "one JSON object"},
    };
    size_t n_options = engine_options_add(&settings.engine, options, 4);
    const char *path;
    int code = options_parse(command, options, n_options, &path, 1, argc, argv);
    if (code >= 0) return code;
    if (settings.engine.n_ctx == 0) settings.engine.n_ctx = settings.n_prompt + settings.n_predict + 1;

    static bench_figures figures;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_engine *engine = NULL;
    weft_model_info info = {0};
    weft_engine_options chosen = engine_options(&settings.engine);
    interrupt_install();
    weft_status status = open_runtime(settings.engine.plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    if (status == WEFT_OK) status = weft_engine_create(model, &chosen, &engine, &error);
    progress_end();
    if (status == WEFT_OK) weft_model_describe(model, &info);
    if (status == WEFT_OK) status = measure(&settings, runtime, engine, info.n_vocab, &figures, &error);
    if (status == WEFT_OK && !print_result(&settings, engine, &figures))
        status = weft_fail(&error, WEFT_OUT_OF_MEMORY, "out of memory");
    weft_engine_destroy(engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_bench = {"bench", "MODEL [options]",
                                    "Prefill and decode speed, and the share of the device's read bandwidth.", run};
