/* weft inspect: the content of a model file, and the memory that it needs on each device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

enum { MAX_DEVICES = 64, MAX_TYPES = 64 };

typedef struct device_need {
    char id[WEFT_NAME_SIZE];
    int32_t first_layer, n_layers; /* of --place; n_layers 0: all */
    weft_store_bytes bytes;
    uint64_t memory_free;
    weft_error error; /* status WEFT_OK if `bytes` is valid */
} device_need;

/* Measures each part of the model on its device. */
static weft_status measure_place(weft_model *model, const engine_settings *settings, device_need *needs, size_t *n_needs,
                                 weft_error *error) {
    static weft_stage_info stages[MAX_STAGES];
    const weft_engine_options chosen = engine_options(settings);
    weft_status status = weft_engine_measure_stages(model, &chosen, stages, MAX_STAGES, n_needs, error);
    for (size_t i = 0; status == WEFT_OK && i < *n_needs; i++) {
        const weft_stage_info *stage = &stages[i];
        needs[i] = (device_need){.first_layer = stage->first_layer,
                                 .n_layers = stage->n_layers,
                                 .bytes = stage->bytes,
                                 .memory_free = stage->device.memory_free};
        snprintf(needs[i].id, sizeof needs[i].id, "%s", stage->device.id);
    }
    return status;
}

/* Measures the model on every usable device, or on the one that the settings name. */
static weft_status measure(weft_runtime *runtime, weft_model *model, const engine_settings *settings, device_need *needs,
                           size_t *n_needs, weft_error *error) {
    static weft_device_info list[MAX_DEVICES];
    size_t count = 0;
    weft_engine_options chosen = engine_options(settings);
    weft_status status = weft_devices(runtime, list, MAX_DEVICES, &count, error);
    *n_needs = 0;
    if (settings->place.n > 0) return measure_place(model, settings, needs, n_needs, error);
    for (size_t i = 0; status == WEFT_OK && i < count && i < MAX_DEVICES; i++) {
        if (list[i].unusable[0]) continue;
        if (settings->backend ? strcmp(settings->backend, list[i].id) && strcmp(settings->backend, list[i].backend)
                              : !strcmp(list[i].backend, "null"))
            continue;
        device_need *need = &needs[(*n_needs)++];
        *need = (device_need){.memory_free = list[i].memory_free};
        snprintf(need->id, sizeof need->id, "%s", list[i].id);
        chosen.device = need->id;
        if (weft_engine_measure(model, &chosen, &need->bytes, &need->error) == WEFT_OK) need->error.status = WEFT_OK;
    }
    if (status == WEFT_OK && *n_needs == 0 && settings->backend && strcmp(settings->backend, "auto"))
        return weft_fail(error, WEFT_NOT_FOUND, "there is no usable device \"%s\"; `weft devices` lists them", settings->backend);
    return status;
}

typedef struct type_total {
    const char *name;
    weft_type type;
    uint64_t n_tensors, bytes;
} type_total;

/* The types that there are, by number; those past MAX_TYPES are left out. */
static size_t type_summary(const weft_model *model, type_total *totals) {
    weft_model_tensor tensor;
    size_t n = 0;
    for (size_t i = 0; weft_model_tensor_at(model, i, &tensor); i++) {
        size_t at = 0;
        while (at < n && totals[at].type < tensor.tensor.type) at++;
        if (at == n || totals[at].type != tensor.tensor.type) {
            if (n == MAX_TYPES) continue;
            memmove(&totals[at + 1], &totals[at], (n++ - at) * sizeof *totals);
            totals[at] = (type_total){.name = tensor.type_name, .type = tensor.tensor.type};
        }
        totals[at].n_tensors++;
        totals[at].bytes += tensor.bytes;
    }
    return n;
}

static void print_layers(const device_need *need, int32_t n_layers) {
    const int32_t end = need->first_layer + need->n_layers;
    printf("layers %d to %d%s%s: ", (int)need->first_layer, (int)end - 1, need->first_layer == 0 ? ", the embedding" : "",
           end == n_layers ? ", the output head" : "");
}

