/* weft check: compares a model node by node, or every op, on devices with the double-precision oracle. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"

/* ---- Devices ---- */

static weft_status open_devices(weft_runtime *runtime, const check_settings *settings, check_devices *devices, weft_error *error) {
    weft_device_options chosen = device_options(&settings->engine);
    const char *place = settings->engine.backend;
    for (;;) {
        char name[WEFT_NAME_SIZE];
        size_t length = strcspn(place, ",");
        if (length == 0 || length >= sizeof name)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "--on %s: a list of devices has commas between names",
                             settings->engine.backend);
        if (devices->count == MAX_CHECK_DEVICES)
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "--on: more than %d devices", MAX_CHECK_DEVICES);
        snprintf(name, sizeof name, "%.*s", (int)length, place);
        weft_device **device = &devices->devices[devices->count];
        weft_status status = weft_device_open(runtime, name, &chosen, device, error);
        if (status != WEFT_OK) return status;
        status = weft_device_describe(*device, &devices->infos[devices->count++], error);
        if (status != WEFT_OK) return status;
        if (place[length] == '\0') return WEFT_OK;
        place += length + 1;
    }
}

bool check_json_devices(cJSON *json, const check_devices *devices) {
    cJSON *list = cJSON_AddArrayToObject(json, "devices");
    bool complete = list != NULL;
    for (size_t i = 0; complete && i < devices->count; i++) {
        const weft_device_info *info = &devices->infos[i];
        cJSON *entry = cJSON_CreateObject();
        complete = entry && cJSON_AddItemToArray(list, entry) && cJSON_AddStringToObject(entry, "id", info->id) &&
                   json_add_text(entry, "name", info->name, strlen(info->name)) &&
                   json_add_text(entry, "driver", info->driver, strlen(info->driver)) &&
                   json_add_text(entry, "features", info->features, strlen(info->features)) &&
                   cJSON_AddNumberToObject(entry, "memory_total", (double)info->memory_total);
    }
    return complete;
}

/* ---- Engines ---- */

size_t check_engine_count(const check_settings *settings, const check_devices *devices) {
    return devices->count + (settings->engine.place.n > 0 ? 1 : 0);
}

const char *check_engine_name(const check_settings *settings, const check_devices *devices, size_t index) {
    return index < devices->count ? devices->infos[index].id : settings->engine.place.given;
}

bool check_show_tokens(void *user, uint64_t done, uint64_t total) {
    static char unit[] = "tokens";
    (void)user;
    return progress_bar(unit, done, total);
}

weft_engine_options check_engine(const check_settings *settings, const check_devices *devices, size_t index) {
    weft_engine_options options = engine_options(&settings->engine);
    options.device = NULL;
    if (index < devices->count) {
        options.device = devices->infos[index].id;
        options.stages = NULL;
        options.n_stages = 0;
    }
    options.max_rows = settings->walk.max_rows;
    options.page_size = settings->walk.page_size;
    options.progress = check_show_tokens;
    return options;
}

/* ---- The command ---- */

static int check_usage(const weft_command *command, check_settings *settings) {
    if (settings->model && settings->ops) return usage_error(command, "a model or --ops, not both");
    const weft_check_options *table = &settings->table;
    if (settings->model && (table->op || table->type || table->name || table->quick || table->large))
        return usage_error(command, "--op, --type, --case, --quick and --large choose cases of the op table; not with a model");
    if (table->quick && table->large) return usage_error(command, "--quick or --large, not both");
    bool others = settings->widths || settings->bisect || settings->text || settings->record || settings->replay ||
                  settings->dumps.n + settings->repros.n > 0;
    if (settings->engine.place.n > 0 && settings->n_greedy == 0 && !settings->text)
        return usage_error(command, "--place goes with --greedy or --text, which run whole models");
    if (!settings->model && (settings->n_greedy > 0 || settings->walk.fused || settings->walk.prompt || settings->html || others))
        return usage_error(
            command,
            "--greedy, --fused, --prompt, --html, --bisect, --dump, --repro, --record, --replay, --widths and --text need a model");
    if (settings->nodes == CHECK_UNSAID) settings->nodes = others ? CHECK_NONE : CHECK_LAYERS;
    if (settings->model && settings->nodes == CHECK_NONE && settings->n_greedy == 0 && !others)
        return usage_error(command,
                           "--nodes none leaves nothing to check but with --greedy, --record, --widths or another such option");
    if (settings->record && strchr(settings->engine.backend, ',')) return usage_error(command, "--record takes one device");
    if (settings->replay && (settings->record || settings->walk.fused || settings->walk.prompt))
        return usage_error(command, "--replay has its own prompt, and does not go with --record, --fused and --prompt");
    if (settings->walk.fused && strchr(settings->engine.backend, ','))
        return usage_error(command, "--fused holds a device's fused nodes against their parts: it takes one device");
    return check_case_names(command, settings->table.op, settings->table.type);
}

