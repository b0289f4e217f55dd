/* --place: the layers of a model divided among devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

/* "cuda:0=20" or "cpu", ended by a zero. NULL, or what is wrong with it. */
static const char *parse_stage(char *text, weft_stage *stage) {
    char *equals = strrchr(text, '='), *end = equals;
    long n_layers = 0;
    if (equals) {
        n_layers = equals[1] >= '0' && equals[1] <= '9' ? strtol(equals + 1, &end, 10) : 0;
        if (end == equals || *end || n_layers < 1 || n_layers > INT32_MAX)
            return "the number of layers is a whole number from 1 on";
        *equals = '\0';
    }
    *stage = (weft_stage){.device = text, .n_layers = (int32_t)n_layers};
    if (!text[0]) return "a device has no name";
    return strlen(text) < WEFT_NAME_SIZE ? NULL : "a device's name is too long";
}

const char *place_parse(const char *text, stage_list *list) {
    char *place = list->text;
    list->given = text;
    list->n = 0;
    if ((size_t)snprintf(list->text, sizeof list->text, "%s", text) >= sizeof list->text) return "it is too long";
    for (;;) {
        char *comma = strchr(place, ',');
        if (comma) *comma = '\0';
        if (list->n == MAX_STAGES) return "there are too many devices";
        const char *wrong = parse_stage(place, &list->items[list->n++]);
        if (wrong || !comma) return wrong;
        place = comma + 1;
    }
}

size_t place_option_add(engine_settings *settings, option_spec *options, size_t n_options) {
    options[n_options] =
        (option_spec){"place",
                      0,
                      OPTION_PLACE,
                      &settings->place,
                      0,
                      0,
                      "DEVICE=N,...",
                      "divide the layers: cuda:0=20,cpu puts the first 20 on cuda:0, the others and the output head "
                      "on the cpu"};
    return n_options + 1;
}

int place_check(const weft_command *command, const engine_settings *settings) {
    if (settings->place.n == 0 || !settings->backend) return -1;
    return usage_error(command, "--place names the devices: it does not go with --backend or --on");
}

void place_name(const weft_engine *engine, char *name, size_t size) {
    weft_stage_info stage;
    size_t n = 0;
    name[0] = '\0';
    if (!weft_engine_stage_at(engine, 1, &stage)) {
        weft_engine_stage_at(engine, 0, &stage);
        snprintf(name, size, "%s", stage.device.id);
        return;
    }
    for (size_t i = 0; n < size && weft_engine_stage_at(engine, i, &stage); i++)
        n += (size_t)snprintf(name + n, size - n, "%s%s=%d", i ? "," : "", stage.device.id, (int)stage.n_layers);
}

bool json_add_place(cJSON *json, const weft_engine *engine) {
    weft_stage_info stage;
    if (!weft_engine_stage_at(engine, 1, &stage)) return true;
    cJSON *list = cJSON_AddArrayToObject(json, "place");
    bool complete = list != NULL;
    for (size_t i = 0; complete && weft_engine_stage_at(engine, i, &stage); i++) {
        cJSON *entry = cJSON_CreateObject();
        complete = entry && cJSON_AddItemToArray(list, entry) && cJSON_AddStringToObject(entry, "id", stage.device.id) &&
                   cJSON_AddNumberToObject(entry, "first_layer", stage.first_layer) &&
                   cJSON_AddNumberToObject(entry, "n_layers", stage.n_layers);
    }
    return complete;
}
