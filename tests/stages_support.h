/* Engines whose layers are divided among devices, in `exact`, for a synthetic model of three layers. */
#ifndef WEFT_TESTS_STAGES_SUPPORT_H
#define WEFT_TESTS_STAGES_SUPPORT_H

#include "engine_support.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline weft_engine_options plain_options(const char *device) {
    return (weft_engine_options){.device = device,
                                 .device_options.n_threads = 1,
                                 .precision = WEFT_EXACT,
                                 .n_ctx = 96,
                                 .n_sequences = 4,
                                 .page_size = 8,
                                 .max_rows = 16,
                                 .max_step_ms = 60000, /* steps have many rows, however slow the device is */
                                 .max_top = N_TOP};
}

static inline weft_engine_options placed_options(const weft_stage *stages, size_t n_stages) {
    weft_engine_options options = plain_options(NULL);
    options.stages = stages;
    options.n_stages = n_stages;
    return options;
}

static inline weft_engine *create_engine(weft_model *model, weft_engine_options options) {
    weft_error error = {0};
    weft_engine *engine = NULL;
    CHECK(weft_engine_create(model, &options, &engine, &error));
    return engine;
}

#endif
