/* The CUDA backend on a driver that fails on demand (fake_cuda.c). Every call fails in turn, from listing devices to closing them,
 * alone or together with all later calls. Each time there must be a status and no leak, and opening again must recover. The tests
 * also check the device memory that the backend uses, and cancelling. They need no device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/store.h"
#include "kernels/layout.h"
#include "kernels/phase.h"
#include "os/os.h"
#include "tests/fake_cuda.h"
#include "tests/outlive.h"
#include "tests/support/fixture.h"

#define K 768   /* three blocks of Q6_K */
#define ROWS 50 /* of weights */
#define N_SLOTS 4

enum { DRIVER_OUT_OF_MEMORY = 2, DRIVER_UNAVAILABLE = 46, DRIVER_LAUNCH_FAILED = 719 };

static fake_cuda *driver;

static uint8_t weight_byte(const char *name, uint64_t offset) {
    return (uint8_t)(offset * 37 + (uint64_t)name[0] * 11 + offset / 256);
}

static weft_status read_bytes(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    (void)user;
    (void)error;
    for (size_t i = 0; i < size; i++) ((uint8_t *)into)[i] = weight_byte(name, offset + i);
    return WEFT_OK;
}

static weft_status read_first(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    if (strcmp(name, "packed")) return weft_fail(error, WEFT_IO, "the file ends here");
    return read_bytes(user, name, offset, into, size, error);
}

static const weft_weight_source bytes_source = {.read = read_bytes};

/* ---- A life: everything a program does with a device, once ---- */

typedef struct life {
    limited_allocator limits;
    weft_runtime *runtime;
    weft_device *device;
    weft_graph *graph;
    weft_store *store;
    weft_plan *plan;
} life;

/* Packed and plain weights, a state, and a step of two nodes. */
static weft_status build(life *l, weft_error *error) {
    weft_tensor packed = matrix(WEFT_Q6_K, K, ROWS), plain = matrix(WEFT_F32, ROWS, 1), x = matrix(WEFT_F32, K, 2);
    weft_tensor counters = matrix(WEFT_I32, 10, 1), updates = matrix(WEFT_I32, 2, 1);
    weft_value inputs[2], weights[2], state, y;
    weft_status status = weft_graph_create(l->runtime, &l->graph, error);
    if (!status) status = weft_graph_input(l->graph, "x", &x, &inputs[0], error);
    if (!status) status = weft_graph_input(l->graph, "updates", &updates, &inputs[1], error);
    if (!status) status = weft_graph_weight(l->graph, "packed", &packed, &weights[0], error);
    if (!status) status = weft_graph_weight(l->graph, "bias", &plain, &weights[1], error);
    if (!status) status = weft_graph_state(l->graph, "counters", &counters, &state, error);
    if (!status) status = add_node(l->graph, WEFT_OP_SCATTER, "counted", state, inputs[1], &state, error);
    if (!status) status = add_node(l->graph, WEFT_OP_MUL_MAT, "product", weights[0], inputs[0], &y, error);
    if (!status) status = add_node(l->graph, WEFT_OP_ADD, "sum", y, weights[1], &y, error);
    if (!status) status = weft_graph_output(l->graph, y, error);
    return status;
}

static weft_status step(life *l, weft_error *error) {
    void *inputs[2];
    const void *outputs[1];
    weft_ticket ticket;
    weft_status status = weft_plan_begin(l->plan, &ticket, inputs, error);
    if (status) return status;
    status = weft_plan_submit(l->plan, ticket, error);
    if (status) return status;
    status = weft_plan_wait(l->plan, ticket, UINT64_MAX, outputs, error);
    assert_int_not_equal(status, WEFT_TIMEOUT);
    weft_plan_release(l->plan, ticket);
    return status;
}

