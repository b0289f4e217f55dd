/* A backend "liar" that breaks its side of the interface: the null backend with changes of a test. */
#ifndef WEFT_TESTS_LIAR_SUPPORT_H
#define WEFT_TESTS_LIAR_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fixture.h"

#define GRACE_NS UINT64_C(50000000)

static weft_backend honest, liar; /* the null backend, and the copy that a test changes */
static limited_allocator limits;
static weft_runtime *runtime;

static inline int begin(void **state) {
    (void)state;
    limits = (limited_allocator){0};
    runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    for (size_t i = 0; i < runtime->n_backends; i++)
        if (strcmp(runtime->backends[i]->name, "null") == 0) honest = *runtime->backends[i];
    liar = honest;
    liar.name = "liar";
    liar.rank = 0;
    runtime->backends[0] = &liar;
    runtime->n_backends = 1;
    runtime->grace_ns = GRACE_NS;
    return 0;
}

static inline int end(void **state) {
    (void)state;
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
    return 0;
}

static inline weft_device *open_liar(void) {
    weft_device *device = NULL;
    weft_error error = {0};
    if (weft_device_open(runtime, "liar", NULL, &device, &error)) fail_msg("%s", error.message);
    return device;
}

static inline void assert_says(const weft_error *error, weft_status status, const char *text) {
    assert_int_equal(error->status, status);
    if (!strstr(error->message, text)) fail_msg("\"%s\" is not in \"%s\"", text, error->message);
}

/* ---- A store and a plan of the liar ---- */

typedef struct work {
    weft_device *device;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
    weft_value value;
} work;

static inline weft_status open_work(work *all, weft_error *error) {
    *all = (work){.device = open_liar()};
    weft_tensor tensor = matrix(WEFT_F32, 4, 1);
    weft_value x, w, s;
    assert_int_equal(weft_graph_create(runtime, &all->graph, NULL), WEFT_OK);
    assert_int_equal(weft_graph_input(all->graph, "x", &tensor, &x, NULL), WEFT_OK);
    assert_int_equal(weft_graph_weight(all->graph, "w", &tensor, &w, NULL), WEFT_OK);
    assert_int_equal(weft_graph_state(all->graph, "s", &tensor, &s, NULL), WEFT_OK);
    assert_int_equal(add_node(all->graph, WEFT_OP_ADD, "sum", x, w, &all->value, NULL), WEFT_OK);
    assert_int_equal(weft_graph_output(all->graph, all->value, NULL), WEFT_OK);
    weft_store_options options = {.keep = true};
    weft_status status = weft_store_create(all->device, (const weft_graph *const[]){all->graph}, 1, &options, &all->store, error);
    if (!status) status = weft_store_load(all->store, &weight_source, error);
    return status ? status : weft_plan_create(all->store, all->graph, &all->plan, error);
}

static inline void close_work(work *all) {
    weft_plan_destroy(all->plan);
    weft_store_destroy(all->store);
    weft_graph_destroy(all->graph);
    weft_device_close(all->device);
}

static inline weft_ticket submit(weft_plan *plan, weft_status expected, weft_error *error) {
    weft_ticket ticket = 0;
    void *inputs[1];
    assert_int_equal(weft_plan_begin(plan, &ticket, inputs, error), WEFT_OK);
    assert_int_equal(weft_plan_submit(plan, ticket, error), expected);
    return ticket;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

#endif
