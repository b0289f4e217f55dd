/* Shared by the two kinds of `weft check`. */
#ifndef WEFT_TOOLS_CHECK_H
#define WEFT_TOOLS_CHECK_H

#include "command.h"
#include "weft/check.h"

enum { MAX_CHECK_DEVICES = 8 };

typedef enum check_nodes { CHECK_UNSAID = -1, CHECK_LAYERS, CHECK_ALL, CHECK_NONE } check_nodes;

typedef struct check_settings {
    engine_settings engine; /* `backend` is a list */
    const char *model;      /* NULL: the op table */
    bool ops, json, verbose;
    weft_check_options table;
    weft_check_model_options walk;
    int nodes; /* check_nodes */
    int32_t n_greedy;
    bool widths;
    const char *text; /* a file; NULL: none */
} check_settings;

/* The devices of a run, in the order of --on. */
typedef struct check_devices {
    weft_device *devices[MAX_CHECK_DEVICES];
    weft_device_info infos[MAX_CHECK_DEVICES];
    size_t count;
} check_devices;

/* Run and print. `*failed` is set if something was over its limit. */
weft_status check_table(const check_settings *settings, const check_devices *devices, bool *failed, weft_error *error);
weft_status check_model(const check_settings *settings, weft_runtime *runtime, const check_devices *devices, bool *failed,
                        weft_error *error);

/* Adds "greedy" to `json`, which may be NULL. */
weft_status check_greedy(const check_settings *settings, weft_model *model, const check_devices *devices, struct cJSON *json,
                         bool *failed, weft_error *error);

/* Add "widths" and "text" to `json`, which may be NULL. */
weft_status check_widths(const check_settings *settings, weft_model *model, const check_devices *devices, struct cJSON *json,
                         bool *failed, weft_error *error);
weft_status check_text(const check_settings *settings, weft_model *model, const check_devices *devices, struct cJSON *json,
                       weft_error *error);

/* Adds a number, or null for one that JSON cannot write. */
bool check_add_number(struct cJSON *object, const char *name, double value);
/* Adds "devices" to `json`. */
bool check_json_devices(struct cJSON *json, const check_devices *devices);

#endif
