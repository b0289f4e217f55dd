/* The CPU backend's plans and its queue of steps: order, slots, time limits, cancelling and several waiters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/runtime.h"
#include "limited_allocator.h"
#include "weft/ops/mul_mat.h"

extern const weft_backend weft_cpu_backend;
static const weft_backend *const cpu = &weft_cpu_backend;

/* One plan: x = x + step input; result = x. With `slow` a long chain of matrix products comes first. */
enum { N = 64, SLOW_K = 1024, SLOW_T = 32, N_SLOTS = 64, SLOW_PHASES = 12 };

typedef struct fixture {
    weft_runtime *runtime;
    weft_backend_device *device;
    weft_backend_buffer *arena, *step_ring, *result_ring;
    weft_backend_plan *plan, *slow;
} fixture;

enum { X_AT = 0, INPUT_AT = 4096, MATRIX_AT = 8192 };
static const float zeros[N];
#define SLOW_BYTES ((uint64_t)SLOW_K * SLOW_K * 4)
#define COLUMNS_BYTES ((uint64_t)SLOW_K * SLOW_T * 4)
#define SCRATCH_BYTES (1u << 20)

static weft_place place(const fixture *f, weft_leaf leaf, uint64_t offset, int64_t n, int64_t m) {
    return (weft_place){.present = true,
                        .leaf = leaf,
                        .tensor = {WEFT_F32, {n, m, 1, 1}},
                        .storage = {.type = WEFT_F32},
                        .buffer = f->arena,
                        .offset = offset,
                        .address = cpu->buffer_address(f->device, f->arena) + offset};
}

/* The phase with the kernel that the backend picks for it. */
static weft_phase with_kernel(const fixture *f, weft_phase phase) {
    weft_support support;
    phase.kernel = WEFT_KERNEL_ANY;
    cpu->supports(f->device, &phase, &support);
    assert_true(support.supported);
    assert_true(support.scratch_bytes <= SCRATCH_BYTES);
    phase.kernel = support.kernel;
    phase.name = support.name;
    return phase;
}

static weft_phase add_phase(const fixture *f) {
    weft_phase phase = {.op = WEFT_OP_ADD, .precision = WEFT_EXACT};
    phase.inputs[WEFT_ADD_A] = phase.outputs[WEFT_ADD_OUT_Y] = place(f, WEFT_LEAF_NOT, X_AT, N, 1);
    phase.inputs[WEFT_ADD_B] = place(f, WEFT_LEAF_NOT, INPUT_AT, N, 1);
    return with_kernel(f, phase);
}

static weft_phase slow_phase(const fixture *f) {
    static const weft_mul_mat_params params;
    weft_phase phase = {.op = WEFT_OP_MUL_MAT, .precision = WEFT_EXACT, .params = &params, .params_size = sizeof params};
    phase.inputs[WEFT_MUL_MAT_WEIGHT] = place(f, WEFT_LEAF_WEIGHT, MATRIX_AT, SLOW_K, SLOW_K);
    phase.inputs[WEFT_MUL_MAT_X] = place(f, WEFT_LEAF_NOT, MATRIX_AT + SLOW_BYTES, SLOW_K, SLOW_T);
    phase.outputs[WEFT_MUL_MAT_OUT_Y] = place(f, WEFT_LEAF_NOT, MATRIX_AT + SLOW_BYTES + COLUMNS_BYTES, SLOW_K, SLOW_T);
    phase = with_kernel(f, phase);
    phase.scratch = place(f, WEFT_LEAF_NOT, MATRIX_AT + SLOW_BYTES + 2 * COLUMNS_BYTES, SCRATCH_BYTES / 4, 1);
    return phase;
}

static weft_status make_plan(const fixture *f, const weft_phase *phases, size_t n_phases, weft_backend_plan **plan,
                             weft_error *error) {
    const weft_ring_copy in = {f->arena, INPUT_AT, 0, N * 4}, out = {f->arena, X_AT, 0, N * 4};
    const weft_schedule schedule = {
        .phases = phases,
        .n_phases = n_phases,
        .step_ring = f->step_ring,
        .result_ring = f->result_ring,
        .step_stride = N * 4,
        .result_stride = N * 4,
        .step_copies = &in,
        .n_step_copies = 1,
        .result_copies = &out,
        .n_result_copies = 1,
    };
    return cpu->plan_create(f->device, &schedule, plan, error);
}

