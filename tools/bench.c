/* weft bench: tokens/s, the share of the device's read bandwidth, the host's time for a step, and the time to load; or the speed of
 * each phase or op. */
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

#include "bench.h"
#include "os/os.h"
#include "os/usage.h"

enum { MAX_SAMPLES = 65536, PREFILL_PIECE = 2048, DEFAULT_PROMPT = 512 };

typedef struct bench_settings {
    engine_settings engine;
    int32_t n_prompt, n_predict, n_repeats;
    const char *at, *sequences;
    number_list positions, n_sequences;
    bool json, ops, profile;
    weft_bench_options table;
    float seconds;
} bench_settings;

/* The figures of several runs from one position. After summarise the values are sorted, the smallest first. */
typedef struct decode_figures {
    int32_t position;                                 /* where decoding begins */
    double prefill[MAX_REPEATS], decode[MAX_REPEATS]; /* tokens/s */
    double processor_us[MAX_REPEATS];                 /* of the whole process, for a step */
    double prefill_median, decode_median, processor_us_median;
    double host_us, host_us_99; /* for a step: the median and the 99th percentile */
} decode_figures;

typedef struct bench {
    const bench_settings *settings;
    weft_engine *engine;
    int32_t n_vocab;
    double samples[MAX_SAMPLES]; /* the host's time of each step in the current runs, us */
    size_t n_samples;
    double read_bandwidth;          /* bytes/s; 0: unknown */
    uint64_t file_bytes;            /* of weights, which were loaded */
    double model_s;                 /* to open the model */
    double host_s[1 + MAX_REPEATS]; /* of the runs from the start, the one to warm up first */
    decode_figures start, at[MAX_NUMBERS];
    together together;
} bench;

double per_second(uint64_t n, uint64_t ns) {
    return ns ? (double)n * 1e9 / (double)ns : 0;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, compare);
    if (n == 0) return 0;
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void summarise(bench *b, decode_figures *figures) {
    size_t n = (size_t)b->settings->n_repeats;
    figures->prefill_median = median(figures->prefill, n);
    figures->decode_median = median(figures->decode, n);
    figures->processor_us_median = median(figures->processor_us, n);
    figures->host_us = median(b->samples, b->n_samples);
    figures->host_us_99 = b->n_samples ? b->samples[(b->n_samples - 1) * 99 / 100] : 0;
    b->n_samples = 0;
}

/* ---- Runs ---- */

void random_tokens(weft_token *tokens, int32_t n, int32_t n_vocab, uint32_t *state) {
    for (int32_t i = 0; i < n; i++) {
        *state = *state * 1664525u + 1013904223u;
        tokens[i] = (weft_token)((*state >> 8) % (uint32_t)n_vocab);
    }
}

/* The tokens are the same in every run. They are random, since speed does not depend on them. They are added and prefilled piece by
 * piece, so that the progress bar moves. */
static weft_status prefill(const bench *b, weft_session *session, int32_t n_prompt, weft_error *error) {
    weft_token tokens[PREFILL_PIECE];
    uint32_t state = 1;
    weft_status status = WEFT_OK;
    for (int32_t done = 0; status == WEFT_OK && done < n_prompt;) {
        int32_t n = n_prompt - done < PREFILL_PIECE ? n_prompt - done : PREFILL_PIECE;
        random_tokens(tokens, n, b->n_vocab, &state);
        status = weft_session_add_tokens(session, tokens, (size_t)n, error);
        if (status == WEFT_OK) status = weft_session_prefill(session, error);
        done += n;
        if (n_prompt > PREFILL_PIECE) progress_bar("tokens", (uint64_t)done, (uint64_t)n_prompt);
    }
    progress_end();
    return status;
}

