/* A step that a cancel stopped never counts as run, whatever the moment at which it ends. Here the driver says whether a step has
 * ended only after it has. Skipped if there is no device.
 */
#include "graph_support.h"
#include "vulkan_faults.h"

enum { N = 64, N_STEPS = 4, N_ROUNDS = 20 };

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static weft_status read_nothing(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)name;
    (void)offset;
    (void)into;
    (void)size;
    (void)error;
    return WEFT_OK;
}

static weft_ticket submit(weft_plan *plan, float value) {
    weft_error error;
    weft_ticket ticket;
    void *inputs[1];
    check(weft_plan_begin(plan, &ticket, inputs, &error), &error);
    for (size_t i = 0; i < N; i++) ((float *)inputs[0])[i] = value;
    check(weft_plan_submit(plan, ticket, &error), &error);
    return ticket;
}

static void check_step(weft_plan *plan, weft_ticket ticket, float value) {
    weft_error error;
    const void *outputs[1];
    weft_status status = weft_plan_wait(plan, ticket, UINT64_MAX, outputs, &error);
    if (status != WEFT_CANCELLED) {
        check(status, &error);
        for (size_t i = 0; i < N; i++) assert_true(((const float *)outputs[0])[i] == 2 * value);
    }
    weft_plan_release(plan, ticket);
}

static void test_a_stopped_step_is_cancelled(void **state) {
    (void)state;
    counting c;
    weft_error error;
    builder b;
    weft_device *device = NULL;
    weft_store *store = NULL;
    weft_plan *plan = NULL;
    weft_runtime *runtime = make_runtime(&c);
    vulkan_faults_install();
    if (weft_device_open(runtime, "vulkan", NULL, &device, &error) != WEFT_OK) {
        printf("skipped: %s\n", error.message);
        end_runtime(runtime, &c);
        skip();
    }
    begin_graph(&b, runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, N, 1, 1, 1);
    weft_value y = NODE0(&b, WEFT_OP_ADD, "y", x, x);
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, y, &b.error);
    check(b.status, &b.error);
    const weft_graph *graphs[] = {b.graph};
    check(weft_store_create(device, graphs, 1, &(weft_store_options){.n_slots = N_STEPS}, &store, &error), &error);
    check(weft_store_load(store, &(weft_weight_source){.read = read_nothing}, &error), &error);
    check(weft_plan_create(store, b.graph, &plan, &error), &error);
    for (int round = 0; round < N_ROUNDS; round++) {
        weft_ticket tickets[N_STEPS];
        for (int i = 0; i < N_STEPS; i++) tickets[i] = submit(plan, (float)(1 + round * N_STEPS + i));
        faults.late_answers = true;
        weft_store_cancel(store);
        faults.late_answers = false;
        for (int i = 0; i < N_STEPS; i++) check_step(plan, tickets[i], (float)(1 + round * N_STEPS + i));
    }
    weft_plan_destroy(plan);
    weft_store_destroy(store);
    weft_graph_destroy(b.graph);
    weft_device_close(device);
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_stopped_step_is_cancelled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
