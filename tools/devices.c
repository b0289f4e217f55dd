/* weft devices: the devices that weft can run on. */
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

static void print_text(const weft_device_info *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const weft_device_info *info = &list[i];
        show_line(stdout, "%-10s %s%s\n", info->id, info->name[0] ? info->name : "no device", remark(info->kind));
        if (info->unusable[0]) show_line(stdout, "           cannot be used: %s\n", info->unusable);
        if (strcmp(info->stable_id, info->id) != 0) show_line(stdout, "           %s\n", info->stable_id);
        if (info->memory_total)
            show_line(stdout, "           %.1f GB of memory, %.1f GB free\n", (double)info->memory_total * 1e-9,
                      (double)info->memory_free * 1e-9);
        if (info->driver[0]) show_line(stdout, "           driver %s\n", info->driver);
        if (info->features[0]) show_line(stdout, "           %s\n", info->features);
    }
}

/* An unknown text is null. */
static bool add_text(cJSON *object, const char *name, const char *text) {
    return text[0] ? json_add_text(object, name, text, strlen(text)) : cJSON_AddNullToObject(object, name) != NULL;
}

static bool add_bytes(cJSON *object, const char *name, uint64_t bytes, bool known) {
    return known ? cJSON_AddNumberToObject(object, name, (double)bytes) != NULL : cJSON_AddNullToObject(object, name) != NULL;
}

static bool add_device(cJSON *array, const weft_device_info *info) {
    cJSON *device = cJSON_CreateObject();
    if (!device || !cJSON_AddItemToArray(array, device)) {
        cJSON_Delete(device);
        return false;
    }
    bool known = info->memory_total > 0;
    return add_text(device, "id", info->id) && add_text(device, "stable_id", info->stable_id) &&
           add_text(device, "backend", info->backend) && add_text(device, "name", info->name) &&
           add_text(device, "kind", kind_text(info->kind)) && cJSON_AddBoolToObject(device, "usable", !info->unusable[0]) &&
           add_text(device, "unusable", info->unusable) && add_bytes(device, "memory_total", info->memory_total, known) &&
           add_bytes(device, "memory_free", info->memory_free, known) && add_text(device, "driver", info->driver) &&
           add_text(device, "features", info->features) && cJSON_AddBoolToObject(device, "host_memory", info->host_memory) &&
           cJSON_AddBoolToObject(device, "host_processor", info->host_processor);
}

static bool print_json(const weft_device_info *list, size_t count) {
    cJSON *array = cJSON_CreateArray();
    bool complete = array != NULL;
    for (size_t i = 0; complete && i < count; i++) complete = add_device(array, &list[i]);
    return json_print(array, complete);
}

static int run(const weft_command *command, int argc, char **argv) {
    const char *plugin = NULL;
    bool json = false;
    option_spec options[] = {
        {"json", 0, OPTION_FLAG, &json, 0, 0, NULL, "a JSON array on one line; sizes are in bytes, unknown values null"},
        {"plugin", 0, OPTION_TEXT, &plugin, 0, 0, "PATH", "a backend in a shared library"},
    };
    int code = options_parse(command, options, sizeof options / sizeof options[0], NULL, 0, argc, argv);
    if (code >= 0) return code;

    static weft_device_info list[MAX_DEVICES];
    size_t count = 0;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_status status = open_runtime(plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_devices(runtime, list, MAX_DEVICES, &count, &error);
    weft_runtime_destroy(runtime);
    if (status != WEFT_OK) return fail(&error);
    if (count > MAX_DEVICES) fprintf(stderr, "weft: lists only the first %d of %zu devices\n", MAX_DEVICES, count);
    if (count > MAX_DEVICES) count = MAX_DEVICES;
    if (json) return print_json(list, count) ? EXIT_DONE : EXIT_FAILED;
    print_text(list, count);
    return EXIT_DONE;
}

const weft_command command_devices = {"devices", "[options]",
                                      "Lists the devices of every backend, best first, with memory and driver, and why one cannot "
                                      "be used. It is no failure if none can.",
                                      run};