/* Reads n pieces. The host's time for the first does not count, because it may record a plan. */
static weft_status decode(bench *b, weft_session *session, int32_t n, weft_error *error) {
    weft_engine_info before, after;
    weft_piece piece = {.last = false};
    weft_status status = n > 0 ? weft_session_next(session, &piece, error) : WEFT_OK;
    weft_engine_describe(b->engine, &before);
    for (int32_t i = 1; status == WEFT_OK && i < n && !piece.last; i++) {
        status = weft_session_next(session, &piece, error);
        weft_engine_describe(b->engine, &after);
        if (after.n_steps == before.n_steps) continue;
        if (b->n_samples < MAX_SAMPLES)
            b->samples[b->n_samples++] = (double)(after.host_ns - before.host_ns) * 1e-3 / (double)(after.n_steps - before.n_steps);
        before = after;
    }
    if (status == WEFT_OK && interrupted()) return weft_fail(error, WEFT_CANCELLED, "stopped");
    return status;
}

/* Decodes, and notes speed and processor time as run number `index`. */
static weft_status measure_decode(bench *b, weft_session *session, decode_figures *figures, int32_t index, weft_error *error) {
    weft_session_timing before, after;
    weft_session_measure(session, &before);
    uint64_t begin = weft_os_processor_time();
    weft_status status = decode(b, session, b->settings->n_predict, error);
    uint64_t used = weft_os_processor_time() - begin;
    weft_session_measure(session, &after);
    figures->decode[index] = per_second(after.n_decode - before.n_decode, after.decode_ns - before.decode_ns);
    figures->processor_us[index] = b->settings->n_predict ? (double)used * 1e-3 / (double)b->settings->n_predict : 0;
    return status;
}

/* Runs number first .. first + n - 1, one after the other in a session that begins at the figures' position. */
static weft_status run_session(bench *b, decode_figures *figures, int32_t first, int32_t n, weft_error *error) {
    weft_session_options options = {.sampling.ignore_end = true};
    weft_session *session = NULL;
    weft_session_timing timing;
    weft_status status = weft_session_create(b->engine, &options, &session, error);
    if (status == WEFT_OK) interrupt_session(session);
    if (status == WEFT_OK) status = prefill(b, session, figures->position, error);
    if (status == WEFT_OK) weft_session_measure(session, &timing);
    for (int32_t i = first; status == WEFT_OK && i < first + n; i++) {
        figures->prefill[i] = per_second(timing.n_prefill, timing.prefill_ns);
        status = measure_decode(b, session, figures, i, error);
    }
    interrupt_session(NULL);
    weft_session_destroy(session);
    return status;
}

/* The bandwidth stays 0 if the backend cannot measure it, or if there are several devices. */
static weft_status measure_bandwidth(bench *b, weft_runtime *runtime, weft_error *error) {
    weft_stage_info stage;
    weft_engine_options chosen = engine_options(&b->settings->engine);
    weft_device *device = NULL;
    if (weft_engine_stage_at(b->engine, 1, &stage)) return WEFT_OK;
    weft_engine_stage_at(b->engine, 0, &stage);
    weft_status status = weft_device_open(runtime, stage.device.id, &chosen.device_options, &device, error);
    if (status == WEFT_OK) status = weft_device_read_bandwidth(device, &b->read_bandwidth, error);
    weft_device_close(device);
    return status == WEFT_UNSUPPORTED ? WEFT_OK : status;
}

/* What a start costs beyond reading the weights, in seconds. Plans are recorded, and their kernels compiled, in the first run. */
typedef struct start_figures {
    double all, model, device, plans;
} start_figures;

static start_figures start_of(bench *b, const weft_engine_info *info) {
    double later = median(b->host_s + 1, (size_t)b->settings->n_repeats);
    start_figures start = {.model = b->model_s, .device = (double)info->open_ns * 1e-9};
    if (b->host_s[0] > later) start.plans = b->host_s[0] - later;
    start.all = start.model + start.device + start.plans;
    return start;
}

/* Run `index` of those from the start; 0 is the one to warm up. */
static weft_status run_from_start(bench *b, int32_t index, weft_error *error) {
    weft_engine_info before, after;
    weft_engine_describe(b->engine, &before);
    weft_status status = run_session(b, &b->start, index > 0 ? index - 1 : 0, 1, error);
    weft_engine_describe(b->engine, &after);
    b->host_s[index] = (double)(after.host_ns - before.host_ns) * 1e-9;
    return status;
}

