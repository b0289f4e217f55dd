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
    bool widths, bisect;
    const char *text; /* a file; NULL: none; likewise: */
    const char *html, *record, *replay;
    text_list dumps, repros; /* NODE=FILE; repros: or FILE, for the node that is found to be wrong */
    int32_t at_step;         /* of both */
} check_settings;

/* The devices of a run, in the order of --on. */
typedef struct check_devices {
    weft_device *devices[MAX_CHECK_DEVICES];
    weft_device_info infos[MAX_CHECK_DEVICES];
    size_t count;
} check_devices;

/* The engines that run whole models: one on each device, and after them the one of --place, if it was given. */
size_t check_engine_count(const check_settings *settings, const check_devices *devices);
const char *check_engine_name(const check_settings *settings, const check_devices *devices, size_t index);
weft_engine_options check_engine(const check_settings *settings, const check_devices *devices, size_t index);
/* A progress bar of tokens. */
bool check_show_tokens(void *user, uint64_t done, uint64_t total);

/* The measures of a node, as JSON names them. */
enum { CHECK_ALONE, CHECK_IN_STEP, CHECK_DRIFT, CHECK_PARTS, CHECK_FUSED, CHECK_N_MEASURES };
extern const char *const check_measure_names[CHECK_N_MEASURES];
const weft_check_measure *check_measure_of(const weft_check_node *node, int which);

/* Of the nodes of one op in a layer, on one device, the one that came closest to its limit in one measure. */
typedef struct check_cell {
    size_t device;
    int measure;
    int32_t layer, step;
    weft_op op;
    char name[WEFT_NAME_SIZE], kernel[WEFT_NAME_SIZE];
    double share; /* of the limit */
    double nmse, error;
    bool failed; /* any of these nodes did */
} check_cell;

typedef struct check_heat {
    check_cell *cells;
    size_t n_cells, capacity;
} check_heat;
/* False if memory ran out. */
bool check_heat_add(check_heat *heat, const weft_check_node *node);
/* Adds "heat" to `json`. */
bool check_heat_json(const check_heat *heat, const check_devices *devices, struct cJSON *json);
void check_heat_free(check_heat *heat);

/* Writes what the JSON of a model's check has as a page of HTML, in one file. */
weft_status check_html(const char *path, const struct cJSON *json, weft_error *error);

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

/* Adds "recorded". */
weft_status check_record(const check_settings *settings, weft_model *model, const check_devices *devices, struct cJSON *json,
                         weft_error *error);
/* Adds "golden". `take` gets the nodes. */
weft_status check_replay(const check_settings *settings, weft_model *model, const check_devices *devices, struct cJSON *json,
                         weft_status (*take)(void *user, const weft_check_node *node), void *user,
                         weft_check_replay_summary *summary, weft_error *error);

/* The node that was found to be wrong, for --repro; its name is "" if none was. */
typedef struct check_culprit {
    char node[WEFT_NAME_SIZE];
    int32_t step;
} check_culprit;

/* Adds "bisect". */
weft_status check_bisect(const check_settings *settings, weft_model *model, const check_devices *devices, struct cJSON *json,
                         check_culprit *culprit, bool *failed, weft_error *error);
/* Writes what --dump and --repro name. Adds "written". */
weft_status check_nodes_write(const check_settings *settings, weft_model *model, const check_devices *devices,
                              const check_culprit *culprit, struct cJSON *json, weft_error *error);
/* Whether the file is a reproduction; runs and prints it. */
bool check_is_reproduction(const char *path);
weft_status check_reproduction(const check_settings *settings, const check_devices *devices, bool *failed, weft_error *error);

/* Adds a number, or null for one that JSON cannot write. */
bool check_add_number(struct cJSON *object, const char *name, double value);
/* Adds "devices" to `json`. */
bool check_json_devices(struct cJSON *json, const check_devices *devices);

#endif
