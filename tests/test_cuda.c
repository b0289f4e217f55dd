/* The CUDA backend through its table of functions: memory, the order of steps, cancelling, and what a fault leaves behind. Skipped
 * where there is no device. What its kernels compute is checked by `weft check --on cuda`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/os.h"
#include "tests/cuda_device.h"
#include "tests/phases.h"

#define N 1024 /* values of a column */
#define N_SLOTS 8
#define STRIDE (N * sizeof(float))

/* A plan y = x + b + b + ..., x from the step ring and y to the result ring. */
typedef struct rig {
    weft_backend_device *device;
    weft_backend_buffer *arena, *steps, *results;
    weft_backend_plan *plan;
    uint64_t ticket;
} rig;

static weft_place place_at(const rig *r, uint64_t offset, int64_t n, int64_t columns) {
    return phase_place(backend, r->device, r->arena, offset, (weft_tensor){WEFT_F32, {n, columns, 1, 1}});
}

static void open_rig(rig *r) {
    weft_error error = {0};
    *r = (rig){0};
    weft_device_options options = {0};
    assert_int_equal(backend->open(&runtime->host, 0, &options, &r->device, &error), WEFT_OK);
    assert_int_equal(backend->buffer_create(r->device, WEFT_MEMORY_DEVICE, 4 * STRIDE, &r->arena, &error), WEFT_OK);
    assert_int_equal(backend->buffer_create(r->device, WEFT_MEMORY_RING, N_SLOTS * STRIDE, &r->steps, &error), WEFT_OK);
    assert_int_equal(backend->buffer_create(r->device, WEFT_MEMORY_RING, N_SLOTS * STRIDE, &r->results, &error), WEFT_OK);
    float ones[N];
    for (int i = 0; i < N; i++) ones[i] = 1.0f;
    assert_int_equal(backend->write(r->device, r->arena, STRIDE, ones, sizeof ones, &error), WEFT_OK);
}

/* x is at 0 of the arena, b at STRIDE, and y in turn at 2 and 3 times STRIDE; `shift` is added to the place of the first y. */
static weft_status make_plan(rig *r, uint32_t n_phases, uint64_t shift, weft_error *error) {
    weft_phase *phases = calloc(n_phases, sizeof *phases);
    uint32_t *after = calloc(n_phases, sizeof *after);
    assert_non_null(phases);
    assert_non_null(after);
    for (uint32_t i = 0; i < n_phases; i++) {
        phases[i] = (weft_phase){.op = WEFT_OP_ADD, .precision = WEFT_EXACT};
        phases[i].inputs[0] = place_at(r, i == 0 ? 0 : (2 + (i - 1) % 2) * STRIDE, N, 1);
        phases[i].inputs[1] = place_at(r, STRIDE, N, 1);
        phases[i].outputs[0] = place_at(r, (2 + i % 2) * STRIDE + (i == 0 ? shift : 0), N, 1);
        assert_true(phase_kernel(backend, r->device, &phases[i]));
        if (i == 0) continue;
        after[i] = i - 1;
        phases[i].after = &after[i];
        phases[i].n_after = 1;
    }
    weft_ring_copy copies[] = {{r->arena, 0, 0, STRIDE}, {r->arena, (2 + (n_phases - 1) % 2) * STRIDE, 0, STRIDE}};
    weft_schedule schedule = {.phases = phases,
                              .n_phases = n_phases,
                              .step_ring = r->steps,
                              .result_ring = r->results,
                              .step_stride = STRIDE,
                              .result_stride = STRIDE,
                              .step_copies = &copies[0],
                              .result_copies = &copies[1],
                              .n_step_copies = 1,
                              .n_result_copies = 1};
    weft_status status = backend->plan_create(r->device, &schedule, &r->plan, error);
    free(phases);
    free(after);
    return status;
}

static void close_rig(rig *r) {
    if (r->plan) backend->plan_destroy(r->device, r->plan);
    backend->buffer_destroy(r->device, r->results);
    backend->buffer_destroy(r->device, r->steps);
    backend->buffer_destroy(r->device, r->arena);
    backend->close(r->device);
}

static uint64_t submit(rig *r, uint32_t slot, float value) {
    weft_error error = {0};
    float *x = (float *)backend->buffer_map(r->device, r->steps) + slot * N;
    for (int i = 0; i < N; i++) x[i] = value + (float)i;
    weft_status status = backend->plan_submit(r->device, r->plan, ++r->ticket, slot, slot, &error);
    if (status) print_message("%s\n", error.message);
    assert_int_equal(status, WEFT_OK);
    return r->ticket;
}