/* One run to warm up, then the runs that count. For each position of --at, all runs share one prefill. */
static weft_status measure(bench *b, weft_runtime *runtime, weft_error *error) {
    const bench_settings *settings = b->settings;
    b->start.position = settings->n_prompt;
    weft_status status = run_from_start(b, 0, error);
    b->n_samples = 0;
    if (status == WEFT_OK) status = measure_bandwidth(b, runtime, error);
    for (int32_t i = 0; status == WEFT_OK && i < settings->n_repeats; i++) status = run_from_start(b, i + 1, error);
    summarise(b, &b->start);
    for (int32_t i = 0; status == WEFT_OK && i < settings->positions.n; i++) {
        b->at[i].position = settings->positions.values[i];
        if (b->at[i].position < PREFILL_PIECE) status = run_session(b, &b->at[i], 0, 1, error); /* records the plans */
        b->n_samples = 0;
        if (status == WEFT_OK) status = run_session(b, &b->at[i], 0, settings->n_repeats, error);
        summarise(b, &b->at[i]);
    }
    if (status == WEFT_OK && settings->n_sequences.n > 0)
        status = together_measure(&b->together, b->engine, &settings->n_sequences, error);
    return status;
}

/* ---- Output ---- */

static void print_host(const weft_engine_info *info, const decode_figures *figures) {
    printf("host %.1f us a step (99 %%: %.1f)", figures->host_us, figures->host_us_99);
    if (!info->device.host_processor) printf(", processor time %.0f us", figures->processor_us_median);
    putchar('\n');
}

static void print_speed(const char *what, int32_t n, double middle, const double *values, int32_t n_values) {
    printf("%s %5d tokens  %10.1f tokens/s (%.1f .. %.1f)\n", what, n, middle, values[0], values[n_values - 1]);
}

static void print_devices(const weft_engine *engine) {
    weft_stage_info stage;
    const bool several = weft_engine_stage_at(engine, 1, &stage);
    for (size_t i = 0; weft_engine_stage_at(engine, i, &stage); i++) {
        show_line(stdout, "%s: %s", stage.device.id, stage.device.name);
        if (several) printf(", layers %d to %d", (int)stage.first_layer, (int)(stage.first_layer + stage.n_layers - 1));
        putchar('\n');
    }
}

static void print_text(const bench *b, const weft_engine_info *info, const start_figures *start, double share) {
    const bench_settings *settings = b->settings;
    int32_t n = settings->n_repeats;
    double decoded = b->start.decode_median * (double)info->decode_weight_bytes;
    print_devices(b->engine);
    printf("loaded %.1f MB of weights in %.2f s, %.2f GB/s\n", (double)b->file_bytes * 1e-6, (double)info->load_ns * 1e-9,
           per_second(b->file_bytes, info->load_ns) * 1e-9);
    printf("beyond reading weights a start takes %.2f s: model %.2f, device %.2f, plans and kernels %.2f\n", start->all,
           start->model, start->device, start->plans);
    print_speed("prefill", settings->n_prompt, b->start.prefill_median, b->start.prefill, n);
    print_speed("decode ", settings->n_predict, b->start.decode_median, b->start.decode, n);
    printf("a token reads %.1f MB of weights: %.1f GB/s", (double)info->decode_weight_bytes * 1e-6, decoded * 1e-9);
    if (share > 0) printf(", %.0f %% of the %.1f GB/s that the device reads", 100 * share, b->read_bandwidth * 1e-9);
    printf("\na step of one row: %zu phases, ", info->decode_phases);
    if (info->decode_dispatches) printf("%zu dispatches, ", info->decode_dispatches);
    if (info->decode_barriers) printf("%zu barriers, ", info->decode_barriers);
    print_host(info, &b->start);
    for (int32_t i = 0; i < settings->positions.n; i++) {
        const decode_figures *at = &b->at[i];
        printf("from position %5d on: prefill to there %.1f tokens/s; decode %.1f tokens/s (%.1f .. %.1f), ", at->position,
               at->prefill_median, at->decode_median, at->decode[0], at->decode[n - 1]);
        print_host(info, at);
    }
    if (b->together.n_figures > 0) together_print(&b->together);
    print_bytes(&info->bytes);
    putchar('\n');
}