static int parse(const weft_command *command, check_settings *settings, int argc, char **argv) {
    engine_settings *engine = &settings->engine;
    option_spec options[MAX_OPTIONS] = {
        {"on", 0, OPTION_TEXT, &engine->backend, 0, 0, "A,B,...",
         "the devices; the first is what others are held against; default cpu"},
        {"precision", 0, OPTION_CHOICE, &engine->precision, 0, 0, "fast|exact",
         "exact gives the same bits on every backend; default exact, of --text fast"},
        {"json", 0, OPTION_FLAG, &settings->json, 0, 0, NULL, "one JSON object"},
        {"html", 0, OPTION_TEXT, &settings->html, 0, 0, "FILE", "also write the results of a model's check as a page of HTML"},
        {"verbose", 'v', OPTION_FLAG, &settings->verbose, 0, 0, NULL,
         "print the places of the worst elements, and cases that pass"},
        {"prompt", 'p', OPTION_TEXT, &settings->walk.prompt, 0, 0, NULL, "the prompt for the model; default a sentence"},
        {"steps", 'n', OPTION_COUNT, &settings->walk.n_decode, 1, 65536, NULL,
         "number of steps of one row after the prompt; default 3"},
        {"nodes", 0, OPTION_CHOICE, &settings->nodes, 0, 0, "layers|all|none",
         "print a line for each layer (its worst node), or for each node; default layers; none with --record, --widths, --text, "
         "--dump or --repro"},
        {"fused", 0, OPTION_FLAG, &settings->walk.fused, 0, 0, NULL, "compare each fused node with its unfused parts instead"},
        {"greedy", 0, OPTION_COUNT, &settings->n_greedy, 1, 1048576, NULL, "then compare N greedy tokens"},
        {"bisect", 0, OPTION_FLAG, &settings->bisect, 0, 0, NULL,
         "swap one op, layer and kernel at a time for the oracle, and name the wrong one"},
        {"dump", 0, OPTION_TEXTS, &settings->dumps, 0, 0, "NODE[:OUTPUT]=FILE",
         "write a node's values on the first device as FILE.npy (NumPy)"},
        {"repro", 0, OPTION_TEXTS, &settings->repros, 0, 0, "[NODE=]FILE",
         "write a node (or the first wrong one) with its inputs and weights; `weft check FILE` runs it alone"},
        {"at-step", 0, OPTION_COUNT, &settings->at_step, 0, 131072, NULL,
         "the step of --dump and --repro; default 0, the prompt's first"},
        {"record", 0, OPTION_TEXT, &settings->record, 0, 0, "FILE",
         "record the results of every node in a golden, for --replay on another machine"},
        {"replay", 0, OPTION_TEXT, &settings->replay, 0, 0, "FILE",
         "compare devices with a golden of the same model; its prompt and precision"},
        {"widths", 0, OPTION_FLAG, &settings->widths, 0, 0, NULL,
         "compare rows alone, together and in chunks of a prompt: equal bits, tokens/s"},
        {"text", 0, OPTION_TEXT, &settings->text, 0, 0, "FILE",
         "compare the probabilities over a text with the first device's in exact; default fast"},
        {"max-rows", 0, OPTION_POWER, &settings->walk.max_rows, 1, 512, NULL,
         "the most tokens in a step, a power of two; default 512, of --widths 64"},
        {"page-size", 0, OPTION_COUNT, &settings->walk.page_size, 1, 65536, NULL,
         "positions a KV page, a power of two; default 64"},
        {"ops", 0, OPTION_FLAG, &settings->ops, 0, 0, NULL, "check the cases of the op table; the default without a model"},
        {"op", 0, OPTION_TEXT, &settings->table.op, 0, 0, "NAME", "only cases of this op"},
        {"type", 0, OPTION_TEXT, &settings->table.type, 0, 0, "NAME", "only cases with weights of this type"},
        {"seed", 0, OPTION_COUNT64, &settings->table.seed, 0, 0, NULL, "seed of the cases' random data; default 1"},
        {"case", 0, OPTION_TEXT, &settings->table.name, 0, 0, NULL, "only cases whose names contain TEXT"},
        {"quick", 0, OPTION_FLAG, &settings->table.quick, 0, 0, NULL, "a subset of the cases"},
        {"large", 0, OPTION_FLAG, &settings->table.large, 0, 0, NULL,
         "the cases that `weft bench --ops` times instead; seconds or minutes for each"},
    };
    size_t n_own = 0;
    while (options[n_own].name) n_own++;
    size_t n_options = place_option_add(engine, options, device_options_add(engine, options, n_own));
    int code = options_parse_some(command, options, n_options, &settings->model, 0, 1, argc, argv);
    if (code >= 0) return code;
    settings->table.precision = settings->walk.precision = engine->precision != 0 ? WEFT_EXACT : WEFT_FAST;
    return check_usage(command, settings);
}

static int run(const weft_command *command, int argc, char **argv) {
    check_settings settings = {.engine = {.backend = "cpu", .precision = -1}, .nodes = CHECK_UNSAID};
    int code = parse(command, &settings, argc, argv);
    if (code >= 0) return code;

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    check_devices devices = {.count = 0};
    bool failed = false;
    interrupt_install();
    weft_status status = open_runtime(settings.engine.plugin, &runtime, &error);
    if (status == WEFT_OK) status = open_devices(runtime, &settings, &devices, &error);
    if (status == WEFT_OK)
        status = settings.model && check_is_reproduction(settings.model) ? check_reproduction(&settings, &devices, &failed, &error)
                 : settings.model ? check_model(&settings, runtime, &devices, &failed, &error)
                                  : check_table(&settings, &devices, &failed, &error);
    progress_end();
    for (size_t i = 0; i < MAX_CHECK_DEVICES; i++) weft_device_close(devices.devices[i]);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) return fail(&error);
    return failed ? EXIT_FAILED : EXIT_DONE;
}

const weft_command command_check = {"check", "[MODEL | FILE] [options]",
                                    "Checks every node of a model, or every op, on devices against the double-precision oracle "
                                    "(tools/check, a script of the source tree, runs weft's own tests instead).",
                                    run};
