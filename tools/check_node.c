/* weft check MODEL --dump and --repro, and weft check FILE with a reproduction. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"
#include "os/os.h"

static weft_status no_json_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}

/* ---- Values as .npy ---- */

/* A file that is written piece by piece. */
typedef struct output {
    FILE *file;
    size_t size;
    bool failed;
} output;

static void put(output *out, const void *data, size_t size) {
    if (fwrite(data, 1, size, out->file) != size) out->failed = true;
    out->size += size;
}

/* NumPy's format 1.0: the shape has the outermost dimension first, and the header fills a multiple of 64 bytes. */
static void put_npy_header(output *out, const weft_tensor *tensor) {
    char header[192], shape[120] = "";
    size_t n = 0;
    int last = WEFT_MAX_DIMENSIONS - 1;
    while (last > 0 && tensor->shape[last] == 1) last--;
    for (int i = last; i >= 0; i--) n += (size_t)snprintf(shape + n, sizeof shape - n, "%lld, ", (long long)tensor->shape[i]);
    int size = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                        tensor->type == WEFT_I32 ? "<i4" : "<f4", shape);
    size_t padded = ((size_t)size + 10 + 1 + 63) / 64 * 64 - 10;
    const unsigned char magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)padded, (unsigned char)(padded >> 8)};
    put(out, magic, sizeof magic);
    put(out, header, (size_t)size);
    for (size_t i = (size_t)size; i + 1 < padded; i++) put(out, " ", 1);
    put(out, "\n", 1);
}

static weft_status write_npy(void *user, const weft_tensor *tensor, const void *values) {
    output *out = user;
    const char *word = values;
    int64_t n = tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
    put_npy_header(out, tensor);
    for (int64_t i = 0; i < n; i++, word += 4) {
        uint32_t bits;
        memcpy(&bits, word, sizeof bits);
        const unsigned char bytes[] = {(unsigned char)bits, (unsigned char)(bits >> 8), (unsigned char)(bits >> 16),
                                       (unsigned char)(bits >> 24)};
        put(out, bytes, sizeof bytes);
    }
    return out->failed ? WEFT_IO : WEFT_OK;
}

/* ---- A node's place in the options: NODE[:OUTPUT]=FILE ---- */

typedef struct place {
    char node[WEFT_NAME_SIZE]; /* "": none was found to be wrong */
    size_t output;
    int32_t step;
    const char *file;
} place;

static weft_status parse_place(const char *option, const char *text, place *into, weft_error *error) {
    const char *equals = strchr(text, '=');
    char *end;
    if (!equals || !equals[1] || equals == text || (size_t)(equals - text) >= sizeof into->node)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--%s %s: it is NODE=FILE, such as blk.0.attention=%s", option, text,
                         strcmp(option, "dump") == 0 ? "values.npy" : "attention.repro");
    into->file = equals + 1;
    memcpy(into->node, text, (size_t)(equals - text));
    char *colon = strrchr(into->node, ':');
    if (!colon) return WEFT_OK;
    into->output = strtoul(colon + 1, &end, 10);
    if (*end || end == colon + 1 || colon[1] == '-')
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "--%s %s: the number of an output comes after the colon", option, text);
    *colon = '\0';
    return WEFT_OK;
}

/* Place `index` of all that the settings name, those of --dump first. */
static weft_status find_place(const check_settings *settings, size_t index, const check_culprit *culprit, place *into,
                              weft_error *error) {
    bool values = index < settings->dumps.n;
    const char *text = values ? settings->dumps.items[index] : settings->repros.items[index - settings->dumps.n];
    *into = (place){.step = settings->at_step};
    if (values || strchr(text, '=')) return parse_place(values ? "dump" : "repro", text, into, error);
    snprintf(into->node, sizeof into->node, "%s", culprit->node);
    into->step = culprit->step;
    into->file = text;
    return WEFT_OK;
}

/* ---- Writing ---- */

static weft_status write_piece(void *user, const void *data, size_t size) {
    put(user, data, size);
    return ((output *)user)->failed ? WEFT_IO : WEFT_OK;
}

static weft_status write_node(const check_settings *settings, weft_model *model, const check_devices *devices, const place *p,
                              bool values, size_t *size, weft_error *error) {
    static char steps[] = "steps";
    weft_check_model_options options = settings->walk;
    output out = {.file = weft_os_stream_open(p->file, "wb")};
    options.progress = progress_bar;
    options.progress_user = steps;
    if (!out.file) return weft_fail(error, WEFT_IO, "%s: cannot be written", p->file);
    weft_status status =
        values ? weft_check_value(model, devices->devices[0], &options, p->step, p->node, p->output, write_npy, &out, error)
               : weft_check_extract(model, devices->devices[0], &options, p->step, p->node, write_piece, &out, error);
    progress_end();
    if (fclose(out.file) != 0 && status == WEFT_OK) status = weft_fail(error, WEFT_IO, "%s: cannot be written", p->file);
    if (status != WEFT_OK) weft_os_remove(p->file);
    *size = out.size;
    return status;
}