bool json_add_numbers(cJSON *object, const named_number *numbers, size_t n) {
    bool complete = object != NULL;
    for (size_t i = 0; complete && i < n; i++) complete = cJSON_AddNumberToObject(object, numbers[i].name, numbers[i].value);
    return complete;
}

static bool add_decode(cJSON *object, const decode_figures *figures, int32_t n) {
    const named_number numbers[] = {
        {"prefill_tokens_per_s", figures->prefill_median},
        {"prefill_min", figures->prefill[0]},
        {"prefill_max", figures->prefill[n - 1]},
        {"decode_tokens_per_s", figures->decode_median},
        {"decode_min", figures->decode[0]},
        {"decode_max", figures->decode[n - 1]},
        {"host_us", figures->host_us},
        {"host_us_99", figures->host_us_99},
        {"processor_us", figures->processor_us_median},
    };
    return json_add_numbers(object, numbers, sizeof numbers / sizeof numbers[0]);
}

static bool add_positions(cJSON *json, const bench *b) {
    cJSON *list = cJSON_AddArrayToObject(json, "positions");
    bool complete = list != NULL;
    for (int32_t i = 0; complete && i < b->settings->positions.n; i++) {
        cJSON *entry = cJSON_CreateObject();
        complete = entry && cJSON_AddItemToArray(list, entry) && cJSON_AddNumberToObject(entry, "position", b->at[i].position) &&
                   add_decode(entry, &b->at[i], b->settings->n_repeats);
    }
    return complete;
}

static bool print_json(const bench *b, const weft_engine_info *info, const start_figures *start, double share) {
    const named_number numbers[] = {
        {"n_prompt", b->settings->n_prompt},
        {"n_predict", b->settings->n_predict},
        {"repeats", b->settings->n_repeats},
        {"decode_weight_bytes", (double)info->decode_weight_bytes},
        {"read_bytes_per_s", b->read_bandwidth},
        {"read_share", share},
        {"decode_phases", (double)info->decode_phases},
        {"decode_dispatches", (double)info->decode_dispatches},
        {"decode_barriers", (double)info->decode_barriers},
        {"load_bytes", (double)b->file_bytes},
        {"load_s", (double)info->load_ns * 1e-9},
        {"load_bytes_per_s", per_second(b->file_bytes, info->load_ns)},
        {"start_s", start->all},
        {"start_model_s", start->model},
        {"start_device_s", start->device},
        {"start_plans_s", start->plans},
    };
    const named_number bytes[] = {
        {"weights", (double)info->bytes.weights}, {"states", (double)info->bytes.states}, {"arena", (double)info->bytes.arena},
        {"rings", (double)info->bytes.rings},     {"total", (double)info->bytes.total},
    };
    cJSON *json = cJSON_CreateObject();
    bool complete = json && cJSON_AddStringToObject(json, "device", info->device.name) &&
                    cJSON_AddStringToObject(json, "backend", info->device.backend) && json_add_place(json, b->engine) &&
                    json_add_numbers(json, numbers, sizeof numbers / sizeof numbers[0]) &&
                    add_decode(json, &b->start, b->settings->n_repeats) && add_positions(json, b) &&
                    together_add(&b->together, json) &&
                    json_add_numbers(cJSON_AddObjectToObject(json, "bytes"), bytes, sizeof bytes / sizeof bytes[0]);
    return json_print(json, complete);
}

static bool print_result(bench *b) {
    weft_engine_info info;
    weft_engine_describe(b->engine, &info);
    const start_figures start = start_of(b, &info);
    double decoded = b->start.decode_median * (double)info.decode_weight_bytes;
    double share = b->read_bandwidth > 0 ? decoded / b->read_bandwidth : 0;
    if (b->settings->json) return print_json(b, &info, &start, share);
    print_text(b, &info, &start, share);
    return true;
}

/* ---- The command ---- */

/* NULL is an empty list. */
static bool parse_numbers(const char *text, long max, number_list *numbers) {
    while (text) {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || number < 1 || number > max || numbers->n == MAX_NUMBERS) return false;
        numbers->values[numbers->n++] = (int32_t)number;
        if (*end && *end != ',') return false;
        text = *end ? end + 1 : NULL;
    }
    return true;
}

