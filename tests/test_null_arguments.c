/* Every function of weft.h, speed.h and check.h with NULL for each thing it needs: a status and a message, never a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fixture.h"
#include "weft/check.h"
#include "weft/rope_table.h"
#include "weft/speed.h"

typedef struct world {
    weft_runtime *runtime;
    weft_device *device;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
    weft_tensor tensor;
    weft_value value;
} world;

static world w;
static weft_error error;
static char called[4096]; /* names of functions, each between spaces */

static int open_world(void **state) {
    (void)state;
    weft_value x, s;
    w = (world){.tensor = matrix(WEFT_F32, 4, 1)};
    assert_int_equal(weft_runtime_create(NULL, &w.runtime, &error), WEFT_OK);
    assert_int_equal(weft_device_open(w.runtime, "null", NULL, &w.device, &error), WEFT_OK);
    assert_int_equal(weft_graph_create(w.runtime, &w.graph, &error), WEFT_OK);
    assert_int_equal(weft_graph_input(w.graph, "x", &w.tensor, &x, &error), WEFT_OK);
    assert_int_equal(weft_graph_state(w.graph, "s", &w.tensor, &s, &error), WEFT_OK);
    assert_int_equal(add_node(w.graph, WEFT_OP_ADD, "sum", x, s, &w.value, &error), WEFT_OK);
    assert_int_equal(weft_graph_output(w.graph, w.value, &error), WEFT_OK);
    weft_store_options options = {.keep = true};
    assert_int_equal(weft_store_create(w.device, (const weft_graph *const[]){w.graph}, 1, &options, &w.store, &error), WEFT_OK);
    assert_int_equal(weft_store_load(w.store, NULL, &error), WEFT_OK);
    assert_int_equal(weft_plan_create(w.store, w.graph, &w.plan, &error), WEFT_OK);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    weft_plan_destroy(w.plan);
    weft_store_destroy(w.store);
    weft_graph_destroy(w.graph);
    weft_device_close(w.device);
    weft_runtime_destroy(w.runtime);
    return 0;
}

static void note(const char *name, const char *arguments, weft_status status) {
    if (status != WEFT_INVALID_ARGUMENT || error.status != WEFT_INVALID_ARGUMENT || strlen(error.message) < 10)
        fail_msg("%s(%s): %s, \"%s\"", name, arguments, weft_status_text(status), error.message);
    size_t length = strlen(called);
    assert_true(length + strlen(name) + 3 < sizeof called);
    snprintf(called + length, sizeof called - length, " %s ", name);
    error = (weft_error){0};
}

