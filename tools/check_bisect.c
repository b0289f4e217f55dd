/* weft check MODEL --bisect: the op, layer, kernel and node that make a device's result wrong. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"

typedef struct bisect_run {
    const check_settings *settings;
    cJSON *swaps; /* NULL: there is no JSON */
    bool complete;
} bisect_run;

static const char *const kinds[] = {"op", "layer", "kernel", "node"};

static void print_swap(const weft_check_swap *swap) {
    char name[2 * WEFT_NAME_SIZE];
    if (swap->kind == WEFT_CHECK_SWAP_LAYER && swap->layer < 0)
        snprintf(name, sizeof name, "outside the layers");
    else if (swap->kind == WEFT_CHECK_SWAP_LAYER)
        snprintf(name, sizeof name, "%d", (int)swap->layer);
    else if (swap->kind == WEFT_CHECK_SWAP_KERNEL)
        snprintf(name, sizeof name, "%u %s", (unsigned)swap->kernel, swap->name);
    else
        snprintf(name, sizeof name, "%s", swap->name);
    show_line(stdout, "  %-7s %-36s %5zu %9.2e\n", kinds[swap->kind], name, swap->n_nodes, swap->nmse);
}

static bool add_swap(cJSON *list, const weft_check_swap *swap) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(list, entry) || !cJSON_AddStringToObject(entry, "kind", kinds[swap->kind])) return false;
    bool complete = true;
    if (swap->kind == WEFT_CHECK_SWAP_LAYER || swap->kind == WEFT_CHECK_SWAP_NODE)
        complete = cJSON_AddNumberToObject(entry, "layer", swap->layer) != NULL;
    if (swap->kind != WEFT_CHECK_SWAP_LAYER)
        complete = complete && json_add_text(entry, "name", swap->name, strlen(swap->name)) &&
                   cJSON_AddStringToObject(entry, "op", weft_op_name(swap->op));
    if (swap->kind == WEFT_CHECK_SWAP_KERNEL) complete = complete && cJSON_AddNumberToObject(entry, "kernel", swap->kernel);
    return complete && cJSON_AddNumberToObject(entry, "n_nodes", (double)swap->n_nodes) &&
           check_add_number(entry, "nmse", swap->nmse);
}

static weft_status take_swap(void *user, const weft_check_swap *swap) {
    bisect_run *run = user;
    progress_end();
    if (!run->settings->json) print_swap(swap);
    if (run->swaps) run->complete = run->complete && add_swap(run->swaps, swap);
    return WEFT_OK;
}

static void print_culprit(const weft_check_bisect_summary *s, const char *device) {
    printf("on %s without a swap: nmse %.2e at the end (limit %.1e)\n", device, s->nmse, s->nmse_limit);
    if (!s->failed) {
        printf("each node by itself is within the limits\n");
        return;
    }
    if (s->op == WEFT_OP_NONE) {
        printf("several ops are wrong: no swap of one removes half of the error\n");
        return;
    }
    printf("the fault is in op %s, kernel %u %s", weft_op_name(s->op), (unsigned)s->kernel, s->kernel_name);
    if (s->node[0])
        printf(", in %s\n", s->node);
    else
        printf(", in more than one layer\n");
}

static bool add_summary(cJSON *object, const weft_check_bisect_summary *s) {
    if (!check_add_number(object, "nmse", s->nmse) || !check_add_number(object, "nmse_limit", s->nmse_limit) ||
        !cJSON_AddBoolToObject(object, "passed", !s->failed))
        return false;
    if (!s->failed) return true;
    if (s->op == WEFT_OP_NONE) return cJSON_AddNullToObject(object, "op") != NULL;
    bool complete = cJSON_AddStringToObject(object, "op", weft_op_name(s->op)) &&
                    cJSON_AddNumberToObject(object, "kernel", s->kernel) &&
                    json_add_text(object, "kernel_name", s->kernel_name, strlen(s->kernel_name));
    if (!s->node[0]) return complete && cJSON_AddNullToObject(object, "layer") && cJSON_AddNullToObject(object, "node");
    return complete && cJSON_AddNumberToObject(object, "layer", s->layer) &&
           json_add_text(object, "node", s->node, strlen(s->node));
}

weft_status check_bisect(const check_settings *settings, weft_model *model, const check_devices *devices, cJSON *json,
                         check_culprit *culprit, bool *failed, weft_error *error) {
    static char nodes[] = "nodes";
    bisect_run run = {.settings = settings, .complete = true};
    weft_check_model_options options = settings->walk;
    cJSON *list = json ? cJSON_AddArrayToObject(json, "bisect") : NULL;
    options.progress = progress_bar;
    options.progress_user = nodes;
    run.complete = !json || list;
    for (size_t i = 0; i < devices->count && run.complete; i++) {
        const char *device = devices->infos[i].id;
        weft_check_bisect_summary summary;
        cJSON *object = list ? cJSON_CreateObject() : NULL;
        if (list && (!object || !cJSON_AddItemToArray(list, object) || !cJSON_AddStringToObject(object, "device", device) ||
                     !(run.swaps = cJSON_AddArrayToObject(object, "swaps"))))
            run.complete = false;
        if (!settings->json) printf("on %s, with some nodes from the oracle\n  %-44s %5s %9s\n", device, "", "nodes", "nmse");
        weft_status status = weft_check_bisect(model, devices->devices[i], &options, take_swap, &run, &summary, error);
        progress_end();
        if (status != WEFT_OK) return status;
        *failed = *failed || summary.failed;
        if (summary.node[0]) {
            snprintf(culprit->node, sizeof culprit->node, "%s", summary.node);
            culprit->step = 0;
        }
        if (!settings->json) print_culprit(&summary, device);
        if (object) run.complete = run.complete && add_summary(object, &summary);
    }
    return run.complete ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the JSON output");
}
