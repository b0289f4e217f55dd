/* Which device "auto" is: the fastest that has the memory, by a short measurement where there are several. */
#include <stdio.h>
#include <string.h>

#include "decoder/engine.h"
#include "weft/speed.h"

/* A later device must be this much faster than one before it. */
#define FASTER 1.5

typedef struct choosing {
    weft_model *model;
    weft_engine_options options;
    weft_device_choice *list; /* `capacity` of them */
    size_t n, capacity;
    bool named, thorough; /* thorough: measures the memory on devices that cannot be chosen, too */
    weft_type type;       /* of most of the weights */
    weft_error failure;   /* the first device's that was left over */
} choosing;

static void release(choosing *c) {
    weft_release(c->model->runtime, c->list);
}

static weft_status list_devices(choosing *c, weft_error *error) {
    weft_runtime *runtime = c->model->runtime;
    weft_device_info *infos = NULL;
    size_t capacity = 0, n = 8;
    weft_status status = WEFT_OK;
    while (status == WEFT_OK && n > capacity) {
        weft_release(runtime, infos);
        capacity = n;
        infos = weft_allocate(runtime, capacity * sizeof *infos);
        if (!infos) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory to list %zu devices", capacity);
        status = weft_devices(runtime, infos, capacity, &n, error);
    }
    c->list = status == WEFT_OK && n > 0 ? weft_allocate(runtime, n * sizeof *c->list) : NULL;
    if (status == WEFT_OK && n > 0 && !c->list)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory to choose among %zu devices", n);
    c->capacity = n;
    for (size_t i = 0; status == WEFT_OK && i < n; i++) {
        const char *name = c->options.device;
        const weft_device_info *info = &infos[i];
        if (c->named && strcmp(name, info->id) && strcmp(name, info->stable_id) && strcmp(name, info->backend)) continue;
        c->list[c->n++] = (weft_device_choice){.device = *info};
    }
    weft_release(runtime, infos);
    return status;
}

static const char *name_of(const weft_device_choice *choice) {
    return choice->device.id[0] ? choice->device.id : choice->device.backend;
}

/* The part of a stable id that names the card, whatever the backend; NULL if there is none. */
static const char *card_of(const weft_device_info *info) {
    const char *card = strchr(info->stable_id, ':');
    return card && strcmp(info->stable_id, info->id) != 0 ? card + 1 : NULL;
}

/* A card that a better backend has, too, comes with that one. */
static const weft_device_choice *same_card(const choosing *c, size_t index) {
    const char *card = card_of(&c->list[index].device);
    for (size_t i = 0; i < index && card; i++) {
        const char *other = card_of(&c->list[i].device);
        if (!c->list[i].reason[0] && other && strcmp(card, other) == 0) return &c->list[i];
    }
    return NULL;
}

/* The devices that are never chosen get their reason. */
static void pass_over(choosing *c) {
    for (size_t i = 0; i < c->n; i++) {
        weft_device_choice *choice = &c->list[i];
        const weft_device_info *info = &choice->device;
        const weft_device_choice *same = same_card(c, i);
        if (info->unusable[0])
            snprintf(choice->reason, sizeof choice->reason, "cannot be used: %s", info->unusable);
        else if (c->named)
            continue;
        else if (info->kind == WEFT_DEVICE_SOFTWARE_GPU)
            snprintf(choice->reason, sizeof choice->reason, "the processor playing a GPU, which is slower than the cpu backend");
        else if (!info->automatic)
            snprintf(choice->reason, sizeof choice->reason, "is used only if it is named");
        else if (same)
            snprintf(choice->reason, sizeof choice->reason, "the same card as %s", name_of(same));
    }
}

static bool is_left(const weft_device_choice *choice) {
    return !choice->reason[0];
}

static size_t count_left(const choosing *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) n += is_left(&c->list[i]);
    return n;
}

/* ---- Memory ---- */

static void note_failure(choosing *c, const weft_error *error) {
    if (c->failure.status == WEFT_OK || (error->status == WEFT_OUT_OF_MEMORY && c->failure.status != WEFT_OUT_OF_MEMORY))
        c->failure = *error;
}