static weft_status begin(life *l, weft_error *error) {
    weft_store_options options = {.n_slots = N_SLOTS};
    l->runtime = limited_runtime(&l->limits);
    if (!l->runtime) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a runtime");
    weft_status status = weft_device_open(l->runtime, "cuda:0", NULL, &l->device, error);
    if (!status) status = build(l, error);
    if (!status) status = weft_store_create(l->device, (const weft_graph *const *)&l->graph, 1, &options, &l->store, error);
    if (!status) status = weft_store_load(l->store, &bytes_source, error);
    if (!status) status = weft_plan_create(l->store, l->graph, &l->plan, error);
    return status;
}

static weft_status use(life *l, weft_error *error) {
    int32_t counters[10] = {1};
    weft_device_info info;
    weft_status status = WEFT_OK;
    for (int i = 0; i < N_SLOTS + 2 && !status; i++) {
        driver->slow = i > N_SLOTS; /* the test has to wait for the step */
        status = step(l, error);
    }
    if (!status) weft_store_cancel(l->store);
    if (!status) status = weft_store_write_state(l->store, "counters", 0, counters, sizeof counters, error);
    counters[0] = 0;
    if (!status) status = weft_store_read_state(l->store, "counters", 0, counters, sizeof counters, error);
    if (!status) assert_int_equal(counters[0], 1);
    if (!status) status = weft_device_describe(l->device, &info, error);
    return status;
}

/* Destroys everything that was made so far. */
static void finish(life *l) {
    weft_plan_destroy(l->plan);
    weft_store_destroy(l->store);
    weft_graph_destroy(l->graph);
    weft_device_close(l->device);
    weft_runtime_destroy(l->runtime);
    if (driver->broken) fail_msg("%s (call %zu fails)", driver->broken, driver->fail_at);
    assert_int_equal(driver->n_live, 0);
    assert_int_equal(driver->device_bytes, 0);
    assert_int_equal(l->limits.n_live, 0);
}

/* ---- Every call fails ---- */

/* Calls whose failure may be ignored: they only give information, or they release something. */
static bool may_be_ignored(const char *name) {
    static const char *const names[] = {
        "driver_version",     "device_name",     "device_memory", "device_attribute", "device_bus_id",    "device_uuid",
        "context_pop",        "context_destroy", "memory_free",   "memory_info",      "host_free",        "stream_destroy",
        "stream_synchronise", "event_destroy",   "module_unload", "graph_destroy",    "recording_destroy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static void arm(size_t fail_at, int with, bool sticky) {
    *driver = (fake_cuda){.fail_at = fail_at, .fail_with = with, .sticky = sticky};
}

/* Whether the call was reached. */
static bool live_with_failure(size_t fail_at, int with, bool sticky) {
    life l = {0};
    weft_error error = {0}, later = {0};
    arm(fail_at, with, sticky);
    weft_status status = begin(&l, &error), again = WEFT_OK;
    if (!status) status = use(&l, &error);
    if (status) {
        assert_int_equal(error.status, status);
        assert_true(strlen(error.message) > 10);
        bool opening = !l.device;
        weft_status expected = with == DRIVER_OUT_OF_MEMORY ? WEFT_OUT_OF_MEMORY : sticky ? WEFT_DEVICE_LOST : WEFT_FAILED;
        if (status != expected && !(opening && status == WEFT_UNSUPPORTED))
            fail_msg("%s: %d: %s", driver->failed, (int)status, error.message);
        /* The device is lost for good, or can be used as before. */
        weft_device_info info;
        if (l.device) again = weft_device_describe(l.device, &info, &later);
        if (l.device) assert_int_equal(again, sticky ? WEFT_DEVICE_LOST : WEFT_OK);
        if (l.plan) assert_int_equal(step(&l, &later), sticky ? WEFT_DEVICE_LOST : WEFT_OK);
    } else if (driver->failed && !may_be_ignored(driver->failed)) {
        fail_msg("the failure of %s (call %zu) went unnoticed", driver->failed, fail_at);
    }
    finish(&l);
    return driver->failed != NULL;
}

static void every_call_fails(void **state) {
    (void)state;
    static const struct {
        int with;
        bool sticky;
    } ways[] = {{DRIVER_OUT_OF_MEMORY, false}, {DRIVER_UNAVAILABLE, false}, {DRIVER_LAUNCH_FAILED, true}};
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        size_t n = 1;
        while (live_with_failure(n, ways[way].with, ways[way].sticky)) n++;
        assert_true(n > 200);
        print_message("%zu calls failed in turn with %d\n", n - 1, ways[way].with);
    }
}

