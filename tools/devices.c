/* weft devices: what there is to run on. */
#include <stdio.h>

#include "command.h"

enum { MAX_DEVICES = 64 };

static int run(const weft_command *command, int argc, char **argv) {
    const char *plugin = NULL;
    option_spec options[] = {{"plugin", 0, OPTION_TEXT, &plugin, 0, 0, "PATH", "a backend in a shared library"}};
    int code = options_parse(command, options, 1, NULL, 0, argc, argv);
    if (code >= 0) return code;

    static weft_device_info list[MAX_DEVICES];
    size_t count = 0;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_status status = open_runtime(plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_devices(runtime, list, MAX_DEVICES, &count, &error);
    for (size_t i = 0; status == WEFT_OK && i < count && i < MAX_DEVICES; i++) {
        const weft_device_info *info = &list[i];
        printf("%-10s %s\n", info->id, info->name);
        if (info->unusable[0]) printf("           cannot be used: %s\n", info->unusable);
        if (info->memory_total)
            printf("           %.1f GB of memory, %.1f GB free\n", (double)info->memory_total * 1e-9,
                   (double)info->memory_free * 1e-9);
        if (info->driver[0]) printf("           driver %s\n", info->driver);
        if (info->features[0]) printf("           %s\n", info->features);
    }
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_devices = {"devices", "[options]", "Lists the devices of every backend, and why one cannot be used.",
                                      run};
