/* A backend with planted faults, "planted": it changes the schedules that another backend records. For tests of checks. */
#ifndef WEFT_TESTS_CHECKING_SUPPORT_H
#define WEFT_TESTS_CHECKING_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/runtime.h"
#include "tests/device_support.h"
#include "weft/backend.h"
#include "weft/check.h"
#include "weft/ops/attention.h"

/* A fault of each phase of an op, or of the second one of a step, for which `concerns` is true. */
typedef struct planted_fault {
    weft_op op;
    bool second; /* in a plan of a whole step, only the second phase of this op */
    bool (*concerns)(const weft_phase *phase);
    void (*change)(weft_phase *phase);
} planted_fault;

#define MAX_PHASES 64

static const planted_fault *planted;
static weft_backend planted_backend;
static const weft_backend *planted_original;

static inline weft_status planted_plan_create(weft_backend_device *device, const weft_schedule *schedule, weft_backend_plan **plan,
                                              weft_error *error) {
    static weft_phase phases[MAX_PHASES];
    weft_schedule changed = *schedule;
    size_t n = 0;
    assert_true(schedule->n_phases <= MAX_PHASES);
    memcpy(phases, schedule->phases, schedule->n_phases * sizeof *phases);
    changed.phases = phases;
    for (size_t i = 0; i < schedule->n_phases && planted; i++) {
        if (phases[i].op != planted->op) continue;
        bool chosen = !planted->second || schedule->n_phases < 4 || n == 1;
        n++;
        if (chosen && (!planted->concerns || planted->concerns(&phases[i]))) planted->change(&phases[i]);
    }
    return planted_original->plan_create(device, &changed, plan, error);
}

/* Adds the backend to the runtime, made of `device_name`'s. */
static inline bool plant_backend(weft_runtime *runtime) {
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, device_name) == 0) planted_original = runtime->backends[i];
    if (!planted_original) return false;
    planted_backend = *planted_original;
    planted_backend.name = "planted";
    planted_backend.plan_create = planted_plan_create;
    runtime->backends[runtime->n_backends++] = &planted_backend;
    return true;
}

/* ---- What is checked ---- */

static weft_runtime *runtime;
static weft_model *model;
static weft_device *devices[2]; /* the CPU's, and the planted one */

/* A small model in a file that is called after the test. */
static inline int begin_checking(const char *test, const char *mix) {
    weft_error error = {0};
    const weft_synth_options synth = {.shape = "tiny-qwen2", .mix = mix, .seed = 5};
    const weft_device_options one_thread = {.n_threads = 1};
    if (weft_runtime_create(NULL, &runtime, &error) || !plant_backend(runtime)) return -1;
    if (weft_synth(runtime, &synth, device_path(test), &error)) return -1;
    if (weft_model_open(runtime, device_path(test), &model, &error)) return -1;
    if (weft_device_open(runtime, "cpu", &one_thread, &devices[0], &error)) return -1;
    return weft_device_open(runtime, "planted", &one_thread, &devices[1], &error) ? -1 : 0;
}

static inline int end_checking(const char *test) {
    for (size_t i = 0; i < 2; i++) weft_device_close(devices[i]);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    return remove(device_path(test));
}

/* ---- Faults ---- */

static inline void scale_scores(weft_phase *phase) {
    static weft_attention_params params;
    memcpy(&params, phase->params, sizeof params);
    params.scale *= 1.01f;
    phase->params = &params;
}

static inline bool has_many_rows(const weft_phase *phase) {
    return phase->outputs[0].tensor.shape[1] >= 4;
}

#endif