/* With a place for the message and without. */
#define REFUSED(function, ...)                                                                                                     \
    do {                                                                                                                           \
        note(#function, #__VA_ARGS__, function(__VA_ARGS__, &error));                                                              \
        assert_int_equal(function(__VA_ARGS__, NULL), WEFT_INVALID_ARGUMENT);                                                      \
    } while (0)

static weft_status list_nothing(void *user, const weft_node_support *kernel) {
    (void)user, (void)kernel;
    return WEFT_OK;
}

static weft_status write_nothing(void *user, const char *text, size_t size) {
    (void)user, (void)text, (void)size;
    return WEFT_OK;
}

static void devices_and_runtimes(void **state) {
    (void)state;
    weft_device *device = NULL;
    weft_device_info info;
    size_t count;
    double bandwidth;
    float values[4];
    const weft_rope_options rope = {.n_dims = 4, .freq_base = 10000};
    REFUSED(weft_runtime_create, NULL, NULL);
    REFUSED(weft_runtime_load_backend, NULL, "plugin.so");
    REFUSED(weft_runtime_load_backend, w.runtime, NULL);
    REFUSED(weft_dequantise, WEFT_F32, NULL, 4, values);
    REFUSED(weft_dequantise, WEFT_Q8_0, NULL, 32, values);
    REFUSED(weft_dequantise, WEFT_F32, values, 4, NULL);
    assert_int_equal(weft_dequantise(WEFT_F32, NULL, 0, NULL, &error), WEFT_OK);
    REFUSED(weft_devices, NULL, &info, 1, &count);
    REFUSED(weft_devices, w.runtime, NULL, 1, &count);
    REFUSED(weft_devices, w.runtime, &info, 1, NULL);
    REFUSED(weft_device_open, NULL, "null", NULL, &device);
    REFUSED(weft_device_open, w.runtime, "null", NULL, NULL);
    REFUSED(weft_device_describe, NULL, &info);
    REFUSED(weft_device_describe, w.device, NULL);
    REFUSED(weft_device_read_bandwidth, NULL, &bandwidth);
    REFUSED(weft_device_read_bandwidth, w.device, NULL);
    REFUSED(weft_device_weight_speed, NULL, WEFT_Q8_0, WEFT_FAST, &bandwidth);
    REFUSED(weft_device_weight_speed, w.device, WEFT_Q8_0, WEFT_FAST, NULL);
    REFUSED(weft_device_weight_speed, w.device, WEFT_I32, WEFT_FAST, &bandwidth);
    REFUSED(weft_device_weight_speed, w.device, WEFT_TYPE_COUNT, WEFT_FAST, &bandwidth);
    REFUSED(weft_rope_table, NULL, 0, 1, values);
    REFUSED(weft_rope_table, &rope, 0, 1, NULL);
}

static void graphs(void **state) {
    (void)state;
    weft_graph *graph = NULL;
    weft_value value, inputs[WEFT_MAX_INPUTS] = {0, 0}, outputs[WEFT_MAX_OUTPUTS];
    weft_tensor tensor;
    weft_node node;
    weft_node_support support;
    size_t last = weft_graph_node_count(w.graph) - 1;
    REFUSED(weft_graph_create, NULL, &graph);
    REFUSED(weft_graph_create, w.runtime, NULL);
    weft_status (*const leaves[])(weft_graph *, const char *, const weft_tensor *, weft_value *,
                                  weft_error *) = {weft_graph_weight, weft_graph_input, weft_graph_state};
    static const char *const names[] = {"weft_graph_weight", "weft_graph_input", "weft_graph_state"};
    for (size_t i = 0; i < 3; i++) {
        note(names[i], "no graph", leaves[i](NULL, "y", &w.tensor, &value, &error));
        note(names[i], "no name", leaves[i](w.graph, NULL, &w.tensor, &value, &error));
        note(names[i], "no tensor", leaves[i](w.graph, "y", NULL, &value, &error));
        note(names[i], "no value", leaves[i](w.graph, "y", &w.tensor, NULL, &error));
    }
    const weft_slice slice = {.source = "whole", .shape = {4, 1, 1, 1}};
    float values[4];
    REFUSED(weft_graph_weight_slice, NULL, "y", &w.tensor, &slice, &value);
    REFUSED(weft_graph_weight_slice, w.graph, NULL, &w.tensor, &slice, &value);
    REFUSED(weft_graph_weight_slice, w.graph, "y", NULL, &slice, &value);
    REFUSED(weft_graph_weight_slice, w.graph, "y", &w.tensor, NULL, &value);
    REFUSED(weft_graph_weight_slice, w.graph, "y", &w.tensor, &slice, NULL);
    assert_int_equal(weft_graph_create(w.runtime, &graph, &error), WEFT_OK);
    assert_int_equal(weft_graph_weight(graph, "w", &w.tensor, &value, &error), WEFT_OK);
    REFUSED(weft_graph_read_weight, NULL, value, &weight_source, values, sizeof values);
    REFUSED(weft_graph_read_weight, graph, value, NULL, values, sizeof values);
    REFUSED(weft_graph_read_weight, graph, value, &weight_source, NULL, sizeof values);
    weft_graph_destroy(graph);
    REFUSED(weft_graph_add, NULL, WEFT_OP_ADD, "n", inputs, NULL, 0, outputs);
    REFUSED(weft_graph_add, w.graph, WEFT_OP_ADD, "n", NULL, NULL, 0, outputs);
    REFUSED(weft_graph_add, w.graph, WEFT_OP_ADD, "n", inputs, NULL, 0, NULL);
    REFUSED(weft_graph_add, w.graph, WEFT_OP_NONE, "n", NULL, NULL, 0, outputs);
    REFUSED(weft_graph_add, w.graph, WEFT_OP_ROPE, "n", inputs, NULL, 8, outputs);
    REFUSED(weft_graph_output, NULL, w.value);
    REFUSED(weft_graph_tensor, NULL, w.value, &tensor);
    REFUSED(weft_graph_tensor, w.graph, w.value, NULL);
    REFUSED(weft_graph_node, NULL, 0, &node);
    REFUSED(weft_graph_node, w.graph, 0, NULL);
    REFUSED(weft_graph_support, NULL, last, w.device, WEFT_FAST, &support);
    REFUSED(weft_graph_support, w.graph, last, NULL, WEFT_FAST, &support);
    REFUSED(weft_graph_support, w.graph, last, w.device, WEFT_FAST, NULL);
    uint64_t operations, bytes;
    REFUSED(weft_graph_node_cost, NULL, last, &operations, &bytes);
    REFUSED(weft_graph_node_cost, w.graph, last, NULL, &bytes);
    REFUSED(weft_graph_node_cost, w.graph, last, &operations, NULL);
    REFUSED(weft_graph_fuse, NULL, w.device, WEFT_FAST, &graph);
    REFUSED(weft_graph_fuse, w.graph, NULL, WEFT_FAST, &graph);
    REFUSED(weft_graph_fuse, w.graph, w.device, WEFT_FAST, NULL);
    REFUSED(weft_graph_print, NULL, NULL, write_nothing, NULL);
    REFUSED(weft_graph_print, w.graph, NULL, NULL, NULL);
    REFUSED(weft_graph_kernels, NULL, last, w.device, WEFT_FAST, list_nothing, NULL);
    REFUSED(weft_graph_kernels, w.graph, last, NULL, WEFT_FAST, list_nothing, NULL);
    REFUSED(weft_graph_kernels, w.graph, last, w.device, WEFT_FAST, NULL, NULL);
}

static void stores_and_plans(void **state) {
    (void)state;
    const weft_graph *const list[] = {w.graph}, *const holes[] = {NULL};
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_ticket ticket;
    void *inputs[1];
    float values[4];
    REFUSED(weft_store_create, NULL, list, 1, NULL, &store);
    REFUSED(weft_store_create, w.device, NULL, 1, NULL, &store);
    REFUSED(weft_store_create, w.device, holes, 1, NULL, &store);
    REFUSED(weft_store_create, w.device, list, 1, NULL, NULL);
    REFUSED(weft_store_load, NULL, &weight_source);
    REFUSED(weft_store_read_state, NULL, "s", 0, values, 4);
    REFUSED(weft_store_read_state, w.store, NULL, 0, values, 4);
    REFUSED(weft_store_read_state, w.store, "s", 0, NULL, 4);
    REFUSED(weft_store_write_state, NULL, "s", 0, values, 4);
    REFUSED(weft_store_write_state, w.store, NULL, 0, values, 4);
    REFUSED(weft_store_write_state, w.store, "s", 0, NULL, 4);
    REFUSED(weft_plan_create, NULL, w.graph, &plan);
    REFUSED(weft_plan_create, w.store, NULL, &plan);
    REFUSED(weft_plan_create, w.store, w.graph, NULL);
    REFUSED(weft_plan_begin, NULL, &ticket, inputs);
    REFUSED(weft_plan_begin, w.plan, NULL, inputs);
    REFUSED(weft_plan_begin, w.plan, &ticket, NULL);
    REFUSED(weft_plan_submit, NULL, 1);
    REFUSED(weft_plan_wait, NULL, 1, 0, NULL);
    REFUSED(weft_plan_read, NULL, w.value, values, sizeof values);
    REFUSED(weft_plan_read, w.plan, w.value, NULL, sizeof values);
}

static void checks(void **state) {
    (void)state;
    weft_check_summary summary;
    weft_check_model_summary model_summary;
    weft_check_greedy_summary greedy_summary;
    weft_device *const devices[] = {w.device};
    const weft_engine_options engine = {.device = "null"};
    REFUSED(weft_check_ops, NULL, NULL, NULL, NULL, &summary);
    REFUSED(weft_bench_ops, NULL, NULL, NULL, NULL);
    REFUSED(weft_bench_model, NULL, w.device, NULL, NULL, NULL, NULL);
    REFUSED(weft_check_model, NULL, devices, 1, NULL, NULL, NULL, &model_summary);
    REFUSED(weft_check_widths, NULL, NULL, NULL, NULL, NULL, NULL);
    REFUSED(weft_check_record, NULL, w.device, NULL, NULL, NULL);
    REFUSED(weft_check_golden_describe, NULL, 0, NULL);
    REFUSED(weft_check_replay, NULL, devices, 1, NULL, 0, NULL, NULL, NULL, NULL);
    REFUSED(weft_check_value, NULL, w.device, NULL, 0, "sample", 0, NULL, NULL);
    REFUSED(weft_check_extract, NULL, w.device, NULL, 0, "sample", NULL, NULL);
    REFUSED(weft_check_reproduce, w.device, NULL, 0, NULL, NULL);
    assert_false(weft_check_is_reproduction(NULL, 8));
    REFUSED(weft_check_bisect, NULL, w.device, NULL, NULL, NULL, NULL);
    REFUSED(weft_check_text, NULL, NULL, 2, "ab", 2, NULL, NULL, NULL);
    REFUSED(weft_check_greedy, NULL, &engine, 1, NULL, 1, NULL, NULL, NULL, &greedy_summary);
}

static void what_returns_no_status(void **state) {
    (void)state;
    static const weft_store_bytes no_bytes;
    static const weft_plan_info nothing;
    weft_store_bytes bytes;
    weft_plan_info info;
    weft_type type = WEFT_F32;
    weft_runtime_destroy(NULL);
    weft_device_close(NULL);
    weft_graph_destroy(NULL);
    weft_store_destroy(NULL);
    weft_plan_destroy(NULL);
    weft_store_cancel(NULL);
    weft_plan_release(NULL, 1);
    weft_log(NULL, WEFT_LOG_INFO, "nobody");
    weft_log(w.runtime, WEFT_LOG_INFO, NULL);
    assert_null(weft_allocate(NULL, 8));
    assert_null(weft_reallocate(NULL, NULL, 0, 8));
    weft_release(NULL, NULL);
    assert_false(weft_type_from_name(NULL, &type));
    assert_true(weft_type_from_name("F32", NULL));
    assert_int_equal(weft_tensor_bytes(NULL), 0);
    assert_null(weft_device_runtime(NULL));
    assert_int_equal(weft_graph_node_count(NULL), 0);
    weft_store_measure(w.store, NULL);
    weft_store_measure(NULL, &bytes);
    assert_memory_equal(&bytes, &no_bytes, sizeof bytes);
    weft_plan_describe(w.plan, NULL);
    weft_plan_describe(NULL, &info);
    assert_memory_equal(&info, &nothing, sizeof info);
    assert_null(weft_plan_graph(NULL));
}

/* After the others: no function of the headers that returns a status is missing here, but for those that make one. */
static void none_is_missing(void **state) {
    (void)state;
    static const char *const headers[] = {"weft.h", "speed.h", "check.h"}, declaration[] = "WEFT_API weft_status ";
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        char path[512], line[512], name[80], wanted[96];
        snprintf(path, sizeof path, "%s../../include/weft/%s", WEFT_TEST_DATA, headers[i]);
        FILE *header = fopen(path, "r");
        assert_non_null(header);
        while (fgets(line, sizeof line, header)) {
            if (strncmp(line, declaration, sizeof declaration - 1) != 0) continue;
            assert_int_equal(sscanf(line + sizeof declaration - 1, "%79[a-z_]", name), 1);
            if (strcmp(name, "weft_require_zero") == 0) continue;
            snprintf(wanted, sizeof wanted, " %s ", name);
            if (!strstr(called, wanted)) fail_msg("%s is not called with NULL", name);
            n++;
        }
        fclose(header);
    }
    assert_true(n > 25);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_and_runtimes),   cmocka_unit_test(graphs),
        cmocka_unit_test(stores_and_plans),       cmocka_unit_test(checks),
        cmocka_unit_test(what_returns_no_status), cmocka_unit_test(none_is_missing),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
