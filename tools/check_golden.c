/* weft check MODEL --record and --replay: goldens in files. */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"
#include "os/os.h"

static char steps[] = "steps", nodes[] = "nodes";

/* ---- Recording ---- */

typedef struct output {
    FILE *file;
    size_t size;
} output;

static weft_status write_file(void *user, const void *data, size_t size) {
    output *out = user;
    out->size += size;
    return fwrite(data, 1, size, out->file) == size ? WEFT_OK : WEFT_IO;
}

weft_status check_record(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json,
                         weft_error *error) {
    weft_check_model_options options = settings->walk;
    output out = {.file = weft_os_stream_open(settings->record, "wb")};
    options.progress = progress_bar;
    options.progress_user = steps;
    if (!out.file) return weft_fail(error, WEFT_IO, "%s: cannot be written", settings->record);
    weft_status status = weft_check_record(model, devices->devices[0], &options, write_file, &out, error);
    progress_end();
    if (fclose(out.file) != 0 && status == WEFT_OK) status = weft_fail(error, WEFT_IO, "%s: cannot be written", settings->record);
    if (status != WEFT_OK) {
        weft_os_remove(settings->record);
        return status;
    }
    if (!settings->json) show_line(stdout, "%s: %zu bytes, recorded on %s\n", settings->record, out.size, devices->infos[0].id);
    cJSON *object = json ? cJSON_AddObjectToObject(json, "recorded") : NULL;
    if (!json || (object && json_add_text(object, "file", settings->record, strlen(settings->record)) &&
                  cJSON_AddNumberToObject(object, "bytes", (double)out.size)))
        return WEFT_OK;
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}

/* ---- Comparing ---- */

static const char *precision_name(const weft_check_golden_info *info) {
    return info->precision == WEFT_EXACT ? "exact" : "fast";
}

static bool add_golden(cJSON *json, const weft_check_golden_info *info, const weft_check_replay_summary *summary) {
    cJSON *object = cJSON_AddObjectToObject(json, "golden");
    return object && json_add_text(object, "weft", info->weft, strlen(info->weft)) &&
           json_add_text(object, "device", info->device, strlen(info->device)) &&
           json_add_text(object, "device_name", info->device_name, strlen(info->device_name)) &&
           json_add_text(object, "driver", info->driver, strlen(info->driver)) &&
           cJSON_AddStringToObject(object, "precision", precision_name(info)) &&
           cJSON_AddNumberToObject(object, "n_prompt", info->n_prompt) &&
           cJSON_AddNumberToObject(object, "n_steps", info->n_steps) &&
           cJSON_AddNumberToObject(object, "n_results", (double)summary->n_results) &&
           cJSON_AddNumberToObject(object, "n_same_bits", (double)summary->n_same_bits);
}

weft_status check_replay(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json,
                         weft_status (*take)(void *user, const weft_check_node *node), void *user,
                         weft_check_replay_summary *summary, weft_error *error) {
    const weft_check_model_options options = {.progress = progress_bar, .progress_user = nodes};
    weft_check_golden_info info;
    byte_array golden = {0};
    weft_status status = read_file(settings->replay, &golden, error);
    size_t size = status == WEFT_OK ? golden.size - 1 : 0;
    if (status == WEFT_OK) status = weft_check_golden_describe(golden.data, size, &info, error);
    if (status == WEFT_OK && !settings->json)
        show_line(stdout, "the golden is of weft %s on %s (%s%s%s) in %s: %d tokens, then %d steps of one row\n", info.weft,
                  info.device, info.device_name, info.driver[0] ? ", driver " : "", info.driver, precision_name(&info),
                  (int)info.n_prompt, (int)(info.n_positions - info.n_prompt));
    if (status == WEFT_OK)
        status =
            weft_check_replay(model, devices->devices, devices->count, golden.data, size, &options, take, user, summary, error);
    progress_end();
    bytes_free(&golden);
    if (status != WEFT_OK) return status;
    if (json && !add_golden(json, &info, summary)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
    return WEFT_OK;
}
