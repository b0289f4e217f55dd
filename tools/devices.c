/* weft devices: the devices that weft can run on, and which of them "auto" is for a model. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

enum { MAX_DEVICES = 64 };

static const char *const kinds[] = {
    [WEFT_DEVICE_UNKNOWN] = "unknown",
    [WEFT_DEVICE_CPU] = "cpu",
    [WEFT_DEVICE_GPU] = "gpu",
    [WEFT_DEVICE_INTEGRATED_GPU] = "integrated gpu",
    [WEFT_DEVICE_VIRTUAL_GPU] = "virtual gpu",
    [WEFT_DEVICE_SOFTWARE_GPU] = "software gpu",
    [WEFT_DEVICE_NOTHING] = "nothing",
};

static const char *kind_text(weft_device_kind kind) {
    size_t index = (size_t)kind;
    return kinds[index < sizeof kinds / sizeof kinds[0] ? index : WEFT_DEVICE_UNKNOWN];
}

/* The remark on kinds of device that a program should not offer. */
static const char *remark(weft_device_kind kind) {
    if (kind == WEFT_DEVICE_SOFTWARE_GPU) return " (the processor playing a GPU: for tests)";
    return kind == WEFT_DEVICE_NOTHING ? " (computes nothing: for tests)" : "";
}

static void print_device(const weft_device_info *info) {
    show_line(stdout, "%-10s %s%s\n", info->id, info->name[0] ? info->name : "no device", remark(info->kind));
    if (info->unusable[0]) show_line(stdout, "           cannot be used: %s\n", info->unusable);
    if (strcmp(info->stable_id, info->id) != 0) show_line(stdout, "           %s\n", info->stable_id);
    if (info->memory_total) show_line(stdout, "           %.1f GB of memory, ", (double)info->memory_total * 1e-9);
    if (info->memory_total && info->memory_free) show_line(stdout, "%.1f GB free\n", (double)info->memory_free * 1e-9);
    if (info->memory_total && !info->memory_free) show_line(stdout, "the driver does not tell how much is free\n");
    if (info->driver[0]) show_line(stdout, "           driver %s\n", info->driver);
    if (info->features[0]) show_line(stdout, "           %s\n", info->features);
}

static void print_choice(const weft_device_choice *choice) {
    if (choice->bytes.total > 0) {
        printf("           needs ");
        print_bytes(&choice->bytes);
        putchar('\n');
    }
    show_line(stdout, "           %s: %s\n", choice->chosen ? "chosen" : "not chosen", choice->reason);
}

/* An unknown text is null. */
static bool add_text(cJSON *object, const char *name, const char *text) {
    return text[0] ? json_add_text(object, name, text, strlen(text)) : cJSON_AddNullToObject(object, name) != NULL;
}

/* So is an unknown number, which is 0. */
static bool add_number(cJSON *object, const char *name, double number) {
    return number > 0 ? cJSON_AddNumberToObject(object, name, number) != NULL : cJSON_AddNullToObject(object, name) != NULL;
}

static bool add_device(cJSON *device, const weft_device_info *info) {
    return add_text(device, "id", info->id) && add_text(device, "stable_id", info->stable_id) &&
           add_text(device, "backend", info->backend) && add_text(device, "name", info->name) &&
           add_text(device, "kind", kind_text(info->kind)) && cJSON_AddBoolToObject(device, "usable", !info->unusable[0]) &&
           add_text(device, "unusable", info->unusable) && cJSON_AddBoolToObject(device, "automatic", info->automatic) &&
           add_number(device, "memory_total", (double)info->memory_total) &&
           add_number(device, "memory_free", (double)info->memory_free) && add_text(device, "driver", info->driver) &&
           add_text(device, "features", info->features) && cJSON_AddBoolToObject(device, "host_memory", info->host_memory) &&
           cJSON_AddBoolToObject(device, "host_processor", info->host_processor);
}

static bool add_choice(cJSON *device, const weft_device_choice *choice) {
    const weft_store_bytes *bytes = &choice->bytes;
    return cJSON_AddBoolToObject(device, "chosen", choice->chosen) && add_text(device, "reason", choice->reason) &&
           cJSON_AddBoolToObject(device, "fits", choice->fits) && add_number(device, "bytes_used", (double)bytes->bytes_used) &&
           add_number(device, "weights", (double)bytes->weights) && add_number(device, "states", (double)bytes->states) &&
           add_number(device, "arena", (double)bytes->arena) && add_number(device, "rings", (double)bytes->rings) &&
           add_number(device, "n_ctx_fits", choice->n_ctx_fits) && add_number(device, "weight_bytes_per_s", choice->speed);
}

static bool print_json(const weft_device_choice *list, size_t count, bool for_model) {
    cJSON *array = cJSON_CreateArray();
    bool complete = array != NULL;
    for (size_t i = 0; complete && i < count; i++) {
        cJSON *device = cJSON_CreateObject();
        complete = cJSON_AddItemToArray(array, device) && add_device(device, &list[i].device) &&
                   (!for_model || add_choice(device, &list[i]));
    }
    return json_print(array, complete);
}

static weft_status choose(weft_runtime *runtime, const char *path, const engine_settings *settings, weft_device_choice *list,
                          size_t *count, weft_error *error) {
    weft_model *model = NULL;
    const weft_engine_options options = engine_options(settings);
    weft_status status = weft_model_open(runtime, path, &model, error);
    if (status == WEFT_OK) status = weft_engine_choose(model, &options, list, MAX_DEVICES, count, error);
    weft_model_close(model);
    if (status == WEFT_OK && *count == 0)
        return weft_fail(error, WEFT_NOT_FOUND, "there is no device \"%s\"; `weft devices` lists them", settings->backend);
    return status;
}

static weft_status list_all(weft_runtime *runtime, weft_device_choice *list, size_t *count, weft_error *error) {
    static weft_device_info infos[MAX_DEVICES];
    weft_status status = weft_devices(runtime, infos, MAX_DEVICES, count, error);
    for (size_t i = 0; status == WEFT_OK && i < *count && i < MAX_DEVICES; i++) list[i].device = infos[i];
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    engine_settings settings = {0};
    bool json = false;
    option_spec options[MAX_OPTIONS] = {
        {"json", 0, OPTION_FLAG, &json, 0, 0, NULL, "a JSON array on one line; sizes are in bytes, unknown values null"},
    };
    const char *path = NULL;
    size_t n_options = engine_options_add(&settings, options, 1);
    int code = options_parse_some(command, options, n_options, &path, 0, 1, argc, argv);
    if (code >= 0) return code;

    static weft_device_choice list[MAX_DEVICES];
    size_t count = 0;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_status status = open_runtime(settings.plugin, &runtime, &error);
    if (status == WEFT_OK)
        status = path ? choose(runtime, path, &settings, list, &count, &error) : list_all(runtime, list, &count, &error);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) return fail(&error);
    if (count > MAX_DEVICES) fprintf(stderr, "weft: lists only the first %d of %zu devices\n", MAX_DEVICES, count);
    if (count > MAX_DEVICES) count = MAX_DEVICES;
    if (json) return print_json(list, count, path != NULL) ? EXIT_DONE : EXIT_FAILED;
    for (size_t i = 0; i < count; i++) {
        print_device(&list[i].device);
        if (path) print_choice(&list[i]);
    }
    return EXIT_DONE;
}

const weft_command command_devices = {
    "devices", "[MODEL] [options]",
    "Lists the devices of every backend, best first, with memory and driver, and why one cannot "
    "be used. It is no failure if none can. With a model: what it needs on each device, and which "
    "one `--backend auto` is for it, and why.",
    run};