static void check(weft_status status, const weft_error *error) {
    if (status != WEFT_OK) fail_msg("%s", error->message);
}

static weft_status open_all(fixture *f, weft_runtime *runtime, weft_error *error) {
    *f = (fixture){.runtime = runtime};
    weft_status status = cpu->open(&runtime->host, 0, &(weft_device_options){.n_threads = 2}, &f->device, error);
    if (status != WEFT_OK) return status;
    status = cpu->buffer_create(f->device, WEFT_MEMORY_DEVICE, MATRIX_AT + SLOW_BYTES + 2 * COLUMNS_BYTES + SCRATCH_BYTES,
                                &f->arena, error);
    if (status == WEFT_OK) status = cpu->buffer_create(f->device, WEFT_MEMORY_RING, N_SLOTS * N * 4, &f->step_ring, error);
    if (status == WEFT_OK) status = cpu->buffer_create(f->device, WEFT_MEMORY_RING, N_SLOTS * N * 4, &f->result_ring, error);
    if (status != WEFT_OK) return status;
    weft_phase phases[SLOW_PHASES + 1];
    for (int i = 0; i < SLOW_PHASES; i++) phases[i] = slow_phase(f);
    phases[SLOW_PHASES] = add_phase(f);
    status = make_plan(f, phases + SLOW_PHASES, 1, &f->plan, error);
    if (status == WEFT_OK) status = make_plan(f, phases, SLOW_PHASES + 1, &f->slow, error);
    return status;
}

static void close_all(fixture *f) {
    if (f->device == NULL) return;
    cpu->plan_destroy(f->device, f->plan);
    cpu->plan_destroy(f->device, f->slow);
    cpu->buffer_destroy(f->device, f->arena);
    cpu->buffer_destroy(f->device, f->step_ring);
    cpu->buffer_destroy(f->device, f->result_ring);
    cpu->close(f->device);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    weft_runtime *runtime = NULL;
    weft_error error = {0};
    if (f == NULL || weft_runtime_create(NULL, &runtime, NULL) != WEFT_OK) return -1;
    *state = f;
    return open_all(f, runtime, &error) == WEFT_OK ? 0 : -1;
}

static int teardown(void **state) {
    fixture *f = *state;
    close_all(f);
    weft_runtime_destroy(f->runtime);
    free(f);
    return 0;
}

static void set_input(const fixture *f, uint32_t slot, float value) {
    float *ring = cpu->buffer_map(f->device, f->step_ring);
    for (int i = 0; i < N; i++) ring[slot * N + (uint32_t)i] = value;
}

static float result(const fixture *f, uint32_t slot) {
    const float *ring = cpu->buffer_map(f->device, f->result_ring);
    for (int i = 1; i < N; i++) assert_true(ring[slot * N + (uint32_t)i] == ring[slot * N]);
    return ring[slot * N];
}

static void submit(const fixture *f, weft_backend_plan *plan, uint64_t ticket, uint32_t slot) {
    weft_error error;
    check(cpu->plan_submit(f->device, plan, ticket, slot, slot, &error), &error);
}

static void test_steps_run_in_order(void **state) {
    fixture *f = *state;
    weft_error error;
    float sum = 0.0f;
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        set_input(f, i, (float)(i + 1));
        submit(f, f->plan, 3 + 2 * i, i); /* tickets rise, but not by one */
    }
    check(cpu->wait(f->device, 3 + 2 * (N_SLOTS / 2), UINT64_MAX, &error), &error);
    assert_int_equal(cpu->wait(f->device, 3 + 2 * (N_SLOTS - 1), 0, &error), WEFT_TIMEOUT);
    check(cpu->wait(f->device, 3 + 2 * (N_SLOTS - 1), UINT64_MAX, &error), &error);
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        sum += (float)(i + 1);
        assert_true(result(f, i) == sum);
        check(cpu->wait(f->device, 3 + 2 * i, 0, &error), &error);
    }
    assert_int_equal(cpu->wait(f->device, 1000, UINT64_MAX, &error), WEFT_INVALID_ARGUMENT);
}

