/* The picture of `weft check MODEL`: for each device, measure, layer and op the node that came closest to its limit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"

const char *const check_measure_names[CHECK_N_MEASURES] = {"alone", "in_step", "drift", "parts", "fused"};

const weft_check_measure *check_measure_of(const weft_check_node *node, int which) {
    const weft_check_measure *measures[CHECK_N_MEASURES] = {&node->alone, &node->in_step, &node->drift, &node->parts, &node->fused};
    return measures[which];
}

/* The larger of nmse and error, as a share of its limit. */
static double share_of(const weft_check_measure *m) {
    double nmse = m->nmse_limit > 0.0 ? m->nmse / m->nmse_limit : 0.0;
    double error = m->error_limit > 0.0 && isfinite(m->error_limit) ? m->error / m->error_limit : 0.0;
    return isnan(nmse) || isnan(error) ? INFINITY : fmax(nmse, error);
}

static check_cell *cell_for(check_heat *heat, const weft_check_node *node, int measure) {
    for (size_t i = 0; i < heat->n_cells; i++) {
        check_cell *cell = &heat->cells[i];
        if (cell->device == node->device && cell->measure == measure && cell->layer == node->layer && cell->op == node->op)
            return cell;
    }
    if (heat->n_cells == heat->capacity) {
        size_t capacity = heat->capacity ? 2 * heat->capacity : 256;
        check_cell *grown = realloc(heat->cells, capacity * sizeof *grown);
        if (!grown) return NULL;
        heat->cells = grown;
        heat->capacity = capacity;
    }
    check_cell *cell = &heat->cells[heat->n_cells++];
    *cell = (check_cell){.device = node->device, .measure = measure, .layer = node->layer, .op = node->op, .share = -1.0};
    return cell;
}

bool check_heat_add(check_heat *heat, const weft_check_node *node) {
    for (int i = 0; i < CHECK_N_MEASURES; i++) {
        const weft_check_measure *m = check_measure_of(node, i);
        if (!m->present) continue;
        check_cell *cell = cell_for(heat, node, i);
        if (!cell) return false;
        double share = share_of(m);
        if (share <= cell->share && (cell->failed || !m->failure)) continue;
        bool failed = cell->failed || m->failure;
        snprintf(cell->name, sizeof cell->name, "%s", node->name);
        snprintf(cell->kernel, sizeof cell->kernel, "%s", node->kernel);
        cell->step = node->step;
        cell->share = share;
        cell->failed = failed;
        cell->nmse = m->nmse;
        cell->error = m->error;
    }
    return true;
}

bool check_heat_json(const check_heat *heat, const check_devices *devices, cJSON *json) {
    cJSON *list = cJSON_AddArrayToObject(json, "heat");
    bool complete = list != NULL;
    for (size_t i = 0; i < heat->n_cells && complete; i++) {
        const check_cell *cell = &heat->cells[i];
        cJSON *entry = cJSON_CreateObject();
        complete = entry && cJSON_AddItemToArray(list, entry) &&
                   cJSON_AddStringToObject(entry, "device", devices->infos[cell->device].id) &&
                   cJSON_AddStringToObject(entry, "measure", check_measure_names[cell->measure]) &&
                   cJSON_AddNumberToObject(entry, "layer", cell->layer) &&
                   cJSON_AddStringToObject(entry, "op", weft_op_name(cell->op)) &&
                   json_add_text(entry, "name", cell->name, strlen(cell->name)) &&
                   json_add_text(entry, "kernel", cell->kernel, strlen(cell->kernel)) &&
                   cJSON_AddNumberToObject(entry, "step", cell->step) && check_add_number(entry, "share", cell->share) &&
                   check_add_number(entry, "nmse", cell->nmse) && check_add_number(entry, "error", cell->error) &&
                   cJSON_AddBoolToObject(entry, "passed", !cell->failed);
    }
    return complete;
}

void check_heat_free(check_heat *heat) {
    free(heat->cells);
    *heat = (check_heat){0};
}