static void print_text(const weft_model *model, const device_need *needs, size_t n_needs, bool all) {
    weft_model_info info;
    weft_model_describe(model, &info);
    print_escaped(stdout, info.path);
    printf("\n%s ", info.family);
    print_escaped(stdout, info.name);
    printf(": %.1f M parameters, %.1f MB of weights\n", (double)info.n_parameters * 1e-6, (double)info.weight_bytes * 1e-6);
    if (info.n_experts > 0)
        printf("%d experts a layer, of which a token uses %d: %.1f M parameters\n", info.n_experts, info.n_experts_used,
               (double)info.n_active_parameters * 1e-6);
    printf("%d layers, n_embd %d, n_heads %d, n_kv_heads %d, head_dim %d, n_ff %d, n_vocab %d, trained on %d positions\n",
           info.n_layers, info.n_embd, info.n_heads, info.n_kv_heads, info.head_dim, info.n_ff, info.n_vocab, info.n_ctx_train);
    show_line(stdout, "tokenizer %s, chat template %s%s", info.tokenizer, info.chat_format ? info.chat_format : "none",
              info.chat_format ? "" : ": ");
    print_escaped(stdout, info.chat_reason);
    putchar('\n');

    type_total totals[MAX_TYPES];
    size_t n_totals = type_summary(model, totals);
    for (size_t i = 0; i < n_totals; i++)
        printf("  %-5s %4llu tensors, %.1f MB%s\n", totals[i].name, (unsigned long long)totals[i].n_tensors,
               (double)totals[i].bytes * 1e-6, weft_type_get(totals[i].type) ? "" : ", a type that weft cannot read");
    for (size_t i = 0; i < n_needs; i++) {
        const device_need *need = &needs[i];
        printf("%s: ", need->id);
        if (need->n_layers > 0) print_layers(need, info.n_layers);
        if (need->error.status) {
            print_escaped(stdout, need->error.message);
            putchar('\n');
            continue;
        }
        print_bytes(&need->bytes);
        if (need->memory_free > 0) printf("; %.0f MB free", (double)need->memory_free * 1e-6);
        putchar('\n');
    }
    if (!all) return;
    const char *key, *type;
    char value[200];
    for (size_t i = 0; weft_model_metadata(model, i, &key, &type, value, sizeof value); i++) {
        print_escaped(stdout, key);
        printf(" (%s) = ", type);
        print_escaped(stdout, value);
        putchar('\n');
    }
    weft_model_tensor tensor;
    for (size_t i = 0; weft_model_tensor_at(model, i, &tensor); i++)
        show_line(stdout, "%-32s %-5s [%lld, %lld, %lld, %lld] %llu bytes at %llu\n", tensor.name, tensor.type_name,
                  (long long)tensor.tensor.shape[0], (long long)tensor.tensor.shape[1], (long long)tensor.tensor.shape[2],
                  (long long)tensor.tensor.shape[3], (unsigned long long)tensor.bytes, (unsigned long long)tensor.offset);
}

static bool add_model(cJSON *json, const weft_model *model) {
    weft_model_info info;
    weft_model_describe(model, &info);
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"n_layers", info.n_layers},
        {"n_embd", info.n_embd},
        {"n_heads", info.n_heads},
        {"n_kv_heads", info.n_kv_heads},
        {"head_dim", info.head_dim},
        {"n_ff", info.n_ff},
        {"n_vocab", info.n_vocab},
        {"n_ctx_train", info.n_ctx_train},
        {"n_parameters", (double)info.n_parameters},
        {"weight_bytes", (double)info.weight_bytes},
        {"n_experts", info.n_experts},
        {"n_experts_used", info.n_experts_used},
        {"n_active_parameters", (double)info.n_active_parameters},
        {"bos", info.bos},
        {"eos", info.eos},
    };
    bool complete =
        json_add_text(json, "path", info.path, strlen(info.path)) && cJSON_AddStringToObject(json, "family", info.family) &&
        json_add_text(json, "name", info.name, strlen(info.name)) && cJSON_AddStringToObject(json, "tokenizer", info.tokenizer) &&
        (info.chat_format ? cJSON_AddStringToObject(json, "chat_format", info.chat_format)
                          : cJSON_AddNullToObject(json, "chat_format"));
    for (size_t i = 0; complete && i < sizeof numbers / sizeof numbers[0]; i++)
        complete = cJSON_AddNumberToObject(json, numbers[i].name, numbers[i].value);
    return complete;
}

static bool add_metadata(cJSON *json, const weft_model *model) {
    cJSON *list = cJSON_AddArrayToObject(json, "metadata");
    bool complete = list != NULL;
    const char *key, *type;
    char value[2000];
    for (size_t i = 0; complete && weft_model_metadata(model, i, &key, &type, value, sizeof value); i++) {
        cJSON *entry = cJSON_CreateObject();
        complete = entry && cJSON_AddItemToArray(list, entry) && json_add_text(entry, "key", key, strlen(key)) &&
                   cJSON_AddStringToObject(entry, "type", type) && json_add_text(entry, "value", value, strlen(value));
    }
    return complete;
}

