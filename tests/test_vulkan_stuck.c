/* A device that does not end what it was given, as a card does that hangs and whose driver never says so. What is submitted waits
 * for a semaphore of the test, so nothing burns time and the driver can go on at the end. Waits end with a status within the
 * device's patience, everything can be destroyed, and the device opens again. Skipped if there is no device. */
#include "backends/vulkan/device.h"
#include "core/runtime.h"
#include "graph_support.h"
#include "outlive.h"
#include "vulkan_faults.h"

#define SOON_NS UINT64_C(20000000)
#define LATE_NS UINT64_C(5000000000) /* no call takes this long, even on a busy machine */

#ifdef __SANITIZE_ADDRESS__
/* What a stuck device may still use stays the driver's. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libvulkan\nleak:libLLVM\n";
}
#endif

typedef struct job {
    weft_device *device;
    weft_store *store;
    weft_plan *plan;
    builder b;
} job;

static weft_runtime *runtime;
static counting memory;

static void must(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static weft_backend_device *handle(const job *j) {
    return j->device->handle;
}

static void begin(job *j) {
    weft_error error = {0};
    *j = (job){0};
    must(weft_device_open(runtime, "vulkan", NULL, &j->device, &error), &error);
    begin_graph(&j->b, runtime);
    weft_value updates = add_leaf(&j->b, weft_graph_input, "updates", WEFT_I32, 2, 1, 1, 1);
    weft_value words = add_leaf(&j->b, weft_graph_state, "words", WEFT_I32, 4, 1, 1, 1);
    weft_value x = add_leaf(&j->b, weft_graph_input, "x", WEFT_F32, 64, 1, 1, 1);
    NODE0(&j->b, WEFT_OP_SCATTER, "scatter", words, updates);
    weft_value y = NODE0(&j->b, WEFT_OP_SILU, "y", x);
    if (j->b.status == WEFT_OK) j->b.status = weft_graph_output(j->b.graph, y, &j->b.error);
    must(j->b.status, &j->b.error);
    const weft_graph *graphs[] = {j->b.graph};
    must(weft_store_create(j->device, graphs, 1, &(weft_store_options){.precision = WEFT_EXACT}, &j->store, &error), &error);
    must(weft_store_load(j->store, NULL, &error), &error);
    must(weft_plan_create(j->store, j->b.graph, &j->plan, &error), &error);
}

static weft_ticket submit(const job *j) {
    weft_error error = {0};
    weft_ticket ticket = 0;
    void *inputs[2];
    must(weft_plan_begin(j->plan, &ticket, inputs, &error), &error);
    memcpy(inputs[0], (int32_t[]){1, 77}, 8);
    memset(inputs[1], 0, 64 * sizeof(float));
    must(weft_plan_submit(j->plan, ticket, &error), &error);
    return ticket;
}

static void end(job *j) {
    uint64_t began = weft_os_now();
    weft_plan_destroy(j->plan);
    weft_store_destroy(j->store);
    weft_graph_destroy(j->b.graph);
    weft_device_close(j->device);
    assert_true(weft_os_now() - began < LATE_NS);
}

static void assert_lost(weft_status status, const weft_error *error) {
    if (status != WEFT_DEVICE_LOST || !strstr(error->message, "does not end what it was given"))
        fail_msg("status %d, \"%s\"", (int)status, error->message);
}

/* Every call says so, and none of them waits. */
static void check_sticky(const job *j) {
    weft_error error = {0};
    weft_ticket ticket;
    weft_device_info info;
    weft_plan *plan = NULL;
    double bytes_per_s;
    void *inputs[2];
    int32_t word;
    uint64_t began = weft_os_now();
    for (int i = 0; i < 2; i++) {
        assert_lost(weft_plan_begin(j->plan, &ticket, inputs, &error), &error);
        assert_lost(weft_store_read_state(j->store, "words", 0, &word, sizeof word, &error), &error);
        assert_lost(weft_device_describe(j->device, &info, &error), &error);
        assert_lost(weft_plan_create(j->store, j->b.graph, &plan, &error), &error);
        assert_lost(weft_device_read_bandwidth(j->device, &bytes_per_s, &error), &error);
        assert_non_null(strstr(error.message, "close it and open it again"));
    }
    assert_true(weft_os_now() - began < LATE_NS);
}

