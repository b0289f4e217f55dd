/* One tiny model for all tests of a program. Define PATH, the model's file, before this is included. */
#ifndef WEFT_TESTS_TINY_MODEL_H
#define WEFT_TESTS_TINY_MODEL_H

#include "engine_support.h"

static weft_runtime *runtime;
static weft_model *model;

static int setup(void **state) {
    (void)state;
    return begin_tiny(&runtime, &model, PATH);
}

static int teardown(void **state) {
    (void)state;
    return end_tiny(runtime, model, PATH);
}

#endif