static void test_reading_waits_for_steps(void **state) {
    fixture *f = *state;
    weft_error error;
    float x[N];
    set_input(f, 0, 2.5f);
    submit(f, f->plan, 1, 0);
    submit(f, f->plan, 2, 0);
    check(cpu->read(f->device, f->arena, X_AT, x, sizeof x, &error), &error);
    assert_true(x[0] == 5.0f && x[N - 1] == 5.0f);
    check(cpu->wait(f->device, 2, 0, &error), &error);
    check(cpu->write(f->device, f->arena, X_AT, zeros, sizeof x, &error), &error);
    submit(f, f->plan, 3, 0);
    check(cpu->wait(f->device, 3, UINT64_MAX, &error), &error);
    assert_true(result(f, 0) == 2.5f);
}

/* After a wait that timed out, a later wait goes on with the same step. */
static void test_time_limit(void **state) {
    fixture *f = *state;
    weft_error error;
    int n_timeouts = 0;
    set_input(f, 0, 1.0f);
    submit(f, f->slow, 1, 0);
    weft_status status;
    while ((status = cpu->wait(f->device, 1, 1000, &error)) == WEFT_TIMEOUT) n_timeouts++;
    check(status, &error);
    assert_true(n_timeouts >= SLOW_PHASES / 2);
    assert_true(result(f, 0) == 1.0f);
}

typedef struct thread_work {
    const fixture *f;
    uint64_t ticket;
    uint64_t timeout;
    weft_status status;
    atomic_bool started;
} thread_work;

static void cancel_soon(void *user) {
    thread_work *work = user;
    while (!atomic_load(&work->started)) weft_os_pause();
    uint64_t start = weft_os_now();
    while (weft_os_now() - start < work->timeout) weft_os_pause();
    cpu->cancel(work->f->device);
}

static void test_cancel_from_another_thread(void **state) {
    fixture *f = *state;
    weft_error error;
    set_input(f, 0, 1.0f);
    for (int round = 0; round < 20; round++) {
        uint64_t first = 1 + (uint64_t)round * 60;
        thread_work work = {.f = f, .timeout = (uint64_t)round * 300000};
        weft_os_thread thread;
        assert_true(weft_os_thread_start(&thread, cancel_soon, &work));
        for (uint64_t i = 0; i < 50; i++) submit(f, f->slow, first + i, 0);
        atomic_store(&work.started, true);
        weft_status status = cpu->wait(f->device, first + 49, UINT64_MAX, &error);
        weft_os_thread_join(&thread);
        assert_int_equal(status, WEFT_CANCELLED);
        assert_true(strlen(error.message) > 0);
        /* Up to some ticket steps succeed; from there on they are cancelled. */
        weft_status before = WEFT_OK;
        for (uint64_t i = 0; i < 50; i++) {
            status = cpu->wait(f->device, first + i, 0, NULL);
            assert_true(status == WEFT_CANCELLED || (status == WEFT_OK && before == WEFT_OK));
            before = status;
        }
        check(cpu->write(f->device, f->arena, X_AT, zeros, N * 4, &error), &error);
        submit(f, f->slow, first + 50, 1);
        set_input(f, 1, 7.0f);
        check(cpu->wait(f->device, first + 50, UINT64_MAX, &error), &error);
        assert_true(result(f, 1) == 7.0f);
    }
}

static void test_cancel_with_nobody_waiting(void **state) {
    fixture *f = *state;
    weft_error error;
    submit(f, f->slow, 1, 0);
    assert_int_equal(cpu->wait(f->device, 1, 1, &error), WEFT_TIMEOUT); /* begun */
    submit(f, f->plan, 2, 0);
    cpu->cancel(f->device);
    assert_int_equal(cpu->wait(f->device, 1, UINT64_MAX, &error), WEFT_CANCELLED);
    assert_int_equal(cpu->wait(f->device, 2, UINT64_MAX, &error), WEFT_CANCELLED);
    submit(f, f->plan, 3, 0);
    check(cpu->wait(f->device, 3, UINT64_MAX, &error), &error);
    assert_int_equal(cpu->wait(f->device, 2, 0, &error), WEFT_CANCELLED);
}

static void wait_for_ticket(void *user) {
    thread_work *work = user;
    const weft_backend_device *device = work->f->device;
    do work->status = cpu->wait((weft_backend_device *)(uintptr_t)device, work->ticket, work->timeout, NULL);
    while (work->status == WEFT_TIMEOUT);
}