/* Without --ctx the context has room for all runs. */
static void choose_context(bench_settings *settings) {
    if (settings->engine.n_ctx != 0) return;
    int64_t n_ctx = (int64_t)settings->n_prompt + settings->n_predict + 1;
    for (int32_t i = 0; i < settings->positions.n; i++) {
        int64_t there = (int64_t)settings->positions.values[i] + (int64_t)settings->n_predict * settings->n_repeats + 1;
        if (there > n_ctx) n_ctx = there;
    }
    settings->engine.n_ctx = n_ctx < INT32_MAX ? (int32_t)n_ctx : INT32_MAX;
}

static int check_usage(const weft_command *command, bench_settings *settings, const char *path) {
    const weft_bench_options *table = &settings->table;
    if (settings->ops && path) return usage_error(command, "a model or --ops, not both");
    if (settings->ops && settings->profile) return usage_error(command, "--ops or --profile, not both");
    if (!settings->ops && !path) return usage_error(command, "its arguments are missing: a model, or --ops");
    if (!settings->ops && (table->op || table->type || table->name || table->quick))
        return usage_error(command, "--op, --type, --case and --quick choose cases of the op table: they go with --ops");
    if (!settings->ops && !settings->profile && settings->seconds > 0)
        return usage_error(command, "--seconds goes with --ops or --profile");
    if (!parse_numbers(settings->at, 16777216, &settings->positions))
        return usage_error(command, "--at takes up to %d positions like 100,16000, not \"%s\"", MAX_NUMBERS, settings->at);
    if (!parse_numbers(settings->sequences, MAX_SEQUENCES, &settings->n_sequences))
        return usage_error(command, "--sequences takes up to %d numbers from 1 to %d, like 8,32, not \"%s\"", MAX_NUMBERS,
                           MAX_SEQUENCES, settings->sequences);
    if (settings->engine.place.n > 0 && (settings->ops || settings->profile))
        return usage_error(command, "--ops and --profile time one device: they do not go with --place");
    if (settings->sequences && settings->n_predict == 0) return usage_error(command, "--sequences needs -n 1 or more");
    return check_case_names(command, table->op, table->type);
}

static int parse(const weft_command *command, bench_settings *settings, const char **path, int argc, char **argv) {
    weft_bench_options *table = &settings->table;
    option_spec options[MAX_OPTIONS] = {
        {"n-prompt", 'p', OPTION_COUNT, &settings->n_prompt, 1, 16777216, NULL, "number of tokens to prefill; default 512"},
        {"n-predict", 'n', OPTION_COUNT, &settings->n_predict, 0, 16777216, NULL, "number of tokens to decode; default 128"},
        {"repeat", 'r', OPTION_COUNT, &settings->n_repeats, 1, MAX_REPEATS, NULL,
         "number of runs, after one to warm up; default 5"},
        {"at", 0, OPTION_TEXT, &settings->at, 0, 0, "N,N...", "also decode from these positions on, after a prefill up to each"},
        {"sequences", 0, OPTION_TEXT, &settings->sequences, 0, 0, "N,N...",
         "also decode so many sequences together, up to 256, each after a prompt of its own"},
        {"json", 0, OPTION_FLAG, &settings->json, 0, 0, NULL, "one JSON object"},
        {"on", 0, OPTION_TEXT, &settings->engine.backend, 0, 0, "NAME", "the same as --backend"},
        {"ops", 0, OPTION_FLAG, &settings->ops, 0, 0, NULL,
         "time the cases of the op table, in the shapes of real models, instead of a model"},
        {"profile", 0, OPTION_FLAG, &settings->profile, 0, 0, NULL,
         "time each kind of phase of a step of one row instead, at the positions of --at; also with --sequences; with -p of a "
         "prompt's"},
        {"op", 0, OPTION_TEXT, &table->op, 0, 0, "NAME", "with --ops: only cases of this op"},
        {"type", 0, OPTION_TEXT, &table->type, 0, 0, "NAME", "with --ops: only cases with weights of this type"},
        {"case", 0, OPTION_TEXT, &table->name, 0, 0, NULL, "with --ops: only cases whose names contain TEXT"},
        {"quick", 0, OPTION_FLAG, &table->quick, 0, 0, NULL, "with --ops: the small cases of `weft check --quick` instead"},
        {"seconds", 0, OPTION_REAL, &settings->seconds, 0.001, 3600, NULL,
         "with --ops and --profile: seconds to time each case or phase, after warming up; default 0.25"},
    };
    size_t n_own = 0;
    while (options[n_own].name) n_own++;
    size_t n_options = place_option_add(&settings->engine, options, engine_options_add(&settings->engine, options, n_own));
    int code = options_parse_some(command, options, n_options, path, 0, 1, argc, argv);
    if (code < 0) code = place_check(command, &settings->engine);
    if (code >= 0) return code;
    table->precision = settings->engine.precision ? WEFT_EXACT : WEFT_FAST;
    table->seconds = (double)settings->seconds;
    return check_usage(command, settings, *path);
}

