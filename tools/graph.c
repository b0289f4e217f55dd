/* weft graph: the graph of a step, before and after fusion. */
#include <stdio.h>

#include "command.h"

static weft_status write_stdout(void *user, const char *text, size_t size) {
    (void)user;
    return fwrite(text, 1, size, stdout) == size ? WEFT_OK : WEFT_IO;
}

static weft_status print_graph(weft_runtime *runtime, weft_model *model, const engine_settings *settings, int format,
                               int32_t n_rows, int32_t n_heads, bool all_kernels, weft_error *error) {
    weft_engine_options chosen = engine_options(settings);
    weft_device *device = NULL;
    weft_graph *graph = NULL, *fused = NULL;
    weft_status status = weft_model_graph(model, &chosen, n_rows, n_heads, &graph, error);
    if (status == WEFT_OK)
        status = weft_device_open(runtime, chosen.device ? chosen.device : "auto", &chosen.device_options, &device, error);
    if (status == WEFT_OK && !settings->unfused) status = weft_graph_fuse(graph, device, chosen.precision, &fused, error);
    const weft_graph_print_options printing = {.format = format ? WEFT_GRAPH_DOT : WEFT_GRAPH_TEXT,
                                               .device = device,
                                               .precision = chosen.precision,
                                               .all_kernels = all_kernels};
    if (status == WEFT_OK) status = weft_graph_print(fused ? fused : graph, &printing, write_stdout, NULL, error);
    weft_graph_destroy(fused);
    weft_graph_destroy(graph);
    weft_device_close(device);
    return status;
}

static int run(const weft_command *command, int argc, char **argv) {
    engine_settings settings = {0};
    int format = 0;
    int32_t n_rows = 1, n_heads = 1;
    bool all_kernels = false;
    option_spec options[MAX_OPTIONS] = {
        {"format", 'f', OPTION_CHOICE, &format, 0, 0, "text|dot", "dot is Graphviz's language; default text"},
        {"rows", 'T', OPTION_COUNT, &n_rows, 1, 512, NULL, "number of tokens in the step; default 1"},
        {"heads", 'R', OPTION_COUNT, &n_heads, 0, 512, NULL, "number of rows that reach the output head; default 1"},
        {"kernels", 'k', OPTION_FLAG, &all_kernels, 0, 0, NULL, "also print the kernels that were not chosen, and why"},
    };
    size_t n_options = engine_options_add(&settings, options, 4);
    const char *path;
    int code = options_parse(command, options, n_options, &path, 1, argc, argv);
    if (code >= 0) return code;
    if (n_heads > n_rows) return usage_error(command, "--heads cannot be more than --rows");

    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_status status = open_runtime(settings.plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    if (status == WEFT_OK) status = print_graph(runtime, model, &settings, format, n_rows, n_heads, all_kernels, &error);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_graph = {"graph", "MODEL [options]", "Prints a step's graph after fusion, or before it with --unfused.",
                                    run};