weft_status check_nodes_write(const check_settings *settings, weft_model *model, const check_devices *devices,
                              const check_culprit *culprit, cJSON *json, weft_error *error) {
    cJSON *list = json ? cJSON_AddArrayToObject(json, "written") : NULL;
    if (json && !list) return no_json_memory(error);
    for (size_t i = 0; i < settings->dumps.n + settings->repros.n; i++) {
        bool values = i < settings->dumps.n;
        place p;
        size_t size = 0;
        weft_status status = find_place(settings, i, culprit, &p, error);
        if (status == WEFT_OK && !p.node[0]) {
            if (!settings->json) show_line(stdout, "%s: not written, since no node was found to be wrong\n", p.file);
            continue;
        }
        if (status == WEFT_OK) status = write_node(settings, model, devices, &p, values, &size, error);
        if (status != WEFT_OK) return status;
        if (!settings->json)
            show_line(stdout, "%s: %zu bytes, %s of %s in step %d on %s\n", p.file, size, values ? "values" : "a reproduction",
                      p.node, (int)p.step, devices->infos[0].id);
        cJSON *entry = list ? cJSON_CreateObject() : NULL;
        if (list &&
            (!entry || !cJSON_AddItemToArray(list, entry) || !json_add_text(entry, "node", p.node, strlen(p.node)) ||
             !json_add_text(entry, "file", p.file, strlen(p.file)) || !cJSON_AddNumberToObject(entry, "bytes", (double)size)))
            return no_json_memory(error);
    }
    return WEFT_OK;
}

/* ---- Running a reproduction ---- */

bool check_is_reproduction(const char *path) {
    char bytes[8];
    FILE *file = weft_os_stream_open(path, "rb");
    size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file) fclose(file);
    return weft_check_is_reproduction(bytes, size);
}

typedef struct reproduction {
    const check_settings *settings;
    const char *device;
    cJSON *list; /* NULL: text */
    bool complete, failed;
} reproduction;

static bool add_result(cJSON *list, const char *device, const weft_check_result *r) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(list, entry)) return false;
    return cJSON_AddStringToObject(entry, "device", device) && json_add_text(entry, "name", r->name, strlen(r->name)) &&
           cJSON_AddStringToObject(entry, "op", weft_op_name(r->op)) && cJSON_AddStringToObject(entry, "kernel", r->kernel) &&
           cJSON_AddBoolToObject(entry, "passed", r->passed) && check_add_number(entry, "nmse", r->nmse) &&
           check_add_number(entry, "nmse_limit", r->nmse_limit) && check_add_number(entry, "error", r->error) &&
           check_add_number(entry, "error_limit", r->error_limit) && check_add_number(entry, "worst_value", r->worst_value) &&
           check_add_number(entry, "worst_expected", r->worst_oracle) &&
           (!r->failure || json_add_text(entry, "failure", r->failure, strlen(r->failure))) &&
           (!r->skipped || json_add_text(entry, "skipped", r->skipped, strlen(r->skipped)));
}

static weft_status take_result(void *user, const weft_check_result *r) {
    reproduction *run = user;
    run->failed = run->failed || !r->passed;
    if (run->list) {
        run->complete = run->complete && add_result(run->list, run->device, r);
        return WEFT_OK;
    }
    const char *reason = r->skipped ? r->skipped : r->failure;
    show_line(stdout, "%s: %s of op %s, kernel %s: %s%s%s\n", run->device, r->name, weft_op_name(r->op),
              r->kernel[0] ? r->kernel : "none",
              r->passed    ? "passed"
              : r->skipped ? "not run: "
                           : "FAILED: ",
              !r->passed && reason ? reason : "", "");
    if (!r->skipped)
        printf("    nmse %.2e (limit %.1e), error %.2e (limit %.1e), worst in output %d at [%lld, %lld]: %.9g for %.9g\n", r->nmse,
               r->nmse_limit, r->error, r->error_limit, (int)r->worst_output, (long long)r->worst_column, (long long)r->worst_row,
               r->worst_value, r->worst_oracle);
    return WEFT_OK;
}

weft_status check_reproduction(const check_settings *settings, const check_devices *devices, bool *failed, weft_error *error) {
    byte_array bytes = {0};
    reproduction run = {.settings = settings, .complete = true};
    cJSON *json = settings->json ? cJSON_CreateObject() : NULL;
    weft_status status = read_file(settings->model, &bytes, error);
    if (settings->json && (!json || !check_json_devices(json, devices) || !(run.list = cJSON_AddArrayToObject(json, "cases"))))
        status = no_json_memory(error);
    for (size_t i = 0; i < devices->count && status == WEFT_OK; i++) {
        run.device = devices->infos[i].id;
        status = weft_check_reproduce(devices->devices[i], bytes.data, bytes.size - 1, take_result, &run, error);
    }
    bytes_free(&bytes);
    *failed = run.failed;
    if (status == WEFT_OK && json) return json_print(json, run.complete) ? WEFT_OK : no_json_memory(error);
    cJSON_Delete(json);
    return status;
}