static void measure_memory(choosing *c, weft_device_choice *choice) {
    const bool left = is_left(choice);
    weft_engine trial = {.runtime = c->model->runtime, .model = c->model};
    weft_engine_options options = c->options;
    weft_error error = {0};
    options.device = name_of(choice);
    weft_status status = weft_engine_open(&trial, &options, &error);
    if (status == WEFT_OK) {
        choice->device = trial.stages[0].device_info;
        choice->bytes = weft_stages_measure(&trial, NULL);
        choice->fits = weft_fits(&choice->device, &choice->bytes);
        if (!choice->fits) {
            choice->n_ctx_fits = weft_fit_context(&trial, &options);
            weft_fit_text(&trial, choice->n_ctx_fits, error.message, sizeof error.message);
            error.status = WEFT_OUT_OF_MEMORY;
        }
    }
    weft_stages_close(&trial);
    if (choice->fits || !left) return;
    snprintf(choice->reason, sizeof choice->reason, "%.*s", (int)sizeof choice->reason - 1, error.message);
    note_failure(c, &error);
}

/* Whether an earlier device of the same kind is left, which is then as good. */
static const weft_device_choice *find_twin(const choosing *c, const weft_device_choice *choice) {
    const weft_device_info *info = &choice->device;
    for (const weft_device_choice *twin = c->list; twin < choice; twin++) {
        if (twin->fits && is_left(twin) && strcmp(twin->device.backend, info->backend) == 0 && info->name[0] &&
            strcmp(twin->device.name, info->name) == 0 && strcmp(twin->device.driver, info->driver) == 0)
            return twin;
    }
    return NULL;
}

static void measure_all(choosing *c) {
    for (size_t i = 0; i < c->n; i++) {
        weft_device_choice *choice = &c->list[i];
        const weft_device_choice *twin = is_left(choice) ? find_twin(c, choice) : NULL;
        if (choice->device.unusable[0] || (!c->thorough && (!is_left(choice) || twin))) continue;
        measure_memory(c, choice);
        if (twin && is_left(choice))
            snprintf(choice->reason, sizeof choice->reason, "as good as %s, which comes first", name_of(twin));
    }
    for (size_t i = 0; i < c->n; i++) /* twins that were not opened */
        if (is_left(&c->list[i]) && !c->list[i].fits) snprintf(c->list[i].reason, sizeof c->list[i].reason, "as good as another");
}

/* ---- Speed ---- */

static void find_type(choosing *c) {
    uint64_t bytes[WEFT_TYPE_COUNT] = {0};
    weft_model_tensor tensor;
    c->type = WEFT_F32;
    for (size_t i = 0; weft_model_tensor_at(c->model, i, &tensor); i++)
        if (weft_type_get(tensor.tensor.type)) bytes[tensor.tensor.type] += tensor.bytes;
    for (int type = 0; type < WEFT_TYPE_COUNT; type++)
        if (bytes[type] > bytes[c->type]) c->type = (weft_type)type;
}

static void measure_speed(choosing *c, weft_device_choice *choice) {
    weft_device *device = NULL;
    if (weft_device_open(c->model->runtime, name_of(choice), &c->options.device_options, &device, NULL) != WEFT_OK) return;
    weft_device_weight_speed(device, c->type, c->options.precision, &choice->speed, NULL);
    weft_device_close(device);
}

static weft_device_choice *find_fastest(choosing *c) {
    weft_device_choice *best = NULL;
    for (size_t i = 0; i < c->n; i++) {
        weft_device_choice *choice = &c->list[i];
        if (!is_left(choice)) continue;
        measure_speed(c, choice);
        if (!best || choice->speed > FASTER * best->speed) best = choice;
    }
    return best;
}