static void expect_result(rig *r, uint32_t slot, float value) {
    const float *y = (const float *)backend->buffer_map(r->device, r->results) + slot * N;
    for (int i = 0; i < N; i++) assert_true(y[i] == value + (float)i);
}

/* Slots in a random order, more steps than the queue has entries, and several steps under way. */
static void test_slots(void **state) {
    (void)state;
    rig r;
    weft_error error = {0};
    open_rig(&r);
    assert_int_equal(make_plan(&r, 3, 0, &error), WEFT_OK);
    uint64_t tickets[N_SLOTS] = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t slot = i * 5 % N_SLOTS;
        if (tickets[slot]) {
            uint64_t timeout = i % 3 ? UINT64_MAX : UINT64_C(5000000000);
            assert_int_equal(backend->wait(r.device, tickets[slot], timeout, &error), WEFT_OK);
            expect_result(&r, slot, (float)(i - N_SLOTS) + 3.0f);
        }
        tickets[slot] = submit(&r, slot, (float)i);
    }
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        assert_int_equal(backend->wait(r.device, tickets[slot], UINT64_MAX, &error), WEFT_OK);
    assert_int_equal(backend->wait(r.device, r.ticket + 1, 0, &error), WEFT_INVALID_ARGUMENT);
    close_rig(&r);
}

static void test_memory(void **state) {
    (void)state;
    rig r;
    weft_error error = {0};
    open_rig(&r);
    weft_backend_buffer *buffer = NULL;
    const size_t bytes = ((size_t)5 << 20) + 12;
    char *there = malloc(bytes), *back = malloc(bytes);
    assert_non_null(there);
    assert_non_null(back);
    for (size_t i = 0; i < bytes; i++) there[i] = (char)(i * 7 % 251);
    assert_int_equal(backend->buffer_create(r.device, WEFT_MEMORY_DEVICE, bytes + 64, &buffer, &error), WEFT_OK);
    assert_int_equal(backend->read(r.device, buffer, 64, back, bytes, &error), WEFT_OK);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(back[i], 0);
    assert_int_equal(backend->write(r.device, buffer, 64, there, bytes, &error), WEFT_OK);
    assert_int_equal(backend->read(r.device, buffer, 64, back, bytes, &error), WEFT_OK);
    assert_memory_equal(there, back, bytes);
    backend->buffer_destroy(r.device, buffer);
    free(there);
    free(back);
    close_rig(&r);
}

static void test_out_of_memory(void **state) {
    (void)state;
    rig r;
    weft_error error = {0};
    open_rig(&r);
    assert_int_equal(make_plan(&r, 2, 0, &error), WEFT_OK);
    weft_backend_buffer *buffer = NULL;
    assert_int_equal(backend->buffer_create(r.device, WEFT_MEMORY_DEVICE, UINT64_C(1) << 43, &buffer, &error), WEFT_OUT_OF_MEMORY);
    print_message("%s\n", error.message);
    assert_null(buffer);
    assert_int_equal(backend->status(r.device, &error), WEFT_OK);
    assert_int_equal(backend->wait(r.device, submit(&r, 0, 5.0f), UINT64_MAX, &error), WEFT_OK);
    expect_result(&r, 0, 7.0f);
    close_rig(&r);
}

/* Steps of 4,000 kernels take milliseconds: the first is under way when they are cancelled. */
static void test_cancel(void **state) {
    (void)state;
    rig r;
    weft_error error = {0};
    open_rig(&r);
    assert_int_equal(make_plan(&r, 4000, 0, &error), WEFT_OK);
    for (int round = 0; round < 5; round++) {
        uint64_t first = r.ticket + 1;
        for (uint32_t slot = 0; slot < N_SLOTS; slot++) submit(&r, slot, 0.0f);
        assert_int_equal(backend->wait(r.device, r.ticket, 0, &error), WEFT_TIMEOUT);
        assert_int_equal(backend->wait(r.device, r.ticket, 100000, &error), WEFT_TIMEOUT);
        uint64_t start = weft_os_now();
        backend->cancel(r.device);
        weft_status last = WEFT_OK;
        for (uint64_t ticket = first; ticket <= r.ticket; ticket++) {
            weft_status status = backend->wait(r.device, ticket, UINT64_MAX, &error);
            assert_true(status == WEFT_CANCELLED || (status == WEFT_OK && last == WEFT_OK));
            last = status;
        }
        assert_int_equal(last, WEFT_CANCELLED);
        assert_int_equal(backend->wait(r.device, r.ticket, 0, &error), WEFT_CANCELLED);
        print_message("cancelled within %.1f ms\n", (double)(weft_os_now() - start) * 1e-6);
    }
    assert_int_equal(backend->wait(r.device, submit(&r, 1, 1.0f), UINT64_MAX, &error), WEFT_OK);
    expect_result(&r, 1, 4001.0f);
    close_rig(&r);
}