static int run_ops(const bench_settings *settings) {
    weft_error error = {0};
    weft_status status = bench_table(&settings->engine, &settings->table, settings->json, &error);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

static int run_profile(const bench_settings *settings, const char *path) {
    const engine_settings *engine = &settings->engine;
    const int32_t max_rows = engine->max_rows > 0 ? engine->max_rows : 512;
    weft_error error = {0};
    profile_settings profile = {.options = {.precision = engine->precision ? WEFT_EXACT : WEFT_FAST,
                                            .unfused = engine->unfused,
                                            .seconds = (double)settings->seconds},
                                .positions = settings->positions,
                                .n_sequences = settings->n_sequences,
                                .n_prefill = settings->n_prompt < max_rows ? settings->n_prompt : max_rows};
    if (profile.positions.n == 0) profile.positions.values[profile.positions.n++] = DEFAULT_PROMPT;
    weft_status status = bench_profile(engine, &profile, path, settings->json, &error);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

static weft_status create_engine(bench *b, weft_model *model, weft_error *error) {
    const bench_settings *settings = b->settings;
    weft_model_info info;
    weft_engine_options options = engine_options(&settings->engine);
    weft_status status = WEFT_OK;
    options.n_kept = -1; /* each prompt is computed */
    weft_model_describe(model, &info);
    b->n_vocab = info.n_vocab;
    b->file_bytes = info.weight_bytes;
    b->together = (together){.n_prompt = settings->n_prompt,
                             .n_predict = settings->n_predict,
                             .n_repeats = settings->n_repeats,
                             .n_vocab = info.n_vocab};
    if (settings->n_sequences.n > 0) status = together_options(model, &b->together, &settings->n_sequences, &options, error);
    return status == WEFT_OK ? weft_engine_create(model, &options, &b->engine, error) : status;
}

static int run(const weft_command *command, int argc, char **argv) {
    bench_settings settings = {.n_predict = 128, .n_repeats = 5};
    const char *path;
    int code = parse(command, &settings, &path, argc, argv);
    if (code >= 0) return code;
    if (settings.ops) return run_ops(&settings);
    if (settings.profile) return run_profile(&settings, path);
    if (settings.n_prompt == 0) settings.n_prompt = DEFAULT_PROMPT;
    choose_context(&settings);

    static bench b;
    b.settings = &settings;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    interrupt_install();
    weft_status status = open_runtime(settings.engine.plugin, &runtime, &error);
    uint64_t begin = weft_os_now();
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    b.model_s = (double)(weft_os_now() - begin) * 1e-9;
    if (status == WEFT_OK) status = create_engine(&b, model, &error);
    progress_end();
    if (status == WEFT_OK) status = measure(&b, runtime, &error);
    if (status == WEFT_OK && !print_result(&b)) status = weft_fail(&error, WEFT_OUT_OF_MEMORY, "out of memory");
    weft_engine_destroy(b.engine);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_bench = {
    "bench", "[MODEL] [options]",
    "Prefill and decode speed, the share of the read bandwidth, what a step costs the host; or the time of phases or ops.", run};