static void say_why(choosing *c, weft_device_choice *best) {
    const char *type = weft_type_get(c->type)->name;
    size_t n = (size_t)snprintf(best->reason, sizeof best->reason, "multiplies %.1f GB/s of %s weights", best->speed * 1e-9, type);
    for (size_t i = 0; i < c->n; i++) {
        weft_device_choice *other = &c->list[i];
        if (other == best || !is_left(other)) continue;
        if (n < sizeof best->reason)
            n += (size_t)snprintf(best->reason + n, sizeof best->reason - n, "; %s %.1f", name_of(other), other->speed * 1e-9);
        snprintf(other->reason, sizeof other->reason, "multiplies %.1f GB/s of %s weights, and %s %.1f", other->speed * 1e-9, type,
                 name_of(best), best->speed * 1e-9);
    }
}

/* Of those that are left. */
static void choose_one(choosing *c) {
    size_t n = count_left(c);
    weft_device_choice *best = NULL;
    for (size_t i = 0; i < c->n && !best; i++)
        if (is_left(&c->list[i])) best = &c->list[i];
    if (n > 1 && !c->named) {
        find_type(c);
        best = find_fastest(c);
        say_why(c, best);
    } else if (best) {
        snprintf(best->reason, sizeof best->reason, "%s",
                 c->named ? "it was named" : "no other device can run the model and has the memory for it");
    }
    if (best) best->chosen = true;
    for (size_t i = 0; i < c->n; i++)
        if (is_left(&c->list[i])) snprintf(c->list[i].reason, sizeof c->list[i].reason, "comes after %s", name_of(best));
}

static weft_status begin(choosing *c, weft_model *model, const weft_engine_options *options, weft_error *error) {
    weft_engine_config config;
    *c = (choosing){.model = model};
    if (options) c->options = *options;
    c->options.progress = NULL;
    c->options.stages = NULL;
    c->options.n_stages = 0;
    c->named = c->options.device && strcmp(c->options.device, "auto") != 0;
    weft_status status = weft_engine_configure(model, &c->options, &config, error);
    if (status == WEFT_OK) status = list_devices(c, error);
    if (status == WEFT_OK) pass_over(c);
    return status;
}

weft_status weft_engine_choose(weft_model *model, const weft_engine_options *options, weft_device_choice *list, size_t capacity,
                               size_t *count, weft_error *error) {
    choosing c;
    if (!model || !count || (!list && capacity > 0))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_engine_choose: model, list or count is missing");
    weft_status status = begin(&c, model, options, error);
    c.thorough = true;
    if (status == WEFT_OK) {
        measure_all(&c);
        choose_one(&c);
        for (size_t i = 0; i < c.n && i < capacity; i++) list[i] = c.list[i];
        *count = c.n;
    }
    release(&c);
    return status;
}

/* ---- For weft_engine_create ---- */

static weft_status fail_with_reasons(choosing *c, weft_error *error) {
    char text[sizeof((weft_error *)0)->message] = "";
    size_t n = 0;
    if (c->failure.status == WEFT_OK) { /* tells what there is */
        weft_device *device = NULL;
        weft_status status = weft_device_open(c->model->runtime, "auto", NULL, &device, error);
        weft_device_close(device);
        return status != WEFT_OK ? status : weft_fail(error, WEFT_NOT_FOUND, "the list of devices has just changed");
    }
    for (size_t i = 0; i < c->n && n < sizeof text; i++)
        if (c->list[i].device.automatic)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s: %s", n ? "; " : "", name_of(&c->list[i]), c->list[i].reason);
    return weft_fail(error, c->failure.status, "%s", text);
}

weft_status weft_choose_device(weft_model *model, const weft_engine_options *options, weft_chosen_device *chosen,
                               weft_error *error) {
    choosing c;
    weft_status status = begin(&c, model, options, error);
    if (status == WEFT_OK && count_left(&c) > 1) measure_all(&c);
    if (status == WEFT_OK) choose_one(&c);
    const weft_device_choice *best = NULL;
    for (size_t i = 0; status == WEFT_OK && i < c.n; i++)
        if (c.list[i].chosen) best = &c.list[i];
    if (best) {
        snprintf(chosen->name, sizeof chosen->name, "%s", name_of(best));
        memcpy(chosen->reason, best->reason, sizeof chosen->reason);
    } else if (status == WEFT_OK) {
        status = fail_with_reasons(&c, error);
    }
    release(&c);
    return status;
}