/* A waiting thread runs the queue; a waiter that times out or is done hands the queue to another. */
static void test_several_waiters(void **state) {
    fixture *f = *state;
    enum { WAITERS = 5 };
    for (uint64_t round = 0; round < 10; round++) {
        weft_os_thread threads[WAITERS];
        thread_work work[WAITERS];
        for (uint32_t i = 0; i < WAITERS * 2; i++) {
            set_input(f, i, 1.0f);
            submit(f, i % 2 == 0 ? f->slow : f->plan, round * 100 + i + 1, i);
        }
        for (uint32_t i = 0; i < WAITERS; i++) {
            work[i] = (thread_work){.f = f, .ticket = round * 100 + 2 * i + 2, .timeout = i % 2 == 0 ? 500000 : UINT64_MAX};
            work[i].status = WEFT_FAILED;
            assert_true(weft_os_thread_start(&threads[i], wait_for_ticket, &work[i]));
        }
        for (uint32_t i = 0; i < WAITERS; i++) weft_os_thread_join(&threads[i]);
        for (uint32_t i = 0; i < WAITERS; i++) assert_int_equal(work[i].status, WEFT_OK);
        for (uint32_t i = 0; i < WAITERS * 2; i++) assert_true(result(f, i) == (float)(round * WAITERS * 2 + i + 1));
    }
}

static void test_options(void **state) {
    fixture *f = *state;
    weft_backend_device *device = NULL;
    weft_error error = {0};
    weft_status status = cpu->open(&f->runtime->host, 0, &(weft_device_options){.simd = "mmx"}, &device, &error);
    assert_int_equal(status, WEFT_UNSUPPORTED);
    assert_non_null(strstr(error.message, "mmx"));
    assert_non_null(strstr(error.message, "none"));
    status = cpu->open(&f->runtime->host, 0, &(weft_device_options){.n_threads = 1u << 30}, &device, &error);
    assert_int_equal(status, WEFT_INVALID_ARGUMENT);
    assert_int_equal(cpu->open(&f->runtime->host, 1, NULL, &device, &error), WEFT_NOT_FOUND);
    assert_null(device);
}

/* A plan runs the kernels with the given numbers, and fails with a message if there is no such kernel. */
static void test_kernel_numbers(void **state) {
    fixture *f = *state;
    weft_backend_plan *plan = NULL;
    weft_kernel_info info;
    weft_error error = {0};
    uint32_t n_kernels = 0, n_refused = 0;
    while (cpu->kernel_at(f->device, n_kernels, &info)) n_kernels++;
    for (uint32_t i = 0; i <= n_kernels; i++) {
        weft_phase phase = add_phase(f);
        bool is_add = cpu->kernel_at(f->device, i, &info) && info.op == WEFT_OP_ADD;
        phase.kernel = i;
        weft_status status = make_plan(f, &phase, 1, &plan, &error);
        if (status == WEFT_OK) cpu->plan_destroy(f->device, plan);
        assert_int_equal(status, is_add ? WEFT_OK : WEFT_UNSUPPORTED);
        n_refused += !is_add;
    }
    assert_true(n_refused > 20);
    assert_non_null(strstr(error.message, "add"));
}

/* Each allocation of opening, recording and queueing fails once: a status, nothing leaked, and the next try works. */
static void test_every_allocation_fails(void **state) {
    (void)state;
    limited_allocator limits = {0};
    weft_runtime *runtime = limited_runtime(&limits);
    assert_non_null(runtime);
    size_t live = limits.n_live, n_failures = 0;
    for (size_t i = 1;; i++) {
        fixture f;
        weft_error error = {0};
        limits.fail_at = limits.n_all + i;
        weft_status status = open_all(&f, runtime, &error);
        for (uint64_t ticket = 1; status == WEFT_OK && ticket <= 20; ticket++)
            status = cpu->plan_submit(f.device, f.plan, ticket, 0, 0, &error);
        if (status == WEFT_OK) {
            check(cpu->wait(f.device, 20, UINT64_MAX, &error), &error);
        } else {
            assert_int_equal(status, WEFT_OUT_OF_MEMORY);
            assert_true(strlen(error.message) > 0);
            n_failures++;
        }
        close_all(&f);
        assert_int_equal(limits.n_live, live);
        if (status == WEFT_OK) break;
    }
    printf("%zu allocations failed in turn\n", n_failures);
    assert_true(n_failures >= 15);
    weft_runtime_destroy(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_steps_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reading_waits_for_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_from_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_with_nobody_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_waiters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kernel_numbers, setup, teardown),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
