/* The start of tests of stores and plans: a runtime that counts allocations and knows only the scripted backend. */
#ifndef WEFT_TESTS_FIXTURE_H
#define WEFT_TESTS_FIXTURE_H

#include "core/runtime.h"
#include "tests/limited_allocator.h"
#include "tests/support/scripted_backend.h"

typedef struct fixture {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_device *device;
} fixture;

/* Resets the script. */
static inline weft_status fixture_open(fixture *all, weft_error *error) {
    all->runtime = limited_runtime(&all->limits);
    if (!all->runtime) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a runtime");
    all->runtime->backends[0] = script.stages ? &scripted_staging_backend : &scripted_backend;
    all->runtime->n_backends = 1;
    weft_device_options options = {.spin_ns = script.spin_ns};
    return weft_device_open(all->runtime, "scripted", &options, &all->device, error);
}

static inline void fixture_close(fixture *all) {
    weft_device_close(all->device);
    weft_runtime_destroy(all->runtime);
}

static inline weft_tensor matrix(weft_type type, int64_t n, int64_t n_columns) {
    return (weft_tensor){type, {n, n_columns, 1, 1}};
}

/* Adds a node of two inputs (the second may be WEFT_NONE) and one output. */
static inline weft_status add_node(weft_graph *graph, weft_op op, const char *name, weft_value a, weft_value b, weft_value *output,
                                   weft_error *error) {
    weft_value inputs[WEFT_MAX_INPUTS] = {a, b}, outputs[WEFT_MAX_OUTPUTS];
    weft_status status = weft_graph_add(graph, op, name, inputs, NULL, 0, outputs, error);
    if (!status) *output = outputs[0];
    return status;
}

/* The elements of every weight follow from its name and the element's index, so that any test can compute them. */
static inline float weight_element(const char *name, uint64_t index) {
    uint64_t z = index * 0x9e3779b97f4a7c15u;
    for (const char *c = name; *c; c++) z = (z ^ (unsigned char)*c) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (float)(int32_t)(z >> 40) / 8388608.0f - 1.0f;
}

static inline weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)error;
    float *elements = into;
    for (size_t i = 0; i < size / 4; i++) elements[i] = weight_element(name, offset / 4 + i);
    return WEFT_OK;
}

static const weft_weight_source weight_source = {.read = read_weight};

/* One step of a plan without inputs. The output is valid until the plan's next step. */
static inline weft_plan *run_step(weft_store *store, const weft_graph *graph, const void **output) {
    weft_error error = {0};
    weft_plan *plan = NULL;
    weft_ticket ticket;
    assert_int_equal(weft_plan_create(store, graph, &plan, &error), WEFT_OK);
    assert_int_equal(weft_plan_begin(plan, &ticket, NULL, &error), WEFT_OK);
    assert_int_equal(weft_plan_submit(plan, ticket, &error), WEFT_OK);
    assert_int_equal(weft_plan_wait(plan, ticket, UINT64_MAX, output, &error), WEFT_OK);
    return plan;
}

/* Ends the script of a fixture from which everything was given back. */
static inline void assert_given_back(fixture *all) {
    fixture_close(all);
    if (script.broken) fail_msg("%s", script.complaint);
    assert_int_equal(all->limits.n_live, 0);
    script_end();
}

#endif
