/* A model, a device, a graph and an engine for the tests of reserved words, on a runtime that counts what is allocated. */
#ifndef WEFT_TESTS_RESERVED_SUPPORT_H
#define WEFT_TESTS_RESERVED_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/limited_allocator.h"
#include "weft/check.h"
#include "weft/rope_table.h"

/* PATH, the name of the model file, is the test's own. */
#define COUNT(array) (sizeof(array) / sizeof *(array))

static limited_allocator limits; /* fills new memory with 0xa5 */
static weft_runtime *runtime;
static weft_model *model;
static weft_device *device;
static weft_graph *graph;
static weft_engine *engine;

static inline void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static inline int set_up(void **state) {
    (void)state;
    weft_error error = {0};
    runtime = limited_runtime(&limits);
    must(weft_synth(runtime, &(weft_synth_options){.shape = "tiny", .mix = "Q4_0"}, PATH, &error), &error);
    must(weft_model_open(runtime, PATH, &model, &error), &error);
    must(weft_device_open(runtime, "cpu", &(weft_device_options){.n_threads = 1}, &device, &error), &error);
    must(weft_model_graph(model, NULL, 1, 1, &graph, &error), &error);
    weft_engine_options options = {.device = "cpu", .device_options.n_threads = 1, .n_ctx = 64, .max_top = 2, .embeddings = true};
    must(weft_engine_create(model, &options, &engine, &error), &error);
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    weft_engine_destroy(engine);
    weft_graph_destroy(graph);
    weft_device_close(device);
    weft_model_close(model);
    weft_runtime_destroy(runtime);
    remove(PATH);
    return limits.n_live != 0;
}

#endif