/* A kernel that writes where nothing is: the step fails and the device is lost for good. Opening it again recovers, or says that
 * the driver refuses; nothing crashes, and the device is still listed. */
static void test_fault(void **state) {
    (void)state;
    if (WEFT_CUDA_EMULATED) skip(); /* there the fault would hit this program */
    rig r;
    weft_error error = {0};
    open_rig(&r);
    assert_int_equal(make_plan(&r, 2, UINT64_C(1) << 46, &error), WEFT_OK);
    uint64_t ticket = submit(&r, 0, 0.0f);
    assert_int_equal(backend->wait(r.device, ticket, UINT64_C(10000000000), &error), WEFT_DEVICE_LOST);
    print_message("%s\n", error.message);
    assert_int_equal(backend->wait(r.device, ticket, UINT64_MAX, &error), WEFT_DEVICE_LOST);
    assert_int_equal(backend->status(r.device, &error), WEFT_DEVICE_LOST);
    weft_backend_buffer *buffer = NULL;
    assert_int_equal(backend->buffer_create(r.device, WEFT_MEMORY_DEVICE, 64, &buffer, &error), WEFT_DEVICE_LOST);
    assert_int_equal(backend->plan_submit(r.device, r.plan, ticket + 1, 0, 0, &error), WEFT_DEVICE_LOST);
    backend->cancel(r.device);
    close_rig(&r);
    weft_device_info info = {0};
    size_t count = 0;
    assert_int_equal(backend->devices(&runtime->host, &info, 1, &count, &error), WEFT_OK);
    assert_true(count > 0 && info.name[0]);
    weft_backend_device *again = NULL;
    weft_device_options options = {0};
    weft_status status = backend->open(&runtime->host, 0, &options, &again, &error);
    if (status) {
        assert_int_equal(status, WEFT_DEVICE_LOST);
        assert_null(again);
        print_message("%s\n", error.message);
        return;
    }
    backend->close(again);
    open_rig(&r);
    assert_int_equal(make_plan(&r, 2, 0, &error), WEFT_OK);
    assert_int_equal(backend->wait(r.device, submit(&r, 0, 5.0f), UINT64_MAX, &error), WEFT_OK);
    expect_result(&r, 0, 7.0f);
    close_rig(&r);
}

/* Prints the host's time for a step with as many kernels as a small model, and for writing a byte. */
static void test_costs(void **state) {
    (void)state;
    rig r;
    weft_error error = {0};
    open_rig(&r);
    assert_int_equal(make_plan(&r, 250, 0, &error), WEFT_OK);
    uint64_t in_submit = 0, start = weft_os_now();
    for (uint32_t i = 0; i < 400; i++) {
        if (i >= 2) assert_int_equal(backend->wait(r.device, r.ticket - 1, UINT64_C(1000000000), &error), WEFT_OK);
        uint64_t before = weft_os_now();
        assert_int_equal(backend->plan_submit(r.device, r.plan, ++r.ticket, i % 4, i % 4, &error), WEFT_OK);
        in_submit += weft_os_now() - before;
    }
    print_message("a step of 250 kernels: %.2f us to submit, %.1f us in all\n", (double)in_submit / 400e3,
                  (double)(weft_os_now() - start) / 400e3);
    const size_t piece = (size_t)4 << 20, n_pieces = 256;
    weft_backend_buffer *buffer = NULL;
    char *memory = malloc(piece);
    assert_non_null(memory);
    memset(memory, 1, piece);
    assert_int_equal(backend->buffer_create(r.device, WEFT_MEMORY_DEVICE, piece * n_pieces, &buffer, &error), WEFT_OK);
    for (int round = 0; round < 2; round++) {
        start = weft_os_now();
        for (size_t i = 0; i < n_pieces; i++)
            assert_int_equal(backend->write(r.device, buffer, i * piece, memory, piece, &error), WEFT_OK);
        char last;
        assert_int_equal(backend->read(r.device, buffer, n_pieces * piece - 1, &last, 1, &error), WEFT_OK);
        print_message("written at %.1f GB/s\n", (double)(piece * n_pieces) / (double)(weft_os_now() - start));
        assert_int_equal(last, 1);
    }
    backend->buffer_destroy(r.device, buffer);
    free(memory);
    close_rig(&r);
}

int main(void) {
    if (!find_cuda()) return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory), cmocka_unit_test(test_slots), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_costs), cmocka_unit_test(test_fault),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    weft_runtime_destroy(runtime);
    return failed;
}