/* The device is usable once it is opened again. */
static void check_again(void) {
    job j;
    weft_error error = {0};
    int32_t word = 0;
    begin(&j);
    weft_ticket ticket = submit(&j);
    must(weft_plan_wait(j.plan, ticket, UINT64_MAX, NULL, &error), &error);
    weft_plan_release(j.plan, ticket);
    must(weft_store_read_state(j.store, "words", sizeof word, &word, sizeof word, &error), &error);
    assert_int_equal(word, 77);
    end(&j);
}

static void begin_stuck(job *j, bool discrete) {
    faults = (vulkan_faults){.discrete = discrete};
    begin(j);
    vulkan_faults_stop();
}

static void end_stuck(job *j) {
    check_sticky(j);
    end(j);
    check_again();
    vulkan_faults_go_on();
}

/* As if the device had ended nothing for very long. */
static void grow_old(const job *j) {
    handle(j)->patience_ns = WEFT_VULKAN_PATIENCE_NS;
    handle(j)->seen_ns = 0;
}

static void check_waits(const job *j, weft_ticket ticket) {
    weft_error error = {0};
    assert_int_equal(weft_plan_wait(j->plan, ticket, SOON_NS, NULL, &error), WEFT_TIMEOUT);
}

static void check_lost(const job *j, weft_ticket ticket) {
    weft_error error = {0};
    for (int i = 0; i < 2; i++) assert_lost(weft_plan_wait(j->plan, ticket, i ? UINT64_MAX : SOON_NS, NULL, &error), &error);
}

/* A device that has ended something meanwhile is not stuck. */
static void test_step(void **state) {
    (void)state;
    job j;
    weft_error error = {0};
    faults = (vulkan_faults){0};
    begin(&j);
    weft_ticket ticket = submit(&j);
    must(weft_plan_wait(j.plan, ticket, UINT64_MAX, NULL, &error), &error);
    weft_plan_release(j.plan, ticket);
    vulkan_faults_stop();
    ticket = submit(&j);
    grow_old(&j);
    check_waits(&j, ticket);
    check_waits(&j, ticket);
    grow_old(&j);
    check_lost(&j, ticket);
    end_stuck(&j);
}

static void test_copy(void **state) {
    (void)state;
    job j;
    weft_error error = {0};
    int32_t word;
    begin_stuck(&j, true);
    handle(&j)->patience_ns = 1;
    assert_lost(weft_store_read_state(j.store, "words", 0, &word, sizeof word, &error), &error);
    end_stuck(&j);
}

/* A step is under way and cancelled, and everything is destroyed. The core has found out by itself. */
static void test_destroying(void **state) {
    (void)state;
    job j;
    uint64_t grace_ns = runtime->grace_ns;
    begin_stuck(&j, false);
    submit(&j);
    weft_store_cancel(j.store);
    runtime->grace_ns = handle(&j)->cancelled_ns = 1;
    end(&j);
    runtime->grace_ns = grace_ns;
    vulkan_faults_go_on();
}

/* A driver that computes on the processor may take any time, but not to end cancelled steps. */
static void test_cancelled(void **state) {
    (void)state;
    job j;
    begin_stuck(&j, false);
    weft_ticket ticket = submit(&j);
    check_waits(&j, ticket);
    grow_old(&j);
    handle(&j)->patience_ns = UINT64_MAX;
    check_waits(&j, ticket);
    weft_store_cancel(j.store);
    check_waits(&j, ticket);
    grow_old(&j);
    handle(&j)->patience_ns = UINT64_MAX;
    check_lost(&j, ticket);
    end_stuck(&j);
}

static void stop(weft_device *device) {
    device->handle->patience_ns = 1;
    vulkan_faults_stop();
}

static void test_conversation(void **state) {
    (void)state;
    faults = (vulkan_faults){0};
    assert_outlives(runtime, "vulkan", "test_vulkan_stuck.tmp", stop);
    vulkan_faults_go_on();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step),      cmocka_unit_test(test_copy),         cmocka_unit_test(test_destroying),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_conversation),
    };
    weft_device *device = NULL;
    weft_error error = {0};
    vulkan_faults_install();
    runtime = make_runtime(&memory);
    weft_status status = weft_device_open(runtime, "vulkan", NULL, &device, &error);
    weft_device_close(device);
    if (status != WEFT_OK) printf("skipped: %s\n", error.message);
    int code = status != WEFT_OK ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
    end_runtime(runtime, &memory);
    return code;
}
