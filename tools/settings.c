/* The options of devices and engines, which several commands share. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "os/os.h"
#include "os/program.h"

size_t device_options_add(engine_settings *settings, option_spec *options, size_t n_options) {
    const option_spec rows[] = {
        {"threads", 't', OPTION_COUNT, &settings->n_threads, 1, 1024, NULL,
         "threads of the cpu backend; default one for each core"},
        {"simd", 0, OPTION_TEXT, &settings->simd, 0, 0, "NAME",
         "instruction set of the cpu backend, from the list of `weft devices`"},
        {"spin", 0, OPTION_COUNT, &settings->spin_us, 0, 1000000, NULL,
         "microseconds that a wait for a GPU spins before it sleeps; default 0"},
        {"cache-folder", 0, OPTION_FOLDER, &settings->cache_folder, 0, 0, NULL,
         "folder for compiled shaders; default weft in $XDG_CACHE_HOME or ~/.cache; \"\": keep none"},
        {"plugin", 0, OPTION_TEXT, &settings->plugin, 0, 0, "PATH", "load a backend from this shared library"},
    };
    memcpy(options + n_options, rows, sizeof rows);
    return n_options + sizeof rows / sizeof rows[0];
}

size_t engine_options_add(engine_settings *settings, option_spec *options, size_t n_options) {
    const option_spec rows[] = {
        {"backend", 0, OPTION_TEXT, &settings->backend, 0, 0, "NAME",
         "auto, or a backend or device from the list of `weft devices`"},
        {"precision", 0, OPTION_CHOICE, &settings->precision, 0, 0, "fast|exact",
         "exact gives the same bits on every backend; default fast"},
        {"ctx", 'c', OPTION_COUNT, &settings->n_ctx, 1, 16777216, NULL,
         "positions of context; default the model's, but at most 4096"},
        {"max-rows", 0, OPTION_POWER, &settings->max_rows, 1, 512, NULL, "the most tokens in a step, a power of two; default 512"},
        {"unfused", 0, OPTION_FLAG, &settings->unfused, 0, 0, NULL, "run the parts of fused nodes one by one"},
    };
    memcpy(options + n_options, rows, sizeof rows);
    return device_options_add(settings, options, n_options + sizeof rows / sizeof rows[0]);
}

static const char *name_of_op(size_t index) {
    return weft_op_name((weft_op)index);
}

/* Of the types that weft reads: numbers between theirs have no type. */
static const char *name_of_type(size_t index) {
    for (int type = 0; type < WEFT_TYPE_COUNT; type++) {
        const weft_type_info *info = weft_type_get((weft_type)type);
        if (info && index-- == 0) return info->name;
    }
    return NULL;
}

int check_case_names(const weft_command *command, const char *op, const char *type) {
    int code = op ? check_name(command, "op", op, name_of_op) : -1;
    return code < 0 && type ? check_name(command, "element type", type, name_of_type) : code;
}

/* The user's cache folder, which is created if it is missing; NULL if that fails. */
static const char *default_cache_folder(void) {
    static char folder[1024];
    return weft_os_cache_folder(folder, sizeof folder) && weft_os_folder_make(folder, NULL) == WEFT_OK ? folder : NULL;
}

weft_device_options device_options(const engine_settings *settings) {
    const char *folder = settings->cache_folder ? settings->cache_folder : default_cache_folder();
    return (weft_device_options){
        .n_threads = (uint32_t)settings->n_threads,
        .simd = settings->simd,
        .cache_folder = folder && folder[0] ? folder : NULL,
        .spin_ns = (uint64_t)settings->spin_us * 1000,
    };
}

weft_engine_options engine_options(const engine_settings *settings) {
    return (weft_engine_options){
        .device = settings->backend,
        .stages = settings->place.items,
        .n_stages = settings->place.n,
        .device_options = device_options(settings),
        .precision = settings->precision ? WEFT_EXACT : WEFT_FAST,
        .n_ctx = settings->n_ctx,
        .max_rows = settings->max_rows,
        .unfused = settings->unfused,
        .progress = progress_bar,
    };
}