/* Measuring the bandwidth allocates most of the memory for a moment. */
static void bandwidth_calls_fail(void **state) {
    (void)state;
    life l = {0};
    weft_error error = {0};
    double bandwidth = 0;
    arm(0, 0, false);
    assert_int_equal(begin(&l, &error), WEFT_OK);
    size_t device_bytes = driver->device_bytes;
    for (size_t n = 1;; n++) {
        size_t n_calls = driver->n_calls;
        driver->failed = NULL;
        driver->fail_at = n_calls + n;
        driver->fail_with = n % 2 ? DRIVER_OUT_OF_MEMORY : DRIVER_UNAVAILABLE;
        weft_status status = weft_device_read_bandwidth(l.device, &bandwidth, &error);
        assert_int_equal(driver->device_bytes, device_bytes);
        if (!driver->failed) break;
        /* After the first lack of memory the measurement tries half as much. */
        if (status == WEFT_OK && !may_be_ignored(driver->failed) && strcmp(driver->failed, "memory_allocate"))
            fail_msg("the failure of %s went unnoticed", driver->failed);
    }
    assert_true(bandwidth > 0.0);
    finish(&l);
}

/* The same for allocations of host memory. */
static void every_allocation_fails(void **state) {
    (void)state;
    size_t n = 0, n_all;
    weft_status status;
    do {
        life l = {.limits.fail_at = ++n};
        weft_error error = {0};
        arm(0, 0, false);
        status = begin(&l, &error);
        if (!status) status = use(&l, &error);
        assert_true(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
        n_all = l.limits.n_all;
        finish(&l);
    } while (n_all >= n);
    assert_int_equal(status, WEFT_OK);
    print_message("%zu allocations failed in turn\n", n - 1);
}

/* NVIDIA's own driver does not recover within the process; the message says so, and the program goes on. */
static void says_that_a_restart_is_needed(void **state) {
    (void)state;
    life l = {0}, next = {0};
    weft_error error = {0};
    arm(0, DRIVER_LAUNCH_FAILED, true);
    assert_int_equal(begin(&l, &error), WEFT_OK);
    driver->forever = true;
    driver->fail_at = driver->n_calls + 2;
    assert_int_equal(step(&l, &error), WEFT_DEVICE_LOST);
    finish(&l);
    assert_int_equal(begin(&next, &error), WEFT_DEVICE_LOST);
    assert_non_null(strstr(error.message, "restart"));
    finish(&next);
}

/* ---- What is taken ---- */

static void states_what_it_takes(void **state) {
    (void)state;
    life l = {0};
    weft_error error = {0};
    weft_store_options options = {.n_slots = N_SLOTS};
    weft_store_bytes bytes;
    arm(0, 0, false);
    l.runtime = limited_runtime(&l.limits);
    assert_int_equal(weft_device_open(l.runtime, "cuda:0", NULL, &l.device, &error), WEFT_OK);
    assert_int_equal(build(&l, &error), WEFT_OK);
    assert_int_equal(weft_store_create(l.device, (const weft_graph *const *)&l.graph, 1, &options, &l.store, &error), WEFT_OK);
    weft_store_measure(l.store, &bytes);
    size_t device_bytes = driver->device_bytes, n_live = driver->n_live;
    weft_weight_source broken = {.read = read_first};
    assert_int_equal(weft_store_load(l.store, &broken, &error), WEFT_IO);
    assert_int_equal(driver->device_bytes, device_bytes);
    assert_int_equal(driver->n_live, n_live);
    assert_int_equal(weft_store_load(l.store, &bytes_source, &error), WEFT_OK);
    assert_int_equal(driver->device_bytes - device_bytes, bytes.bytes_used);
    assert_int_equal(bytes.packed, ROWS * weft_q6_k_row_bytes(K / 256));
    assert_int_equal(driver->n_live - n_live, 5); /* weights, states, arena and the two rings: the staging memory is gone */

    /* The weights, byte for byte: addresses of this driver are the host's. */
    const weft_resident *packed = weft_residents_find(&l.store->residents, "packed"),
                        *bias = weft_residents_find(&l.store->residents, "bias");
    assert_string_equal(packed->layout.name, "q6_k planar");
    uint8_t *there = malloc(packed->layout.bytes);
    assert_non_null(there);
    const weft_backend *backend = l.device->backend;
    assert_int_equal(backend->read(l.device->handle, l.store->buffers[packed->buffer].handle, packed->offset, there,
                                   packed->layout.bytes, &error),
                     WEFT_OK);
    for (uint64_t i = 0; i < ROWS * K / 256 * 210; i++) {
        int64_t row = (int64_t)(i / (K / 256 * 210)), byte = (int64_t)(i % (K / 256 * 210));
        int64_t place = weft_q6_k_place(K / 256, byte / 210, (int)(byte % 210 / 2)) + byte % 2;
        assert_int_equal(there[row * weft_q6_k_row_bytes(K / 256) + place], weight_byte("packed", i));
    }
    assert_int_equal(backend->read(l.device->handle, l.store->buffers[bias->buffer].handle, bias->offset, there, ROWS * 4, &error),
                     WEFT_OK);
    for (uint64_t i = 0; i < ROWS * 4; i++) assert_int_equal(there[i], weight_byte("bias", i));
    free(there);
    finish(&l);
}

/* ---- What it is called ---- */

static void opens_by_its_uuid(void **state) {
    (void)state;
    static const char name[] = "cuda:f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff";
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_device_info info;
    weft_error error = {0};
    arm(0, 0, false);
    assert_int_equal(weft_runtime_create(NULL, &runtime, &error), WEFT_OK);
    assert_int_equal(weft_device_open(runtime, name, NULL, &device, &error), WEFT_OK);
    assert_int_equal(weft_device_describe(device, &info, &error), WEFT_OK);
    assert_string_equal(info.stable_id, name);
    assert_int_equal(info.kind, WEFT_DEVICE_GPU);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
}

/* ---- Cancelling ---- */

static void cancels_what_is_queued(void **state) {
    (void)state;
    life l = {0};
    weft_error error = {0};
    void *inputs[2];
    weft_ticket tickets[N_SLOTS];
    arm(0, 0, false);
    assert_int_equal(begin(&l, &error), WEFT_OK);
    driver->slow = true;
    for (int i = 0; i < N_SLOTS; i++) {
        assert_int_equal(weft_plan_begin(l.plan, &tickets[i], inputs, &error), WEFT_OK);
        assert_int_equal(weft_plan_submit(l.plan, tickets[i], &error), WEFT_OK);
    }
    assert_int_equal(weft_plan_wait(l.plan, tickets[0], 0, NULL, &error), WEFT_TIMEOUT);
    assert_int_equal(weft_plan_wait(l.plan, tickets[0], 100000, NULL, &error), WEFT_TIMEOUT);
    weft_store_cancel(l.store);
    for (int i = 0; i < N_SLOTS; i++) {
        assert_int_equal(weft_plan_wait(l.plan, tickets[i], UINT64_MAX, NULL, &error), WEFT_CANCELLED);
        weft_plan_release(l.plan, tickets[i]);
    }
    assert_int_equal(step(&l, &error), WEFT_OK);
    finish(&l);
}

/* The device fails while steps are queued: all of their tickets end, those looked at late as well. */
static void ends_tickets_of_a_lost_device(void **state) {
    (void)state;
    life l = {0};
    weft_error error = {0};
    void *inputs[2];
    weft_ticket tickets[N_SLOTS];
    arm(0, DRIVER_LAUNCH_FAILED, true);
    assert_int_equal(begin(&l, &error), WEFT_OK);
    driver->slow = true;
    for (int i = 0; i < N_SLOTS; i++) {
        assert_int_equal(weft_plan_begin(l.plan, &tickets[i], inputs, &error), WEFT_OK);
        assert_int_equal(weft_plan_submit(l.plan, tickets[i], &error), WEFT_OK);
    }
    driver->fail_at = driver->n_calls + 2; /* the context is entered once more */
    uint64_t timeouts[N_SLOTS] = {1000000, UINT64_MAX, 0, UINT64_MAX};
    for (int i = 0; i < N_SLOTS; i++) {
        assert_int_equal(weft_plan_wait(l.plan, tickets[i], timeouts[i], NULL, &error), WEFT_DEVICE_LOST);
        assert_non_null(strstr(error.message, "cuda"));
        weft_plan_release(l.plan, tickets[i]);
    }
    weft_store_cancel(l.store);
    assert_int_equal(step(&l, &error), WEFT_DEVICE_LOST);
    finish(&l);
    life next = {0};
    arm(0, 0, false);
    assert_int_equal(begin(&next, &error), WEFT_OK);
    assert_int_equal(use(&next, &error), WEFT_OK);
    finish(&next);
}

static size_t lost_after; /* calls of the driver */

static void lose(weft_device *device) {
    (void)device;
    driver->fail_at = driver->n_calls + lost_after;
}

/* A conversation goes on on the processor, whichever call tells that the device is lost. */
static void conversations_outlive_the_device(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    for (lost_after = 1; lost_after <= 6; lost_after++) {
        arm(0, DRIVER_LAUNCH_FAILED, true);
        assert_outlives(runtime, "cuda:0", "test_cuda_faults.tmp", lose);
        if (driver->broken) fail_msg("%s", driver->broken);
        assert_int_equal(driver->n_live, 0);
    }
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

static void fill(void) {
    driver->fail_at = driver->n_calls + lost_after;
}

static void empty(void) {
    driver->fail_at = 0;
    driver->failing = false;
}

/* The device has no memory for this and all later calls. A failure of a single one need not show, while another step runs. */
static void conversations_outlive_a_full_device(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    int n_failed = 0;
    for (lost_after = 1; lost_after <= 60; lost_after += lost_after < 10 ? 1 : 10) {
        arm(0, DRIVER_OUT_OF_MEMORY, true);
        n_failed += assert_outlives_full(runtime, "cuda:0", "test_cuda_faults.tmp", fill, empty);
        if (driver->broken) fail_msg("%s", driver->broken);
        assert_int_equal(driver->n_live, 0);
    }
    print_message("%d calls fail\n", n_failed);
    assert_true(n_failed > 2);
    weft_runtime_destroy(runtime);
    assert_int_equal(limits.n_live, 0);
}

int main(void) {
    weft_os_library library;
    weft_error error = {0};
    weft_runtime *runtime;
    bool built = false;
    if (weft_os_library_open(&library, WEFT_PLUGINS "fake_cuda.so", &error)) {
        print_message("%s\n", error.message);
        return 1;
    }
    driver = weft_os_library_symbol(&library, FAKE_CUDA_SYMBOL);
    if (!driver || weft_runtime_create(NULL, &runtime, &error)) return 1;
    for (size_t i = 0; i < runtime->n_backends; i++) built = built || strcmp(runtime->backends[i]->name, "cuda") == 0;
    weft_runtime_destroy(runtime);
    if (!built) {
        print_message("skipped: built without the cuda backend\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_what_it_takes),
        cmocka_unit_test(opens_by_its_uuid),
        cmocka_unit_test(cancels_what_is_queued),
        cmocka_unit_test(says_that_a_restart_is_needed),
        cmocka_unit_test(every_call_fails),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(bandwidth_calls_fail),
        cmocka_unit_test(ends_tickets_of_a_lost_device),
        cmocka_unit_test(conversations_outlive_the_device),
        cmocka_unit_test(conversations_outlive_a_full_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