static bool add_tensors(cJSON *json, const weft_model *model) {
    cJSON *list = cJSON_AddArrayToObject(json, "tensors");
    bool complete = list != NULL;
    weft_model_tensor tensor;
    for (size_t i = 0; complete && weft_model_tensor_at(model, i, &tensor); i++) {
        cJSON *entry = cJSON_CreateObject(), *shape;
        complete = entry && cJSON_AddItemToArray(list, entry) && json_add_text(entry, "name", tensor.name, strlen(tensor.name)) &&
                   cJSON_AddStringToObject(entry, "type", tensor.type_name) &&
                   cJSON_AddNumberToObject(entry, "offset", (double)tensor.offset) &&
                   cJSON_AddNumberToObject(entry, "bytes", (double)tensor.bytes) &&
                   (shape = cJSON_AddArrayToObject(entry, "shape"));
        for (int d = 0; complete && d < WEFT_MAX_DIMENSIONS; d++)
            complete = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor.tensor.shape[d]));
    }
    return complete;
}

static bool add_needs(cJSON *json, const device_need *needs, size_t n_needs) {
    cJSON *list = cJSON_AddArrayToObject(json, "devices");
    bool complete = list != NULL;
    for (size_t i = 0; complete && i < n_needs; i++) {
        const device_need *need = &needs[i];
        cJSON *entry = cJSON_CreateObject();
        complete = entry && cJSON_AddItemToArray(list, entry) && cJSON_AddStringToObject(entry, "id", need->id);
        if (!complete) break;
        if (need->n_layers > 0)
            complete = cJSON_AddNumberToObject(entry, "first_layer", need->first_layer) &&
                       cJSON_AddNumberToObject(entry, "n_layers", need->n_layers);
        if (need->error.status) {
            complete = json_add_text(entry, "error", need->error.message, strlen(need->error.message));
            continue;
        }
        complete = complete && cJSON_AddNumberToObject(entry, "weights", (double)need->bytes.weights) &&
                   cJSON_AddNumberToObject(entry, "states", (double)need->bytes.states) &&
                   cJSON_AddNumberToObject(entry, "arena", (double)need->bytes.arena) &&
                   cJSON_AddNumberToObject(entry, "rings", (double)need->bytes.rings) &&
                   cJSON_AddNumberToObject(entry, "total", (double)need->bytes.total) &&
                   cJSON_AddNumberToObject(entry, "packed", (double)need->bytes.packed) &&
                   cJSON_AddNumberToObject(entry, "bytes_used", (double)need->bytes.bytes_used) &&
                   (need->memory_free > 0 ? cJSON_AddNumberToObject(entry, "memory_free", (double)need->memory_free)
                                          : cJSON_AddNullToObject(entry, "memory_free"));
    }
    return complete;
}

static int run(const weft_command *command, int argc, char **argv) {
    engine_settings settings = {0};
    bool json = false, all = false;
    option_spec options[MAX_OPTIONS] = {
        {"json", 0, OPTION_FLAG, &json, 0, 0, NULL, "everything as one JSON object"},
        {"all", 'a', OPTION_FLAG, &all, 0, 0, NULL, "every metadata entry and tensor"},
    };
    size_t n_options = place_option_add(&settings, options, engine_options_add(&settings, options, 2));
    const char *path;
    int code = options_parse(command, options, n_options, &path, 1, argc, argv);
    if (code < 0) code = place_check(command, &settings);
    if (code >= 0) return code;

    static device_need needs[MAX_DEVICES];
    size_t n_needs = 0;
    weft_error error = {0};
    weft_runtime *runtime = NULL;
    weft_model *model = NULL;
    weft_model_info info;
    weft_status status = open_runtime(settings.plugin, &runtime, &error);
    if (status == WEFT_OK) status = weft_model_open(runtime, path, &model, &error);
    if (status == WEFT_OK) weft_model_describe(model, &info);
    if (status == WEFT_OK && info.has_weights) status = measure(runtime, model, &settings, needs, &n_needs, &error);
    if (status == WEFT_OK && !json) print_text(model, needs, n_needs, all);
    if (status == WEFT_OK && json) {
        cJSON *object = cJSON_CreateObject();
        bool complete = object && add_model(object, model) && add_needs(object, needs, n_needs) && add_metadata(object, model) &&
                        add_tensors(object, model);
        if (!json_print(object, complete)) status = weft_fail(&error, WEFT_OUT_OF_MEMORY, "out of memory");
    }
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return status == WEFT_OK ? EXIT_DONE : fail(&error);
}

const weft_command command_inspect = {"inspect", "MODEL [options]",
                                      "What is in a model file, and the exact bytes it needs on each device.", run};
